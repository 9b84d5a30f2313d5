"""The store as a whole: opened by one, refused where it cannot be used, put right after a crash."""

import asyncio
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ocispec.digest import Digest
from ocispec.names import RepositoryName
from ocispec.pagination import Page
from storage.errors import StorageError, StoreFull, StoreInUse, StoreUnavailable, StoreUnusable
from storage.index import facts
from storage.index.engine import sqlite_module
from storage.index.migrate import HEAD
from storage.layout import Layout
from storage.repository import Repository
from storage.scope import Rules, Scope
from storage.store import Store, migrate_store, open_store
from tests.storage.samples import (
    APP,
    EVERYTHING,
    LATEST,
    NGINX,
    WEB,
    broken_promises,
    files_of,
    get_blob,
    get_manifest,
    image,
    index_of,
    layout_of,
    open_files,
    put_blob,
    put_manifest,
    query,
    random_bytes,
)

DIGEST, DATA = random_bytes("store")
CLEAN: dict[str, list[str]] = {"uploads": [], "partial": [], "tmp": []}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "deeply" / "nested" / "store"


def pretend_to_be_killed(store: Store) -> None:
    """Let it close without writing down that it did."""

    async def never(state: str) -> str | None:
        return None

    store.mark = never  # type: ignore[method-assign]


@asynccontextmanager
async def killed(root: Path) -> AsyncIterator[Store]:
    """Open the store for what is, by all that the next one can see, a process that is killed at the end."""
    async with open_store(root) as store:
        yield store
        pretend_to_be_killed(store)


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


HOLDER = """
    import asyncio, pathlib, sys
    from storage.store import open_store

    async def main():
        async with open_store(pathlib.Path(sys.argv[1])):
            print("open", flush=True)
            sys.stdin.read()

    asyncio.run(main())
"""


async def test_everything_is_still_there_after_reopening(root: Path) -> None:
    async with open_store(root) as store:
        await put_blob(store, APP, DATA)
        await put_manifest(store, NGINX, image(DIGEST), "latest")
    async with open_store(root) as store:
        assert not store.was_killed
        assert store.repositories == {APP, NGINX}
        assert await get_blob(store, APP, DIGEST) == DATA
        assert await get_manifest(store, NGINX, LATEST) == image(DIGEST).digest


async def test_a_new_store_is_laid_out_whole(root: Path) -> None:
    async with open_store(root) as store:
        layout = layout_of(store)
        assert layout.format.read_text() == "1\n"
        assert files_of(layout) == {"blobs": [], **CLEAN}
        assert not store.was_killed
        assert layout.lock.read_text() == f"{os.getpid()}\n"
        assert stat.S_IMODE(layout.lock.stat().st_mode) == 0o600


async def test_nothing_of_it_stays_open(root: Path) -> None:
    async with open_store(root) as store:
        await put_blob(store, APP, DATA)
        session = await store.uploads.start(APP.name)
        async with session.turn() as ingest:
            await ingest.append(DATA)
    assert not any(name.startswith(str(root)) for name in open_files())
    assert not list(root.glob("index.sqlite-*"))


async def test_the_format_is_durable_before_anything_is_stored(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not leave a FORMAT without its text: no server could open that store again."""
    synced: list[tuple[Path, str]] = []
    original = os.fsync

    def recorded(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        synced.append((path, path.read_text() if path.is_file() else ""))
        original(fd)

    monkeypatch.setattr(os, "fsync", recorded)
    assert migrate_store(root)
    written = [number for number, (_, text) in enumerate(synced) if text == "1\n"]
    folders = [number for number, (path, _) in enumerate(synced) if path == root]
    assert written
    assert max(folders) > written[0]
    assert {root / "blobs" / "sha256", root / "blobs" / "sha512", root / "blobs"} <= {path for path, _ in synced}


async def test_an_interrupted_beginning_is_begun_again(root: Path) -> None:
    (root / "blobs" / "sha256" / "00").mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "tmp" / "FORMAT").write_text("")
    async with open_store(root) as store:
        await put_blob(store, APP, DATA)


# One server to a store.


async def test_a_second_one_in_the_same_process_is_refused(root: Path) -> None:
    async with open_store(root):
        for _ in range(2):
            with pytest.raises(StoreInUse, match=rf"process {os.getpid()}\b"):
                async with open_store(root):
                    pass
        with pytest.raises(StoreInUse):
            migrate_store(root)
    async with open_store(root):
        pass


async def test_a_second_process_is_refused_and_told_which_one_has_it(root: Path) -> None:
    with run(HOLDER, root) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreInUse, match=rf"process {holder.pid}\b"):
            async with open_store(root):
                pass
        holder.kill()
    async with open_store(root) as store:  # the kernel has let go of it
        assert store.was_killed


async def test_many_servers_at_once_and_one_of_them_gets_it(root: Path) -> None:
    script = HOLDER.replace(
        "asyncio.run(main())",
        """
    from storage.errors import StoreInUse
    try:
        asyncio.run(main())
    except StoreInUse:
        print("in use", flush=True)
    """,
    )
    servers = [run(script, root) for _ in range(4)]
    answers = sorted(server.stdout.readline() for server in servers if server.stdout)
    for server in servers:
        server.communicate("", timeout=30)
    assert answers == ["in use\n"] * 3 + ["open\n"]


# What cannot be opened.


async def refused(root: Path) -> str:
    with pytest.raises(StoreUnusable) as caught:
        async with open_store(root):
            pass
    assert not any(name.startswith(str(root)) for name in open_files())
    return str(caught.value)


@pytest.mark.parametrize("written", ["2\n", "0\n", "", "1.0\n", "garbage"])
async def test_another_format_is_refused(root: Path, written: str) -> None:
    migrate_store(root)
    (root / "FORMAT").chmod(0o644)
    (root / "FORMAT").write_text(written)
    assert repr(written.strip()) in await refused(root)
    assert (root / "FORMAT").read_text() == written


async def test_an_index_of_a_newer_server_is_refused_and_left_alone(root: Path) -> None:
    async with open_store(root) as store:
        await put_blob(store, APP, DATA)
    change(root, "UPDATE alembic_version SET version_num = '9999'")
    assert "9999" in await refused(root)
    change(root, f"UPDATE alembic_version SET version_num = '{HEAD}'")
    async with open_store(root) as store:
        assert await get_blob(store, APP, DIGEST) == DATA


async def test_an_index_of_nobody_we_know_is_refused(root: Path) -> None:
    migrate_store(root)
    change(root, "UPDATE alembic_version SET version_num = '0000'")
    assert "0000" in await refused(root)


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000], ids=["text", "header"])
async def test_a_damaged_index_is_refused_and_not_begun_anew(root: Path, content: bytes) -> None:
    async with open_store(root) as store:
        await put_blob(store, APP, DATA)
    (root / "index.sqlite").write_bytes(content)
    assert "index" in await refused(root)
    assert (root / "index.sqlite").read_bytes() == content
    assert files_of(Layout(root))["blobs"] == [DIGEST.hex]


async def test_tables_that_are_gone_are_an_error_of_the_store(root: Path) -> None:
    migrate_store(root)
    change(root, "DROP TABLE store_facts")
    with pytest.raises(StorageError):
        async with open_store(root):
            pass


@pytest.mark.parametrize("name", ["FORMAT", "lock", "index.sqlite", "tmp", "uploads"])
async def test_something_else_in_the_place_of_a_file_or_folder_is_refused(root: Path, name: str) -> None:
    migrate_store(root)
    for path in (root / "index.sqlite-wal", root / "index.sqlite-shm"):
        path.unlink(missing_ok=True)
    path = root / name
    if path.is_dir():
        path.rmdir()
        path.touch()
    else:
        path.unlink()
        path.mkdir()
    if name == "uploads":  # looked at only where it is needed
        async with open_store(root) as store:
            with pytest.raises(StoreUnavailable):
                async with (await store.uploads.start(APP.name)).turn() as ingest:
                    await ingest.append(DATA)
    else:
        await refused(root)


async def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "store"):
        assert str(root) in await refused(root)


NOBODY = """
    import asyncio, os, pathlib, sys
    from storage.errors import StorageError
    from storage.store import open_store

    async def main():
        async with open_store(pathlib.Path(sys.argv[1])):
            print("opened")

    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    try:
        asyncio.run(main())
    except StorageError as error:
        print(error)
"""


def permit(path: Path, mode: int) -> None:
    """Permissions for everything below."""
    for each in (path, *path.rglob("*")):
        each.chmod(mode if each.is_dir() else mode & 0o666)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (".", "Permission denied"),
        ("store", "Permission denied"),
        ("store/lock", "Permission denied"),
        ("store/tmp", "Permission denied"),
        ("store/index.sqlite", "store/index.sqlite: Permission denied; it belongs to user 0, and this is user 65534"),
        ("store/blobs/sha512/7f", "blobs/sha512/7f: Permission denied"),
    ],
)
async def test_what_cannot_be_written_is_refused_with_the_reason(tmp_path: Path, what: str, reason: str) -> None:
    """As somebody to whom permissions apply."""
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    if what != ".":
        migrate_store(tmp_path / "store")
    permit(tmp_path, 0o777)
    if what == "store":
        (tmp_path / "store" / "lock").unlink()
    if what == "store/tmp":
        (tmp_path / what / "stray").touch()
    (tmp_path / what).chmod(0o555)
    try:
        with run(NOBODY, tmp_path / "store") as process:
            printed, _ = process.communicate(timeout=30)
    finally:
        permit(tmp_path, 0o777)
    assert reason in printed
    assert "opened" not in printed


# After a crash.


async def test_whether_one_before_was_killed_is_known_until_the_sweep(root: Path) -> None:
    async with killed(root) as store:
        assert not store.was_killed
    async with killed(root) as store:
        assert store.was_killed
    with pytest.raises(OSError, match="port"):
        async with open_store(root) as store:
            raise OSError("the port is in use")  # before anything was put right
    async with open_store(root) as store:
        assert store.was_killed
        await store.sweep()
    async with open_store(root) as store:
        assert not store.was_killed


async def test_a_server_that_fails_closes_properly_all_the_same(root: Path) -> None:
    with pytest.raises(OSError, match="port"):
        async with open_store(root):
            raise OSError("the port is in use")
    async with open_store(root) as store:
        assert not store.was_killed


async def test_a_disk_that_is_full_at_the_end_does_not_keep_it_from_closing(root: Path) -> None:
    async with open_store(root) as store:

        async def full(state: str) -> str | None:
            raise StoreFull("no space")

        store.mark = full  # type: ignore[method-assign]
    assert not any(name.startswith(str(root)) for name in open_files())
    async with open_store(root) as store:
        assert store.was_killed


async def test_what_was_half_done_is_removed_and_nothing_else(root: Path) -> None:
    stray, content = random_bytes("stray")
    async with killed(root) as store:
        layout = layout_of(store)
        await put_blob(store, APP, DATA)
        await put_manifest(store, APP, image(DIGEST), "latest")
        session = await store.uploads.start(APP.name)
        async with session.turn() as ingest:
            await ingest.append(DATA)
        download = await store.content.receive_download(stray)
        await download.append(content[:100])
        await download.close()
        layout.blob(stray).write_bytes(content)  # published, and killed before its row was written
        layout.blob(Digest.of(content, "sha512")).write_bytes(content)
        (layout.tmp / "half").write_bytes(b"half a manifest")
        (layout.uploads / ("0" * 32)).write_bytes(b"nobody's")
        (layout.blob(stray).parent / "not a digest").write_bytes(b"not ours to judge")
    async with open_store(root) as store:
        kept = sorted([DIGEST.hex, image(DIGEST).digest.hex, "not a digest"])
        half = {"uploads": [session.id], "partial": [layout.partial(stray).name], "tmp": []}
        assert await store.sweep() == 2
        assert files_of(layout) == {"blobs": kept, **half}
        assert await store.sweep() == 0
        assert await broken_promises(store) == []
        assert await get_blob(store, APP, DIGEST) == DATA
        assert (await store.uploads.find(APP.name, session.id)).offset == len(DATA)
        resumed = await store.content.receive_download(stray)
        assert resumed.size == 100
        await resumed.close()


async def test_small_content_that_was_on_its_way_in_is_removed_at_every_start(root: Path) -> None:
    migrate_store(root)
    for name in ("a", "b" * 32):
        (root / "tmp" / name).write_bytes(b"left")
    async with open_store(root) as store:
        assert files_of(layout_of(store)) == {"blobs": [], **CLEAN}


async def test_sweeping_beside_pushes_and_deletes_harms_nobody(store: Store) -> None:
    strays = [random_bytes(f"stray/{number}") for number in range(20)]
    for digest, content in strays:
        layout_of(store).blob(digest).write_bytes(content)

    async def come_and_go(number: int) -> None:
        for _ in range(6):
            digest, content = random_bytes(f"wanted/{number}")
            repository = Repository(RepositoryName(f"team/app{number}"))
            await put_blob(store, repository, content)
            assert await get_blob(store, repository, digest) == content
            await store.blobs.unlink(repository, digest)

    async def revive() -> None:
        for _, content in strays[:10]:  # somebody pushes the very content that is being swept
            await put_blob(store, WEB, content)

    sweep = asyncio.create_task(store.sweep())
    await asyncio.gather(sweep, revive(), *(come_and_go(number) for number in range(6)))
    removed = sweep.result() + await store.sweep()
    assert 10 <= removed <= 20
    assert await broken_promises(store) == []
    assert files_of(layout_of(store))["blobs"] == sorted(digest.hex for digest, _ in strays[:10])
    for digest, content in strays[:10]:
        assert await get_blob(store, WEB, digest) == content


async def test_a_process_that_is_killed_in_the_middle_of_pushes(root: Path) -> None:
    """Whatever it had been told is stored, is there; and there is no row without its file."""
    script = """
        import asyncio, os, pathlib, sys
        from ocispec.digest import Digest
        from ocispec.names import RepositoryName
        from storage.repository import Repository
        from storage.store import open_store

        async def main():
            async with open_store(pathlib.Path(sys.argv[1])) as store:
                async def push(number):
                    data = b"%d" % number * 10_000
                    ingest = store.content.receive()
                    await ingest.append(data)
                    await store.blobs.publish_linked(ingest, Digest.of(data), Repository(RepositoryName("team/app")))
                    os.write(1, b"%s\\n" % str(Digest.of(data)).encode())

                async def work(first):
                    for number in range(first, 1_000_000, 8):
                        await push(number)

                await asyncio.gather(*(work(first) for first in range(8)))

        asyncio.run(main())
    """
    acknowledged: set[str] = set()
    for _ in range(3):
        with run(script, root) as process:
            assert process.stdout is not None
            acknowledged |= {process.stdout.readline().strip() for _ in range(20)}
            process.kill()
            acknowledged |= {line.strip() for line in process.stdout if len(line) == len(f"{DIGEST}\n")}
        async with open_store(root) as store:
            assert store.was_killed
            await store.sweep()
            assert await broken_promises(store) == []
            rows = {str(digest) for (digest,) in await query(store, "SELECT digest FROM blobs")}
            assert acknowledged <= rows
            assert len(files_of(layout_of(store))["blobs"]) == len(rows)
            await store.mark(facts.OPEN)


async def test_downloads_that_nobody_asked_for_again_are_removed(root: Path) -> None:
    async with open_store(root) as store:
        paths = []
        for digest, content in (random_bytes("old"), random_bytes("young")):
            ingest = await store.content.receive_download(digest)
            await ingest.append(content[:100])
            await ingest.close()
            paths.append(ingest.path)
        os.utime(paths[0], (0, 0))
        assert await store.expire_downloads(3600) == 1
        assert await store.expire_downloads(3600) == 0
        assert files_of(layout_of(store))["partial"] == [paths[1].name]


async def test_a_download_that_somebody_holds_is_not_removed(root: Path) -> None:
    digest, content = random_bytes("held")
    async with open_store(root) as store:
        ingest = await store.content.receive_download(digest)
        await ingest.append(content[:100])
        os.utime(ingest.path, (0, 0))
        assert await store.expire_downloads(3600) == 0
        await ingest.close()
        assert await store.expire_downloads(3600) == 1


@pytest.mark.parametrize("again", [open_store, migrate_store])
async def test_content_without_its_index_is_refused_and_kept(root: Path, again: Callable[[Path], Any]) -> None:
    """An index made anew would know of none of it, and the sweep would remove every file."""
    async with open_store(root) as store:
        await put_blob(store, APP, DATA)
        index = layout_of(store).index
    kept = index.rename(index.with_suffix(".away"))
    with pytest.raises(StoreUnusable, match="missing, but there is content"):
        await opened_by(again, root)
    assert not index.exists()
    kept.rename(index)
    async with open_store(root) as store:
        assert await get_blob(store, APP, DIGEST) == DATA


async def opened_by(way: Callable[[Path], Any], root: Path) -> None:
    if way is migrate_store:
        migrate_store(root)
    else:
        async with open_store(root):
            pass


# Small things.


async def test_readiness_is_really_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.check()
    assert files_of(layout_of(store))["tmp"] == []

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreFull):
            await store.check()
    assert files_of(layout_of(store))["tmp"] == []
    await store.check()
    layout_of(store).tmp.rmdir()
    with pytest.raises(StoreUnavailable):
        await store.check()
    layout_of(store).tmp.mkdir()


async def test_the_catalog_comes_in_pages_in_order(store: Store) -> None:
    names = [f"team/app{number}" for number in range(10)] + ["a", "z/z/z", "team/app1-x", "team/app1/x"]
    for name in names:
        await put_blob(store, Repository(RepositoryName(name)), DATA)
    await put_blob(store, NGINX, DATA)
    for number in range(10):
        await put_blob(store, Repository(RepositoryName(f"team/app{number}/hidden")), DATA)
    shown = Scope({"": Rules(deny=["*/hidden"]), "docker.io": Rules()})
    expected = sorted([*names, "docker.io/library/nginx"])
    seen: list[str] = []
    more = True
    while more:
        page, more = await store.catalog(Page(4, seen[-1] if seen else ""), shown)
        seen += page
    assert seen == expected
    assert await store.catalog(Page(0), EVERYTHING) == ([], True)
    assert await store.catalog(Page(0), Scope({})) == ([], False)
    assert await store.catalog(Page(5, "zz"), EVERYTHING) == ([], False)


async def test_migrating_by_hand_does_it_once(root: Path) -> None:
    assert migrate_store(root)
    assert not migrate_store(root)
    async with open_store(root) as store:
        assert not store.was_killed


async def test_the_index_is_nobody_elses_to_open(store: Store) -> None:
    """Closing any other descriptor on it would drop SQLite's locks: only SQLite may have it open."""
    await put_blob(store, APP, DATA)
    await store.check()
    index = [name for name in open_files() if Path(name).name.startswith("index.sqlite")]
    assert {Path(name).name for name in index} <= {"index.sqlite", "index.sqlite-wal", "index.sqlite-shm"}
    assert await index_of(store).read(lambda on: on.exec_driver_sql("PRAGMA integrity_check").scalar()) == "ok"


def change(root: Path, statement: str) -> None:
    """Change the index of a closed store."""
    connection = sqlite_module().connect(root / "index.sqlite", isolation_level=None)
    connection.execute(statement)
    connection.close()
