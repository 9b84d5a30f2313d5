"""The disk: pools, errors, short writes, and the order in which a file gets its final name."""

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.errors import StorageError, StoreFull, StoreUnavailable
from storage.files import Disk, has_exactly, open_exactly, publish, remove, storage_error, write_at


async def test_units_run_off_the_loop_and_syncs_in_a_pool_of_their_own(disk: Disk) -> None:
    assert (await disk.run(threading.current_thread)).name.startswith("disk")
    assert (await disk.sync(threading.current_thread)).name.startswith("sync")


async def test_a_busy_device_does_not_hold_up_reading(disk: Disk) -> None:
    go_on = threading.Event()
    syncs = [asyncio.create_task(disk.sync(go_on.wait, 10)) for _ in range(20)]
    await asyncio.sleep(0)
    assert await disk.run(lambda: "read") == "read"
    assert not any(sync.done() for sync in syncs)
    go_on.set()
    assert await asyncio.gather(*syncs) == [True] * 20


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_what_means_no_space(number: int) -> None:
    assert isinstance(storage_error(OSError(number, os.strerror(number))), StoreFull)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENOENT, errno.ESTALE])
def test_what_means_that_the_disk_refuses(number: int) -> None:
    error = storage_error(OSError(number, os.strerror(number), "/secret/place"))
    assert isinstance(error, StoreUnavailable)
    assert str(error) == os.strerror(number)  # and no path: it may reach a client


def test_an_error_without_a_text_is_named_by_its_class() -> None:
    assert str(storage_error(ConnectionResetError())) == "ConnectionResetError"


@pytest.mark.parametrize("run", [Disk.run, Disk.sync], ids=["run", "sync"])
async def test_errors_of_the_system_come_out_as_the_stores_own(disk: Disk, run: Callable[..., object]) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreFull) as caught:
        await run(disk, fail)  # type: ignore[misc]
    assert isinstance(caught.value.__cause__, OSError)


async def test_other_errors_pass_through(disk: Disk) -> None:
    def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await disk.run(fail)


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    original, calls = os.pwrite, []

    def short(fd: int, data: memoryview, offset: int) -> int:
        calls.append(offset)
        return original(fd, data[:step], offset)

    monkeypatch.setattr(os, "pwrite", short)
    data = os.urandom(5000)
    path = tmp_path / "file"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        assert write_at(fd, b"", 3) == 0
        assert write_at(fd, data, 10) == len(data)
    finally:
        os.close(fd)
    assert path.read_bytes() == bytes(10) + data
    assert calls == list(range(10, 10 + len(data), step))


def test_a_file_is_opened_only_at_its_length(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert open_exactly(path, 0) is None
    assert not has_exactly(path, 0)
    path.write_bytes(b"12345")
    for size in (0, 4, 6, -1):
        assert open_exactly(path, size) is None
        assert not has_exactly(path, size)
    file = open_exactly(path, 5)
    assert file is not None
    with file:
        assert file.readall() == b"12345"
        assert not os.get_inheritable(file.fileno())
    assert has_exactly(path, 5)


def test_a_file_of_the_wrong_length_is_closed_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        assert open_exactly(path, 4) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"12345")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        open_exactly(link, 5)
    assert has_exactly(link, 5) is False


def record_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is synced and renamed from here on, in order, by name."""
    calls: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def recorded_fsync(fd: int) -> None:
        calls.append(("fsync", Path(os.readlink(f"/proc/self/fd/{fd}")).name))
        fsync(fd)

    def recorded_rename(source: Path, target: Path) -> None:
        calls.append(("rename", f"{Path(source).name} {Path(target).name}"))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", recorded_rename)
    return calls


def test_a_name_is_given_between_two_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary, final = tmp_path / "temporary", tmp_path / "folder" / "final"
    final.parent.mkdir()
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"content")
    calls = record_calls(monkeypatch)
    publish(fd, temporary, final)
    os.close(fd)
    assert calls == [("fsync", "temporary"), ("rename", "temporary final"), ("fsync", "folder")]
    assert final.read_bytes() == b"content"
    assert stat.S_IMODE(final.stat().st_mode) == 0o444
    assert not temporary.exists()


def test_a_file_that_cannot_be_synced_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary, final = tmp_path / "temporary", tmp_path / "final"
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT, 0o600)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        publish(fd, temporary, final)
    os.close(fd)
    assert temporary.exists()
    assert not final.exists()


def test_whoever_reads_the_old_file_keeps_it(tmp_path: Path) -> None:
    final, temporary = tmp_path / "final", tmp_path / "temporary"
    final.write_bytes(b"damaged")
    reader = open_exactly(final, 7)
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"healthy")
    publish(fd, temporary, final)
    os.close(fd)
    assert final.read_bytes() == b"healthy"
    assert reader is not None
    with reader:
        assert reader.readall() == b"damaged"


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    remove(path)
    remove(path)
    assert not path.exists()


async def test_the_pools_end_with_what_is_under_way() -> None:
    disk, done = Disk(), threading.Event()
    task = asyncio.create_task(disk.run(lambda: done.wait(0.05) or "finished"))
    await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(None, disk.close)
    assert await task == "finished"


def test_every_error_of_the_store_is_a_storage_error() -> None:
    assert issubclass(StoreFull, StorageError)
    assert issubclass(StoreUnavailable, StorageError)
