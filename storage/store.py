"""The store: bytes on disk and the index of them, opened and closed as one.

One server holds a store, by a lock on a file that ends with the process. What a killed server left behind is put right
before the first request: nothing that was promised needs repair, so it is little and quick.
"""

import contextlib
import errno
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from ocispec.pagination import Page
from storage.blobs import Blobs
from storage.content import Content
from storage.errors import StorageError, StoreInUse, StoreUnusable
from storage.files import Disk, publish, remove, sync_folder
from storage.finding import Finding
from storage.index import blobs, facts, repositories
from storage.index.engine import sqlite_module
from storage.index.migrate import upgrade
from storage.index.unit import StoreIndex
from storage.layout import FORMAT, Layout
from storage.manifests import Manifests
from storage.repository import Repository
from storage.scope import Scope
from storage.uploads import Uploads

log = logging.getLogger(__name__)


class Store:
    """Everything that is kept: `blobs`, `manifests` (with tags) and `uploads` of all repositories; `content` has the
    bytes of all of them, and `finding` what there is to see."""

    # Whether a process that held the store was killed since the last sweep; one is due then.
    was_killed = False

    def __init__(self, layout: Layout, disk: Disk, index: StoreIndex, clock: Callable[[], float]) -> None:
        # Which repositories exist, in memory: every request asks, few make one.
        self.repositories: set[Repository] = set()
        self.content = Content(layout, disk)
        self.blobs = Blobs(self.content, index, self.repositories, clock)
        self.manifests = Manifests(self.content, self.blobs, index, self.repositories, clock)
        self.uploads = Uploads(disk, layout, index, clock)
        self.finding = Finding(self.content, index, clock)
        self._index, self._clock = index, clock

    async def catalog(self, page: Page, scope: Scope) -> tuple[list[str], bool]:
        """The paths of a scope's repositories after `page.last` in lexical order, and whether more follow."""
        return await self._index.read(lambda connection: repositories.paths(connection, page, scope))

    async def load(self) -> None:
        """Read into memory what every request asks for."""
        for repository in await self._index.read(repositories.every):
            self.repositories.add(repository)

    async def check(self) -> None:
        """Whether the index answers and the store can be written; raises StorageError where not."""
        await self._index.read(lambda connection: facts.get(connection, facts.STATE))
        await self.content.check()
        ingest = self.content.receive()
        try:
            await ingest.append(b"ready")
        finally:
            await ingest.discard()

    async def mark(self, state: str) -> str | None:
        """Write down whether the store is open; what was written before."""

        def unit(connection: Connection) -> str | None:
            before = facts.get(connection, facts.STATE)
            facts.put(connection, facts.STATE, state)
            return before

        return await self._index.write(unit)

    async def expire_downloads(self, max_age_seconds: float) -> int:
        """Remove partial files that nothing was added to for that long: nobody asked for them again. How many."""
        return await self.content.remove_old_downloads(self._clock() - max_age_seconds)

    async def sweep(self) -> int:
        """Remove files under blobs/ that no row names (a crash came between the two); how many."""
        removed = 0
        async for found in self.content.everything():
            known = await self._index.read(partial(blobs.among, digests=found))
            for digest in found - known:
                removed += await self.blobs.remove_stray(digest)
        self.was_killed = False
        return removed


@asynccontextmanager
async def open_store(root: Path, clock: Callable[[], float] = time.time) -> AsyncIterator[Store]:
    """Open the store under `root`, making or migrating it as needed, and close it in the end.

    Raises StoreInUse where another server holds it, StoreUnusable where this one cannot read it.
    """
    layout = Layout(root)
    module = sqlite_module()
    with _held(layout):
        _prepare(layout)
        _refuse_lost_index(layout)
        upgrade(layout.index, module)
        disk, index = Disk(), StoreIndex(layout.index, module)
        store = Store(layout, disk, index, clock)
        try:
            store.was_killed = await store.mark(facts.OPEN) == facts.OPEN
            await store.load()
            if store.was_killed:
                log.warning("the store was not closed properly; what was left half done is removed")
                await store.uploads.remove_strays()
            yield store
        finally:
            # A start that fails before its sweep, after a crash, leaves it to the next one.
            if not store.was_killed:
                with contextlib.suppress(StorageError):
                    await store.mark(facts.CLEANLY)
            await store.uploads.close()
            await index.close()
            disk.close()


def migrate_store(root: Path) -> bool:
    """Make the store, or bring its index up to date; whether there was something to do. Raises as `open_store`."""
    layout, module = Layout(root), sqlite_module()
    with _held(layout):
        _prepare(layout)
        _refuse_lost_index(layout)
        return upgrade(layout.index, module)


@contextmanager
def _held(layout: Layout) -> Iterator[None]:
    """Hold the store for this process; the kernel lets go of it however the process ends. Blocking."""
    try:
        layout.root.mkdir(parents=True, exist_ok=True)
        fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(layout, error) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise StoreInUse(f"{layout.root} is in use by another server (process {holder})") from None
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise _unusable(layout, error) from error
        yield
    finally:
        os.close(fd)


def _prepare(layout: Layout) -> None:
    """Make the folders, check the format and who may write, empty tmp/. Blocking."""
    try:
        if layout.format.exists():
            _check_format(layout)
        else:
            _make_folders(layout)
        for path in (layout.index, *layout.folders()):
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        for stray in layout.tmp.iterdir():
            remove(stray)
    except OSError as error:
        raise _unusable(layout, error) from error


def _unusable(layout: Layout, error: OSError) -> StoreUnusable:
    """Which file it is, and where it is a matter of permission, whose."""
    path, owner = Path(error.filename or layout.root), ""
    if isinstance(error, PermissionError) and path.exists():
        owner = f"; it belongs to user {path.stat().st_uid}, and this is user {os.geteuid()}"
    return StoreUnusable(f"cannot use {layout.root} as a store: {path}: {error.strerror}{owner}")


def _refuse_lost_index(layout: Layout) -> None:
    """Content without an index would look like nobody's, and be swept away. Blocking."""
    if not layout.index.exists() and any(folder.exists() and any(folder.iterdir()) for folder in layout.blob_folders()):
        raise StoreUnusable(f"{layout.index} is missing, but there is content: put the index back, from a backup")


def _check_format(layout: Layout) -> None:
    written = layout.format.read_text().strip()
    if written != FORMAT:
        raise StoreUnusable(f"{layout.root} has format {written!r}; this server knows {FORMAT!r}")


def _make_folders(layout: Layout) -> None:
    """The whole tree, durable, before FORMAT says that it is there."""
    folders = layout.folders()
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for parent in {parent for folder in folders for parent in (folder.parent, folder.parent.parent)}:
        sync_folder(parent)
    written = layout.tmp / layout.format.name
    written.write_text(f"{FORMAT}\n")
    with written.open() as file:
        publish(file.fileno(), written, layout.format)
