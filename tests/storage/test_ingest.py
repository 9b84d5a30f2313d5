"""The one door: append, verify, publish, discard, resume; and what happens where the disk does not go along."""

import asyncio
import errno
import fcntl
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocispec.digest import Digest
from storage import ingest as module
from storage.errors import DigestMismatch, StoreFull, StoreUnavailable
from storage.files import Disk
from storage.ingest import _PIECE, Ingest
from tests.storage.samples import open_files, random_bytes

DIGEST, DATA = random_bytes("ingest", 100_000)


def nothing() -> None:
    """Is done when it is durable."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "incoming"


@pytest.fixture
def final(tmp_path: Path) -> Path:
    (tmp_path / "blobs").mkdir()
    return tmp_path / "blobs" / "final"


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: writes of this process come up short, and then fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def failing(number: int) -> Callable[..., None]:
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


async def appended(disk: Disk, path: Path, *chunks: bytes, algorithm: str = "sha256") -> Ingest:
    ingest = Ingest(disk, path, algorithm)
    for chunk in chunks:
        await ingest.append(chunk)
    return ingest


async def test_bytes_come_in_pieces_and_get_their_name(disk: Disk, path: Path, final: Path) -> None:
    ingest = Ingest(disk, path)
    assert not path.exists()  # nothing is made before there is something to keep
    for start in range(0, len(DATA), 33_333):
        await ingest.append(DATA[start : start + 33_333])
        assert ingest.size == path.stat().st_size == min(start + 33_333, len(DATA))
    await ingest.append(b"")
    await ingest.verify(DIGEST)
    assert not final.exists()
    await ingest.publish(final, nothing)
    assert final.read_bytes() == DATA
    assert not path.exists()
    assert str(final) not in open_files()
    await ingest.close()
    await ingest.discard()
    assert final.read_bytes() == DATA


async def test_nothing_at_all_is_content_too(disk: Disk, path: Path, final: Path) -> None:
    ingest = Ingest(disk, path)
    await ingest.verify(Digest.of(b""))
    await ingest.publish(final, nothing)
    assert final.read_bytes() == b""


async def test_one_wrong_byte_is_found(disk: Disk, path: Path) -> None:
    ingest = await appended(disk, path, DATA[:-1], bytes([DATA[-1] ^ 1]))
    with pytest.raises(DigestMismatch) as caught:
        await ingest.verify(DIGEST)
    assert caught.value.expected == DIGEST
    assert caught.value.actual == str(Digest.of(path.read_bytes()))
    assert path.stat().st_size == len(DATA)
    await ingest.discard()
    assert not path.exists()


async def test_a_prefix_is_no_match_and_can_be_gone_on_with(disk: Disk, path: Path) -> None:
    ingest = await appended(disk, path, DATA[:50_000])
    with pytest.raises(DigestMismatch):
        await ingest.verify(DIGEST)
    await ingest.append(DATA[50_000:])
    await ingest.verify(DIGEST)
    await ingest.close()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("before", [0, 1, 70_000])
@pytest.mark.parametrize("last", [0, 1, 70_000])
async def test_the_last_bytes_can_come_with_the_name(
    disk: Disk, path: Path, final: Path, algorithm: str, before: int, last: int
) -> None:
    data = random_bytes("last", before + last)[1]
    ingest = await appended(disk, path, *([data[:before]] if before else []))
    with pytest.raises(DigestMismatch):
        await ingest.verify(Digest.of(data + b"x", algorithm), data[before:])
    assert ingest.size == before
    await ingest.verify(Digest.of(data, algorithm), data[before:])
    await ingest.publish(final, nothing, data[before:])
    assert final.read_bytes() == data


async def test_room_is_looked_for_on_the_way(disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not everything that comes says how long it is; and the index needs some room, too."""
    monkeypatch.setattr(module, "_LOOK_STEP", 100_000)
    ingest = await appended(disk, path, b"x" * 60_000)
    with monkeypatch.context() as full:
        full.setattr(module, "LOW", 2**62)
        await ingest.append(b"x" * 30_000)
        with pytest.raises(StoreFull):
            await ingest.append(b"x" * 30_000)
    assert ingest.size == path.stat().st_size == 90_000
    await ingest.append(b"x" * 30_000)
    assert ingest.size == 120_000
    await ingest.close()


async def test_what_will_not_fit(disk: Disk, path: Path) -> None:
    ingest = await appended(disk, path, b"x" * 1000)
    await ingest.expect(2000)
    with pytest.raises(StoreFull):
        await ingest.expect(2**62)
    await ingest.close()


async def test_last_bytes_that_do_not_fit_leave_the_file_as_it_was(disk: Disk, path: Path, final: Path) -> None:
    ingest = await appended(disk, path, DATA[:50_000])
    with file_size_limit(60_000), pytest.raises(StoreFull):
        await ingest.publish(final, nothing, DATA[50_000:])
    assert not final.exists()
    assert ingest.is_sound
    assert ingest.size == path.stat().st_size == 50_000
    await ingest.verify(DIGEST, DATA[50_000:])
    await ingest.publish(final, nothing, DATA[50_000:])
    assert final.read_bytes() == DATA


@pytest.mark.parametrize("begun", ["sha256", "sha512"])
@pytest.mark.parametrize("ended", ["sha256", "sha512"])
async def test_the_digest_at_the_end_says_which_algorithm(
    disk: Disk, path: Path, final: Path, begun: str, ended: str
) -> None:
    ingest = await appended(disk, path, DATA[:10], DATA[10:], algorithm=begun)
    expected = Digest.of(DATA, ended)
    await ingest.verify(expected)
    with pytest.raises(DigestMismatch):
        await ingest.verify(Digest.of(b"other", ended))
    await ingest.publish(final, nothing)
    assert Digest.of(final.read_bytes(), ended) == expected


async def test_both_algorithms_one_after_the_other(disk: Disk, path: Path) -> None:
    ingest = await appended(disk, path, DATA[:70_000])
    for algorithm in ("sha512", "sha256", "sha512"):
        await ingest.verify(Digest.of(DATA[:70_000], algorithm))
    await ingest.append(DATA[70_000:])
    for algorithm in ("sha512", "sha256"):
        await ingest.verify(Digest.of(DATA, algorithm))
    await ingest.close()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_file_is_gone_on_with_after_a_restart(disk: Disk, path: Path, final: Path, algorithm: str) -> None:
    first = await appended(disk, path, DATA[:30_000])
    await first.close()
    await first.close()
    again = await Ingest.resume(disk, path, algorithm)
    assert again.size == 30_000
    await again.append(DATA[30_000:])
    await again.verify(Digest.of(DATA, algorithm))
    await again.publish(final, nothing)
    assert final.read_bytes() == DATA


async def test_what_was_left_is_hashed_and_not_believed(disk: Disk, path: Path) -> None:
    path.write_bytes(b"x" + DATA[1:50_000])
    ingest = await Ingest.resume(disk, path)
    await ingest.append(DATA[50_000:])
    with pytest.raises(DigestMismatch):
        await ingest.verify(DIGEST)
    await ingest.close()


async def test_a_file_that_was_not_begun_is_begun(disk: Disk, path: Path) -> None:
    ingest = await Ingest.resume(disk, path)
    assert ingest.size == 0
    await ingest.append(DATA)
    await ingest.verify(DIGEST)
    await ingest.close()


async def test_a_file_that_lost_its_end_behind_our_back_is_refused(disk: Disk, path: Path) -> None:
    ingest = await Ingest.resume(disk, path)
    await ingest.append(DATA)
    again = await Ingest.resume(disk, path)
    os.truncate(path, len(DATA) - 1)
    with pytest.raises(DigestMismatch):
        await again.verify(DIGEST)
    await ingest.close()
    await again.close()


async def test_links_are_not_written_through(disk: Disk, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"untouched")
    path.symlink_to(target)
    with pytest.raises(StoreUnavailable):
        await Ingest(disk, path).append(b"evil")
    with pytest.raises(StoreUnavailable):
        await Ingest.resume(disk, path)
    assert target.read_bytes() == b"untouched"


async def test_restart_forgets_every_byte(disk: Disk, path: Path) -> None:
    ingest = await appended(disk, path, b"something else, and longer" * 10_000)
    await ingest.restart()
    assert ingest.size == path.stat().st_size == 0
    await ingest.append(DATA)
    await ingest.verify(DIGEST)
    await ingest.close()
    resumed = await Ingest.resume(disk, path)
    await resumed.restart()
    await resumed.append(b"abc")
    await resumed.verify(Digest.of(b"abc"))
    await resumed.close()


async def test_nobody_else_can_write_what_is_locked(disk: Disk, path: Path) -> None:
    ingest = await Ingest.resume(disk, path)
    await ingest.lock()
    with path.open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    second = await Ingest.resume(disk, path)
    with pytest.raises(StoreUnavailable, match="another"):
        await second.lock()
    await ingest.close()
    await second.lock()
    await second.discard()


async def test_no_file_stays_open(disk: Disk, path: Path, final: Path) -> None:
    before = open_files()
    for _ in range(5):
        discarded = await appended(disk, path, DATA)
        await discarded.discard()
        await discarded.discard()
        closed = await appended(disk, path, DATA)
        await closed.close()
        resumed = await Ingest.resume(disk, path)
        await resumed.verify(DIGEST)
        await resumed.publish(final, nothing)
    assert open_files() == before


# Where the disk does not go along.


async def test_a_full_disk_leaves_the_file_as_it_was_until_there_is_space(disk: Disk, path: Path, final: Path) -> None:
    ingest = await appended(disk, path, DATA[:20_000])
    with file_size_limit(50_000):
        for _ in range(3):
            with pytest.raises(StoreFull):
                await ingest.append(DATA[20_000:])
            assert ingest.size == path.stat().st_size == 20_000
        await ingest.append(DATA[20_000:40_000])
    await ingest.append(DATA[40_000:])
    await ingest.verify(DIGEST)
    await ingest.publish(final, nothing)
    assert final.read_bytes() == DATA


async def test_a_hash_that_is_ahead_of_a_write_that_failed_is_forgotten(
    disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first piece is written and hashed, the second one fails: both have to be taken back."""
    data = DATA * (3 * _PIECE // len(DATA))
    original = os.pwrite

    def failing_behind_the_first(fd: int, piece: memoryview, offset: int) -> int:
        if offset >= _PIECE:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(fd, piece, offset)

    ingest = await appended(disk, path, b"")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing_behind_the_first)
        with pytest.raises(StoreFull):
            await ingest.append(data)
    assert ingest.size == path.stat().st_size == 0
    await ingest.append(data)
    await ingest.verify(Digest.of(data))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("written", [0, 1, 4096])
async def test_a_write_that_fails_midway_can_be_repeated(
    disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch, number: int, written: int
) -> None:
    ingest = await appended(disk, path, DATA[:10_000])
    original, calls = os.pwrite, 0

    def failing_midway(fd: int, data: memoryview, offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls > 1 or not written:
            raise OSError(number, os.strerror(number))
        return original(fd, data[:written], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing_midway)
        with pytest.raises(StoreUnavailable if number == errno.EIO else StoreFull):
            await ingest.append(DATA[10_000:])
    assert ingest.size == path.stat().st_size == 10_000
    await ingest.append(DATA[10_000:])
    await ingest.verify(DIGEST)
    await ingest.close()


@pytest.mark.parametrize(
    ("step", "number", "expected"),
    [
        ("fsync", errno.EIO, StoreUnavailable),
        ("fsync", errno.ENOSPC, StoreFull),
        ("fchmod", errno.EPERM, StoreUnavailable),
        ("rename", errno.EIO, StoreUnavailable),
        ("rename", errno.ENOSPC, StoreFull),
    ],
)
async def test_what_cannot_be_made_durable_is_not_published(
    disk: Disk,
    path: Path,
    final: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    number: int,
    expected: type[Exception],
) -> None:
    ingest = await appended(disk, path, DATA)
    await ingest.verify(DIGEST)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(number))
        with pytest.raises(expected):
            await ingest.publish(final, nothing)
    assert not final.exists()
    await ingest.discard()
    assert not path.exists()
    assert str(path) not in open_files()


async def test_content_that_could_not_be_read_once_is_not_wrong_for_ever(
    disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = await appended(disk, path, DATA)
    expected = Digest.of(DATA, "sha512")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing(errno.EIO))
        with pytest.raises(StoreUnavailable):
            await ingest.verify(expected)
    await ingest.verify(expected)
    await ingest.verify(DIGEST)
    await ingest.close()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Early syncs after every 10,000 bytes instead of 32 MiB."""
    monkeypatch.setattr(module, "_SYNC_STEP", 10_000)


@pytest.mark.usefixtures("eager")
async def test_written_bytes_are_sent_to_the_device_on_the_way(
    disk: Disk, path: Path, final: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    original = os.fdatasync

    def recorded(fd: int) -> None:
        names.append(os.readlink(f"/proc/self/fd/{fd}"))
        original(fd)

    monkeypatch.setattr(os, "fdatasync", recorded)
    ingest = Ingest(disk, path)
    for start in range(0, len(DATA), 5_000):
        await ingest.append(DATA[start : start + 5_000])
        await asyncio.sleep(0.001)
    assert 1 <= len(names) <= 10
    assert set(names) == {str(path)}
    await ingest.verify(DIGEST)
    await ingest.publish(final, nothing)


@pytest.mark.usefixtures("eager")
async def test_an_early_sync_never_runs_beside_another_one(
    disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, running, most = threading.Event(), 0, 0

    def slow(fd: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        go_on.wait(10)
        running -= 1

    monkeypatch.setattr(os, "fdatasync", slow)
    ingest = Ingest(disk, path)
    for start in range(0, len(DATA), 10_000):
        await ingest.append(DATA[start : start + 10_000])  # never waits for the device
    go_on.set()
    await ingest.close()
    assert most == 1


@pytest.mark.usefixtures("eager")
async def test_a_failed_early_sync_is_never_forgotten(
    disk: Disk, path: Path, final: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(errno.EIO))
        ingest = await appended(disk, path, DATA)
        await asyncio.sleep(0.01)
    with pytest.raises(StoreUnavailable):
        await ingest.append(DATA)
    # The kernel says it only once: a sync that now succeeds proves nothing.
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await ingest.publish(final, nothing)
    assert not final.exists()
    await ingest.discard()
    assert not path.exists()


@pytest.mark.usefixtures("eager")
async def test_nobody_goes_on_with_a_file_that_the_device_did_not_take(
    disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed and found again it would look as good as any other, until the power goes."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(errno.EIO))
        ingest = await appended(disk, path, DATA)
        await ingest.close()
    again = await Ingest.resume(disk, path)
    assert again.size == 0
    await again.discard()


@pytest.mark.usefixtures("eager")
async def test_closing_waits_for_the_device(disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, synced = threading.Event(), []

    def slow(fd: int) -> None:
        go_on.wait(10)
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))

    monkeypatch.setattr(os, "fdatasync", slow)
    ingest = await appended(disk, path, DATA)
    closing = asyncio.create_task(ingest.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    go_on.set()
    await closing
    assert synced == [str(path)]


# A caller that is cancelled leaves its thread behind.


async def test_a_cancelled_append_never_writes_into_another_file(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, started, go_on = os.pwrite, threading.Event(), threading.Event()

    def slow(fd: int, data: memoryview, offset: int) -> int:
        started.set()
        go_on.wait(10)
        return original(fd, data, offset)

    ingest = await appended(disk, tmp_path / "cancelled", b"first")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", slow)
        append = asyncio.create_task(ingest.append(b"STRAGGLER" * 1000))
        await asyncio.to_thread(started.wait, 10)
        append.cancel()
        await asyncio.sleep(0)
        discard = asyncio.create_task(ingest.discard())
        await asyncio.sleep(0.02)
        # Whoever opens files now must not be given the number that the thread still writes to.
        others = [(tmp_path / f"other{n}").open("w+b") for n in range(20)]
        go_on.set()
        await asyncio.wait([append, discard])
    for other in others:
        with other:
            assert other.read() == b""
    assert append.cancelled()
    assert not (tmp_path / "cancelled").exists()
    assert str(tmp_path / "cancelled") not in open_files()


async def test_a_first_append_that_is_cancelled_leaves_no_file(
    disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread may get to open the file only while everything is put away, or after that."""
    original, started, go_on = os.open, threading.Event(), threading.Event()

    def slow(name: Path, flags: int, mode: int = 0o777) -> int:
        if name == path:
            started.set()
            go_on.wait(10)
        return original(name, flags, mode)

    ingest = Ingest(disk, path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", slow)
        append = asyncio.create_task(ingest.append(b"straggler"))
        await asyncio.to_thread(started.wait, 10)
        append.cancel()
        await asyncio.sleep(0)
        discard = asyncio.create_task(ingest.discard())
        await asyncio.sleep(0.02)
        go_on.set()
        await asyncio.wait([append, discard])
    assert not path.exists()
    assert str(path) not in open_files()
    with pytest.raises(StoreUnavailable):
        await ingest.append(b"still there?")
    assert not path.exists()


async def test_a_file_that_was_taken_away_is_not_begun_again_in_its_middle(disk: Disk, path: Path) -> None:
    """It would have a hole, while the running hash says that all is well."""
    ingest = await appended(disk, path, DATA[:60_000])
    await ingest.close()
    path.unlink()
    with pytest.raises(StoreUnavailable):
        await ingest.append(DATA[60_000:])
    assert not path.exists()


async def test_whoever_discards_leaves_the_file_of_the_next_one_alone(disk: Disk, path: Path) -> None:
    first = await appended(disk, path, b"first")
    path.unlink()
    second = await appended(disk, path, b"second")
    await first.discard()
    assert path.read_bytes() == b"second"
    await second.discard()
    assert not path.exists()


async def test_a_download_can_begin_while_an_earlier_one_is_put_away(disk: Disk, path: Path) -> None:
    for _ in range(30):
        first = await Ingest.resume(disk, path)
        await first.lock()
        await first.append(b"rest of a failed download")
        discard = asyncio.create_task(first.discard())
        second = await locked(disk, path)
        await discard
        assert second.path.exists()
        assert second.inode == second.path.stat().st_ino
        await second.discard()


async def locked(disk: Disk, path: Path) -> Ingest:
    while True:
        ingest = await Ingest.resume(disk, path)
        try:
            await ingest.lock()
        except StoreUnavailable:
            await ingest.close()
            await asyncio.sleep(0)
        else:
            return ingest
