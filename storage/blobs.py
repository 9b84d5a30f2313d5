"""A file and its row change together here, and nowhere else.

The invariants, which everything above relies on:

1. A row means that its file is complete, verified and durable: file first, row second.
2. On removal the row goes first, the file second. A crash between leaves a stray file, never a row without a file.
3. Whoever publishes or removes the file of a digest holds that digest's lock from before the file until after the row,
   to the end even where it is cancelled.
"""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from io import FileIO
from typing import TypeVar

from sqlalchemy import Connection

from ocispec.digest import Digest
from storage import description
from storage.content import Content
from storage.errors import StorageError
from storage.index import blobs as rows
from storage.index import repositories, sessions
from storage.index.unit import StoreIndex, Unit
from storage.ingest import SHORT, Ingest
from storage.locks import KeyedLocks, to_the_end
from storage.repository import Repository
from storage.uploads import UploadSession

T = TypeVar("T")


class Blobs:
    """Content by digest, one copy whatever the number of repositories that have it."""

    def __init__(self, content: Content, index: StoreIndex, known: set[Repository], clock: Callable[[], float]) -> None:
        self._content, self._index, self._known, self._clock = content, index, known, clock
        self._locks = KeyedLocks()

    async def open(self, repository: Repository, digest: Digest) -> FileIO | None:
        """The blob for reading, if this repository has it; its length is what the index says."""

        def unit(connection: Connection) -> FileIO | None:
            size = rows.linked_size(connection, repository, digest)
            return None if size is None else self._content.open(digest, size)

        return await self._index.read(unit)

    async def size(self, repository: Repository, digest: Digest) -> int | None:
        """Bytes of the blob, if `open` would find it."""

        def unit(connection: Connection) -> int | None:
            size = rows.linked_size(connection, repository, digest)
            return size if size is not None and self._content.has(digest, size) else None

        return await self._index.read(unit)

    async def among(self, repository: Repository, digests: Iterable[Digest]) -> set[Digest]:
        """Those of `digests` that `open` would find."""

        def unit(connection: Connection) -> set[Digest]:
            sizes = rows.linked_sizes(connection, repository, digests)
            return {digest for digest, size in sizes.items() if self._content.has(digest, size)}

        return await self._index.read(unit)

    async def is_here(self, digest: Digest) -> bool:
        """Whether the bytes are in the store, whoever may read them."""

        def unit(connection: Connection) -> bool:
            size = rows.size(connection, digest)
            return size is not None and self._content.has(digest, size)

        return await self._index.read(unit)

    async def publish(
        self,
        ingest: Ingest,
        digest: Digest,
        record: Unit[T],
        *,
        last: bytes = b"",
        done: Callable[[], None] = lambda: None,
    ) -> T:
        """Append `last`, verify, make durable, and add the row together with what `record` adds. The only way in.

        `done` is called when all of it is, even where whoever awaits it is cancelled. Raises DigestMismatch, with the
        ingest untouched; and whatever `record` raises, with nothing recorded.
        """
        if len(last) > SHORT:
            await ingest.append(last)
            last = b""
        await ingest.verify(digest, last)
        size, now = ingest.size + len(last), self._clock()

        def unit(connection: Connection) -> T:
            rows.add(connection, digest, size, now)
            return record(connection)

        async with self._locks.of(digest):
            return await to_the_end(self._publish(ingest, digest, unit, last, done))

    async def _publish(self, ingest: Ingest, digest: Digest, unit: Unit[T], last: bytes, done: Callable[[], None]) -> T:
        try:
            result = await self._content.publish(ingest, digest, partial(self._index.commit, unit), last)
        except Exception:
            with contextlib.suppress(StorageError):
                await self._remove_if_unknown(digest)
            raise
        done()
        return result

    async def publish_upload(
        self, session: UploadSession, digest: Digest, repository: Repository, last: bytes = b""
    ) -> None:
        """End an upload session with its bytes, and `last`, as a blob of `repository`. Raises DigestMismatch."""

        def record(connection: Connection) -> None:
            self._link(connection, repository, digest)
            if session.is_recorded:
                sessions.remove(connection, session.id)

        def done() -> None:
            session.ended = True
            self._known.add(repository)

        await self.publish(session.ingest, digest, record, last=last, done=done)

    async def publish_linked(self, ingest: Ingest, digest: Digest, repository: Repository, last: bytes = b"") -> None:
        """Publish as a blob of `repository`. Raises DigestMismatch."""

        def record(connection: Connection) -> None:
            self._link(connection, repository, digest)

        await self.publish(ingest, digest, record, last=last, done=lambda: self._known.add(repository))

    async def link(self, repository: Repository, digest: Digest, *, pushed_only: bool = False) -> bool:
        """Let a repository have a blob that is here already; False where it is not (or its file is damaged).

        `pushed_only`: also where no hosted repository has it.
        """

        def unit(connection: Connection) -> bool:
            size = rows.size(connection, digest)
            if pushed_only and not rows.is_pushed(connection, digest):
                return False
            if size is None or not self._content.has(digest, size):
                return False
            self._link(connection, repository, digest)
            return True

        linked = await self._index.write(unit)
        if linked:
            self._known.add(repository)
        return linked

    def _link(self, connection: Connection, repository: Repository, digest: Digest) -> None:
        now = self._clock()
        repository_id = repositories.ensure(connection, repository, now)
        rows.link(connection, repository_id, digest, now)
        description.blob_came(connection, self._content, repository_id, digest)

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
            await self._content.remove(digest)
        return removed

    async def remove_stray(self, digest: Digest) -> bool:
        """Remove the file of a digest that has no row; whether there was one."""
        async with self._locks.of(digest):
            return await to_the_end(self._remove_if_unknown(digest))

    async def _remove_if_unknown(self, digest: Digest) -> bool:
        known = await self._index.read(lambda connection: rows.size(connection, digest))
        if known is None:
            await self._content.remove(digest)
        return known is None
