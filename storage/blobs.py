"""A file and its row change together here, and nowhere else.

The invariants, which everything above relies on:

1. A row means that its file is complete, verified and durable: file first, row second.
2. On removal the row goes first, the file second. A crash between leaves a stray file, never a row without a file.
3. Whoever publishes or removes the file of a digest holds that digest's lock from before the file until after the row,
   to the end even where it is cancelled.

Nothing is served on the strength of a row alone: a file that is missing, or not as long as its row says, counts as not
there, and the next push or download of it puts it right.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import Callable
from io import FileIO
from typing import TypeVar

from sqlalchemy import Connection

from ocispec.digest import Digest
from storage.errors import StorageError, StoreUnavailable
from storage.files import Disk, has_exactly, open_exactly, remove, storage_error
from storage.index import blobs as rows
from storage.index import repositories, sessions
from storage.index.unit import StoreIndex, Unit
from storage.ingest import Ingest
from storage.layout import Layout
from storage.locks import KeyedLocks, to_the_end
from storage.partial import Partial
from storage.repository import Repository
from storage.uploads import UploadSession

T = TypeVar("T")
log = logging.getLogger(__name__)


class Blobs:
    """Content by digest, one copy whatever the number of repositories that have it."""

    def __init__(
        self, layout: Layout, disk: Disk, index: StoreIndex, known: set[Repository], clock: Callable[[], float]
    ) -> None:
        self._layout, self._disk, self._index, self._clock = layout, disk, index, clock
        self._known = known
        self._locks = KeyedLocks()

    async def open(self, repository: Repository, digest: Digest) -> FileIO | None:
        """The blob for reading, if this repository has it; its length is what the index says."""

        def unit(connection: Connection) -> FileIO | None:
            size = rows.linked_size(connection, repository, digest)
            return None if size is None else self._checked(open_exactly, digest, size)

        return await self._index.read(unit)

    async def size(self, repository: Repository, digest: Digest) -> int | None:
        """Bytes of the blob, if `open` would find it."""

        def unit(connection: Connection) -> int | None:
            size = rows.linked_size(connection, repository, digest)
            return size if size is not None and self._checked(has_exactly, digest, size) else None

        return await self._index.read(unit)

    async def is_here(self, digest: Digest) -> bool:
        """Whether the bytes are in the store, whoever may read them."""

        def unit(connection: Connection) -> bool:
            size = rows.size(connection, digest)
            return size is not None and bool(self._checked(has_exactly, digest, size))

        return await self._index.read(unit)

    def read_verified(self, digest: Digest, size: int) -> bytes | None:
        """All bytes of small content, if they are what their digest says. Blocking: for units of the index."""
        file = self._checked(open_exactly, digest, size)
        if file is None:
            return None
        try:
            with file:
                body = file.readall()
        except OSError as error:
            raise storage_error(error) from error
        if Digest.of(body, digest.algorithm) == digest:
            return body
        log.error("content is damaged on disk", extra={"digest": str(digest), "size": size})
        return None

    def receive(self, algorithm: str = "sha256") -> Ingest:
        """A new file for content that comes in one piece; `publish` or discard it."""
        return Ingest(self._disk, self._layout.tmp / secrets.token_hex(16), algorithm)

    async def receive_download(self, digest: Digest) -> Ingest:
        """The partial file of a digest, with what an earlier download left in it; locked for this process."""
        ingest = await Ingest.resume(self._disk, self._layout.partial(digest), digest.algorithm)
        try:
            await ingest.lock()
        except StorageError:
            await ingest.close()
            raise
        return ingest

    async def open_download(self, partial: Partial) -> FileIO:
        """The file of a download, for following: under the name it has now, before or after it is published.

        Raises StoreUnavailable where it has been removed.
        """

        def unit() -> FileIO:
            for path in (self._layout.partial(partial.digest), self._layout.blob(partial.digest)):
                with contextlib.suppress(FileNotFoundError):
                    file = FileIO(path)
                    # Not another download's file under the same name, nor the damaged blob that this one replaces.
                    if os.fstat(file.fileno()).st_ino == partial.inode:
                        return file
                    file.close()
            raise StoreUnavailable("the download has ended")

        return await self._disk.run(unit)

    async def publish(self, ingest: Ingest, digest: Digest, record: Unit[T]) -> T:
        """Verify, make durable, and add the row together with what `record` adds. The only way into the store.

        Raises DigestMismatch, with the ingest untouched; and whatever `record` raises, with nothing recorded.
        """
        await ingest.verify(digest)
        size, now = ingest.size, self._clock()

        def unit(connection: Connection) -> T:
            rows.add(connection, digest, size, now)
            return record(connection)

        async with self._locks.of(digest):
            return await to_the_end(self._publish(ingest, digest, unit))

    async def _publish(self, ingest: Ingest, digest: Digest, unit: Unit[T]) -> T:
        try:
            await ingest.publish(self._layout.blob(digest))
            return await self._index.write(unit)
        except Exception:
            with contextlib.suppress(StorageError):
                await self._remove_if_unknown(digest)
            raise

    async def publish_upload(self, session: UploadSession, digest: Digest, repository: Repository) -> None:
        """End an upload session with its bytes as a blob of `repository`. Raises DigestMismatch."""
        now = self._clock()

        def record(connection: Connection) -> None:
            rows.link(connection, repositories.ensure(connection, repository, now), digest, now)
            sessions.remove(connection, session.id)

        await self.publish(session.ingest, digest, record)
        self._known.add(repository)

    async def publish_linked(self, ingest: Ingest, digest: Digest, repository: Repository) -> None:
        """Publish as a blob of `repository`. Raises DigestMismatch."""
        await self.publish(ingest, digest, lambda connection: self._link(connection, repository, digest))
        self._known.add(repository)

    async def link(self, repository: Repository, digest: Digest) -> bool:
        """Let a repository have a blob that is here already; False where it is not (or its file is damaged)."""

        def unit(connection: Connection) -> bool:
            size = rows.size(connection, digest)
            if size is None or not self._checked(has_exactly, digest, size):
                return False
            self._link(connection, repository, digest)
            return True

        linked = await self._index.write(unit)
        if linked:
            self._known.add(repository)
        return linked

    def _link(self, connection: Connection, repository: Repository, digest: Digest) -> None:
        now = self._clock()
        rows.link(connection, repositories.ensure(connection, repository, now), digest, now)

    async def unlink(self, repository: Repository, digest: Digest) -> bool:
        """Take the blob out of the repository, and out of the store with its last reference; whether it was there."""

        def unit(connection: Connection) -> bool:
            repository_id = repositories.find(connection, repository)
            return repository_id is not None and rows.unlink(connection, repository_id, digest)

        return await self.removing(digest, unit)

    async def removing(self, digest: Digest, unit: Unit[bool]) -> bool:
        """Run a unit that takes away a reference to `digest`; if it was the last one, remove the content."""

        async with self._locks.of(digest):
            return await to_the_end(self._remove(digest, unit))

    async def _remove(self, digest: Digest, unit: Unit[bool]) -> bool:
        def whole(connection: Connection) -> tuple[bool, bool]:
            removed = unit(connection)
            return removed, removed and rows.drop_unreferenced(connection, digest)

        removed, last = await self._index.write(whole)
        if last:
            await self._disk.run(remove, self._layout.blob(digest))
        return removed

    async def remove_stray(self, digest: Digest) -> bool:
        """Remove the file of a digest that has no row; whether there was one."""
        async with self._locks.of(digest):
            return await to_the_end(self._remove_if_unknown(digest))

    async def _remove_if_unknown(self, digest: Digest) -> bool:
        known = await self._index.read(lambda connection: rows.size(connection, digest))
        if known is None:
            await self._disk.run(remove, self._layout.blob(digest))
        return known is None

    def _checked(self, look: Callable[..., T], digest: Digest, size: int) -> T:
        """Look at the file of a row (blocking); say so where it is not what the row promises."""
        try:
            found = look(self._layout.blob(digest), size)
        except OSError as error:
            raise storage_error(error) from error
        if not found:
            log.error("blob is damaged or missing on disk", extra={"digest": str(digest), "size": size})
        return found
