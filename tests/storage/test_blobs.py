"""Content by digest: one copy, readable only where it is linked, and never a row without its file."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ocispec.digest import Digest
from ocispec.names import RepositoryName
from storage.errors import DigestMismatch, StorageError, StoreFull, StoreUnavailable
from storage.index import blobs as rows
from storage.partial import Partial
from storage.repository import Repository
from storage.store import Store
from tests.storage.samples import (
    APP,
    NGINX,
    WEB,
    all_of,
    broken_promises,
    files_of,
    get_blob,
    image,
    index_of,
    layout_of,
    put_blob,
    put_manifest,
    query,
    random_bytes,
)
from tests.storage.test_files import record_calls

DIGEST, DATA = random_bytes("blob", 5_000)


async def rows_of(store: Store) -> set[str]:
    return {str(digest) for (digest,) in await query(store, "SELECT digest FROM blobs")}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_what_is_pushed_can_be_pulled(store: Store, algorithm: str) -> None:
    digest = await put_blob(store, APP, DATA, algorithm)
    assert await get_blob(store, APP, digest) == DATA
    assert await store.blobs.is_here(digest)
    assert APP in store.repositories
    assert layout_of(store).blob(digest).stat().st_mode & 0o777 == 0o444
    assert files_of(layout_of(store)) == {"blobs": [digest.hex], "uploads": [], "partial": [], "tmp": []}


async def test_nothing_at_all_is_content(store: Store) -> None:
    digest = await put_blob(store, APP, b"")
    assert await get_blob(store, APP, digest) == b""


async def test_what_is_unknown_is_not_here(store: Store) -> None:
    assert await get_blob(store, APP, DIGEST) is None
    assert not await store.blobs.is_here(DIGEST)
    assert not await store.blobs.link(APP, DIGEST)
    assert not await store.blobs.unlink(APP, DIGEST)
    assert APP not in store.repositories


async def test_wrong_bytes_never_get_in(store: Store) -> None:
    ingest = store.content.receive()
    await ingest.append(DATA[:-1])
    with pytest.raises(DigestMismatch):
        await store.blobs.publish_linked(ingest, DIGEST, APP)
    assert await get_blob(store, APP, DIGEST) is None
    assert await rows_of(store) == set()
    assert APP not in store.repositories
    await ingest.append(DATA[-1:])
    await store.blobs.publish_linked(ingest, DIGEST, APP)
    assert await get_blob(store, APP, DIGEST) == DATA


# Who may read what.


async def test_a_blob_is_readable_only_where_it_is_linked(store: Store) -> None:
    await put_blob(store, APP, DATA)
    namesake = Repository(APP.name, "docker.io")
    for other in (WEB, namesake, Repository(RepositoryName("team")), Repository(RepositoryName("team/app/more"))):
        assert await get_blob(store, other, DIGEST) is None
        assert not await store.blobs.unlink(other, DIGEST)
    assert await get_blob(store, APP, DIGEST) == DATA


async def test_a_link_makes_it_readable_without_another_copy(store: Store) -> None:
    await put_blob(store, APP, DATA)
    assert await store.blobs.link(NGINX, DIGEST)
    assert await store.blobs.link(NGINX, DIGEST)
    assert NGINX in store.repositories
    assert await get_blob(store, NGINX, DIGEST) == DATA
    assert len(files_of(layout_of(store))["blobs"]) == 1


async def test_the_last_unlink_removes_the_file_and_a_shared_one_stays(store: Store) -> None:
    await put_blob(store, APP, DATA)
    await store.blobs.link(WEB, DIGEST)
    path = layout_of(store).blob(DIGEST)
    assert await store.blobs.unlink(APP, DIGEST)
    assert not await store.blobs.unlink(APP, DIGEST)
    assert await get_blob(store, APP, DIGEST) is None
    assert await get_blob(store, WEB, DIGEST) == DATA
    assert path.exists()
    assert await store.blobs.unlink(WEB, DIGEST)
    assert not path.exists()
    assert await rows_of(store) == set()
    assert not await store.blobs.link(APP, DIGEST)


async def test_content_that_is_a_manifest_too_stays_for_it(store: Store) -> None:
    what = image(DIGEST)
    await put_blob(store, WEB, what.body)
    await put_manifest(store, APP, what)
    assert await store.blobs.unlink(WEB, what.digest)
    assert (await store.manifests.find(APP, what.digest)) is not None
    assert await get_blob(store, APP, what.digest) is None  # as a manifest only
    await put_blob(store, WEB, what.body)
    assert await store.manifests.delete(APP, what.digest)
    assert await get_blob(store, WEB, what.digest) == what.body


async def test_whoever_is_reading_keeps_what_is_removed(store: Store) -> None:
    await put_blob(store, APP, DATA)
    file = await store.blobs.open(APP, DIGEST)
    await store.blobs.unlink(APP, DIGEST)
    assert file is not None
    assert all_of(file) == DATA


# What happened to a file behind our back.


def cut_short(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 4_999)


def emptied(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 0)


def grown(path: Path) -> None:
    path.chmod(0o644)
    with path.open("ab") as file:
        file.write(b"\0")


Damage = Callable[[Path], None]


@pytest.mark.parametrize("damage", [Path.unlink, cut_short, emptied, grown])
async def test_a_damaged_file_is_never_begun_and_a_push_puts_it_right(store: Store, damage: Damage) -> None:
    await put_blob(store, APP, DATA)
    damage(layout_of(store).blob(DIGEST))
    assert await get_blob(store, APP, DIGEST) is None  # which holds HEAD against GET
    assert not await store.blobs.is_here(DIGEST)
    assert not await store.blobs.link(WEB, DIGEST)
    assert await get_blob(store, WEB, DIGEST) is None
    await put_blob(store, WEB, DATA)
    assert await get_blob(store, WEB, DIGEST) == DATA
    assert await get_blob(store, APP, DIGEST) == DATA  # for everybody who has it


async def test_a_damaged_file_can_be_deleted(store: Store) -> None:
    await put_blob(store, APP, DATA)
    layout_of(store).blob(DIGEST).unlink()
    assert await store.blobs.unlink(APP, DIGEST)
    assert await rows_of(store) == set()


async def test_a_row_with_the_wrong_size_is_put_right_by_a_push(store: Store) -> None:
    await put_blob(store, APP, DATA)
    await index_of(store).write(lambda connection: rows.add(connection, DIGEST, 4_999, 0))
    assert await get_blob(store, APP, DIGEST) is None
    await put_blob(store, APP, DATA)
    assert await get_blob(store, APP, DIGEST) == DATA


async def test_a_link_in_the_place_of_a_file_is_not_followed(store: Store, tmp_path: Path) -> None:
    await put_blob(store, APP, DATA)
    path = layout_of(store).blob(DIGEST)
    path.unlink()
    (tmp_path / "secret").write_bytes(b"s" * len(DATA))
    path.symlink_to(tmp_path / "secret")
    assert await store.blobs.size(APP, DIGEST) is None
    with pytest.raises(StoreUnavailable):
        await store.blobs.open(APP, DIGEST)
    await put_blob(store, APP, DATA)
    assert await get_blob(store, APP, DIGEST) == DATA


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
async def test_a_disk_that_refuses_is_not_a_missing_blob(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    await put_blob(store, APP, DATA)

    def fail(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(StoreUnavailable):
            await store.blobs.open(APP, DIGEST)
    assert await get_blob(store, APP, DIGEST) == DATA


# File first, row second.


async def test_the_file_is_durable_before_its_row(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest = store.content.receive()
    await ingest.append(DATA)
    calls = record_calls(monkeypatch)

    def record(_: Connection) -> None:
        calls.append(("row", (layout_of(store).blob(DIGEST).read_bytes() == DATA and "complete") or "torn"))

    await store.blobs.publish(ingest, DIGEST, record)
    name = ingest.path.name
    assert calls == [
        ("fsync", name),
        ("rename", f"{name} {DIGEST.hex}"),
        ("fsync", DIGEST.hex[:2]),
        ("row", "complete"),
    ]


async def test_the_row_goes_before_the_file(store: Store) -> None:
    await put_blob(store, APP, DATA)
    seen: list[bool] = []

    def unit(connection: Connection) -> bool:
        seen.append(layout_of(store).blob(DIGEST).exists())
        return False

    assert not await store.blobs.removing(DIGEST, unit)
    assert seen == [True]
    assert await get_blob(store, APP, DIGEST) == DATA


@pytest.mark.parametrize("error", [StoreFull("no space"), StoreUnavailable("no"), ValueError("a bug")])
async def test_a_file_whose_row_cannot_be_written_goes_again(store: Store, error: Exception) -> None:
    def record(_: Connection) -> None:
        raise error

    ingest = store.content.receive()
    await ingest.append(DATA)
    with pytest.raises(type(error)):
        await store.blobs.publish(ingest, DIGEST, record)
    await ingest.discard()
    assert files_of(layout_of(store)) == {"blobs": [], "uploads": [], "partial": [], "tmp": []}
    assert await rows_of(store) == set()


async def test_a_file_that_others_have_stays_where_a_push_fails(store: Store) -> None:
    await put_blob(store, APP, DATA)

    def record(_: Connection) -> None:
        raise StoreFull("no space")

    ingest = store.content.receive()
    await ingest.append(DATA)
    with pytest.raises(StoreFull):
        await store.blobs.publish(ingest, DIGEST, record)
    assert await get_blob(store, APP, DIGEST) == DATA


@pytest.mark.parametrize("step", ["first", "second"])
async def test_a_sync_that_fails_leaves_nothing_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The first is of the file, the second of its folder: after that the file has its name already."""
    original, calls = os.fsync, 0

    def fail(fd: int) -> None:
        nonlocal calls
        calls += 1
        if calls == ("first", "second").index(step) + 1:
            raise OSError(errno.EIO, "Input/output error")
        original(fd)

    ingest = store.content.receive()
    await ingest.append(DATA)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StoreUnavailable):
            await store.blobs.publish_linked(ingest, DIGEST, APP)
    await ingest.discard()
    assert await rows_of(store) == set()
    assert files_of(layout_of(store)) == {"blobs": [], "uploads": [], "partial": [], "tmp": []}
    assert APP not in store.repositories


async def test_a_stray_file_is_removed_and_one_with_a_row_is_not(store: Store) -> None:
    await put_blob(store, APP, DATA)
    stray, content = random_bytes("stray")
    layout_of(store).blob(stray).write_bytes(content)
    assert await store.blobs.remove_stray(stray)
    assert not await store.blobs.remove_stray(DIGEST)
    assert files_of(layout_of(store))["blobs"] == [DIGEST.hex]


# Downloads.


async def test_a_download_goes_on_where_it_was(store: Store) -> None:
    first = await store.content.receive_download(DIGEST)
    await first.append(DATA[:2_000])
    with pytest.raises(StoreUnavailable):
        await store.content.receive_download(DIGEST)
    await first.close()
    again = await store.content.receive_download(DIGEST)
    assert again.size == 2_000
    await again.append(DATA[2_000:])
    await store.blobs.publish_linked(again, DIGEST, NGINX)
    assert await get_blob(store, NGINX, DIGEST) == DATA
    assert files_of(layout_of(store))["partial"] == []


async def test_a_download_can_be_followed_before_and_after_it_is_published(store: Store) -> None:
    ingest = await store.content.receive_download(DIGEST)
    partial = Partial(DIGEST, ingest)
    before = await store.content.open_download(partial)
    await ingest.append(DATA)
    await store.blobs.publish_linked(ingest, DIGEST, NGINX)
    after = await store.content.open_download(partial)
    assert all_of(before) == all_of(after) == DATA


async def test_another_downloads_file_is_not_followed(store: Store) -> None:
    ingest = await store.content.receive_download(DIGEST)
    partial = Partial(DIGEST, ingest)
    kept = await store.content.open_download(partial)  # or the number of its file might be given to the next one
    await ingest.discard()
    with pytest.raises(StoreUnavailable):
        await store.content.open_download(partial)
    second = await store.content.receive_download(DIGEST)
    with pytest.raises(StoreUnavailable):
        await store.content.open_download(partial)
    await second.append(DATA)
    await store.blobs.publish_linked(second, DIGEST, NGINX)
    with pytest.raises(StoreUnavailable):
        await store.content.open_download(partial)
    kept.close()


# Everything at once.


async def push_quietly(store: Store, repository: Repository, data: bytes) -> bool:
    """Push, and clean up however it ends, as whoever serves a push does."""
    ingest = store.content.receive()
    try:
        await ingest.append(data)
        await store.blobs.publish_linked(ingest, Digest.of(data), repository)
    except StorageError:
        await ingest.discard()
        return False
    except BaseException:
        await ingest.discard()
        raise
    return True


async def test_pushes_and_deletes_of_one_digest_at_once(store: Store) -> None:
    repositories = [Repository(RepositoryName(f"team/app{n}")) for n in range(8)]

    async def come_and_go(repository: Repository, rounds: int) -> None:
        for _ in range(rounds):
            await push_quietly(store, repository, DATA)
            assert await get_blob(store, repository, DIGEST) == DATA
            assert await store.blobs.unlink(repository, DIGEST)
            assert await store.blobs.size(repository, DIGEST) is None

    await asyncio.gather(*(come_and_go(repository, 12) for repository in repositories))
    assert await broken_promises(store) == []
    assert await rows_of(store) == set()
    assert files_of(layout_of(store)) == {"blobs": [], "uploads": [], "partial": [], "tmp": []}


async def test_links_never_outlive_the_content(store: Store) -> None:
    async def link_and_look(repository: Repository) -> None:
        for _ in range(60):
            if await store.blobs.link(repository, DIGEST):
                assert await get_blob(store, repository, DIGEST) == DATA
                await store.blobs.unlink(repository, DIGEST)

    async def come_and_go() -> None:
        for _ in range(20):
            await push_quietly(store, APP, DATA)
            await store.blobs.unlink(APP, DIGEST)

    others = [Repository(RepositoryName(f"team/other{n}")) for n in range(3)]
    await asyncio.gather(come_and_go(), *(link_and_look(repository) for repository in others))
    assert await broken_promises(store) == []
    assert await rows_of(store) == set()


async def test_the_same_blob_pushed_to_many_repositories_at_once(store: Store) -> None:
    repositories = [Repository(RepositoryName(f"team/app{n}")) for n in range(20)]
    assert all(await asyncio.gather(*(push_quietly(store, repository, DATA) for repository in repositories)))
    for repository in repositories:
        assert await get_blob(store, repository, DIGEST) == DATA
    assert files_of(layout_of(store))["blobs"] == [DIGEST.hex]


# Whoever asked has been cancelled, at any moment.


async def test_cancelled_pushes_beside_failing_ones_never_leave_a_row_without_its_file(store: Store) -> None:
    async def fail() -> None:
        ingest = store.content.receive()
        await ingest.append(DATA)

        def record(_: Connection) -> None:
            raise StoreFull("no space")

        with pytest.raises(StoreFull):
            await store.blobs.publish(ingest, DIGEST, record)
        await ingest.discard()

    for delay in range(30):
        push = asyncio.create_task(push_quietly(store, APP, DATA))
        failing = asyncio.create_task(fail())
        await asyncio.sleep(delay * 2e-4)
        push.cancel()
        await asyncio.wait([push, failing])
        await failing
        assert await broken_promises(store) == []
        here = bool(await rows_of(store))
        assert files_of(layout_of(store))["blobs"] == [DIGEST.hex] * here
        await store.blobs.unlink(APP, DIGEST)
    assert files_of(layout_of(store)) == {"blobs": [], "uploads": [], "partial": [], "tmp": []}


async def test_a_cancelled_push_holds_its_digest_until_its_row_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, reached, go_on = os.rename, threading.Event(), threading.Event()

    def slow(source: Path, target: Path) -> None:
        reached.set()
        go_on.wait(10)
        original(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", slow)
        push = asyncio.create_task(push_quietly(store, APP, DATA))
        await asyncio.to_thread(reached.wait, 10)
        push.cancel()
        stray = asyncio.create_task(store.blobs.remove_stray(DIGEST))
        await asyncio.sleep(0.02)
        assert not stray.done()
        go_on.set()
        await asyncio.wait([push, stray])
    here = bool(await rows_of(store))
    assert files_of(layout_of(store))["blobs"] == [DIGEST.hex] * here
    assert await broken_promises(store) == []


async def test_a_cancelled_delete_removes_the_file_or_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    original, reached, go_on = os.unlink, threading.Event(), threading.Event()

    def slow(path: Path) -> None:
        if Path(path).name == DIGEST.hex:
            reached.set()
            go_on.wait(10)
        original(path)

    await put_blob(store, APP, DATA)
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", slow)
        delete = asyncio.create_task(store.blobs.unlink(APP, DIGEST))
        await asyncio.to_thread(reached.wait, 10)
        delete.cancel()
        push = asyncio.create_task(push_quietly(store, WEB, DATA))
        await asyncio.sleep(0.05)
        go_on.set()
        await asyncio.wait([delete, push])
    assert await broken_promises(store) == []
    assert await get_blob(store, WEB, DIGEST) == DATA
