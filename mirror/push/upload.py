"""Push a blob: in one piece, in chunks, or by mounting one that is here.

The bytes are hashed and written as they arrive, so that the answer to the last request is quick however long the blob.
"""

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass

from mirror.push.guard import writable
from mirror.routing import Place, owner
from ocispec.digest import Digest
from ocispec.errors import BlobUploadUnknown, DigestInvalid, NameUnknown, SizeInvalid
from storage.errors import DigestMismatch, OffsetMismatch, SessionUnknown, StorageError
from storage.ingest import SHORT, Ingest
from storage.store import Store
from storage.uploads import UploadSession


@dataclass(frozen=True, slots=True)
class Chunk:
    """The bytes of one request, in batches of pieces. They claim to begin at `start`, and to be `length` bytes."""

    batches: AsyncIterable[Sequence[bytes]]
    start: int | None = None
    length: int | None = None

    @property
    def is_short(self) -> bool:
        """Whether it is known to be no more than a few packets."""
        return self.length is not None and self.length <= SHORT


class Uploads:
    """Pushes of blobs into hosted repositories."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def start(self, place: Place) -> UploadSession:
        """Raises Unsupported where the name cannot be pushed to."""
        return await self._store.uploads.start(writable(self._store, place).name)

    async def mount(self, place: Place, digest: Digest, source: Place | None) -> bool:
        """Link a blob that is here into another repository; False where it has to be uploaded after all.

        `source` None: from any repository (distribution-spec, "Mounting a blob from another repository") of those that
        were pushed. What an upstream gave may be kept from this client, so its repository has to be named.
        """
        target = writable(self._store, place)
        if source is None:
            return await self._store.blobs.link(target, digest, pushed_only=True)
        try:
            repository = owner(source, self._store.repositories)
        except NameUnknown:
            return False
        if await self._store.blobs.size(repository, digest) is None:
            return False
        return await self._store.blobs.link(target, digest)

    async def push_whole(self, place: Place, digest: Digest, chunk: Chunk) -> None:
        """A blob in a single request. Raises DigestInvalid, SizeInvalid, Unsupported."""
        target = writable(self._store, place)
        await self._store.content.need(chunk.length or 0)
        ingest = self._store.content.receive(digest.algorithm)
        try:
            last = await _receive_last(ingest, chunk)
            await self._store.blobs.publish_linked(ingest, digest, target, last)
        except BaseException as error:
            await ingest.discard()
            if isinstance(error, DigestMismatch):
                raise _wrong(error) from error
            raise

    async def find(self, place: Place, session_id: str) -> UploadSession:
        """Raises BlobUploadUnknown: also for a session of another repository."""
        if place.hosted is None:
            raise BlobUploadUnknown()
        try:
            return await self._store.uploads.find(place.hosted.name, session_id)
        except SessionUnknown as error:
            raise BlobUploadUnknown() from error

    async def has(self, place: Place, digest: Digest) -> bool:
        """Whether the blob is in the repository already."""
        return place.hosted is not None and await self._store.blobs.size(place.hosted, digest) is not None

    async def append(self, session: UploadSession, chunk: Chunk) -> None:
        """Add a chunk. Raises OffsetMismatch where it claims to begin elsewhere than where the session ends."""
        async with session.turn() as ingest:
            await self._ready(session, ingest, chunk)
            await self._store.uploads.record(session)
            await _receive(ingest, chunk)

    async def finish(self, session: UploadSession, place: Place, digest: Digest, chunk: Chunk) -> None:
        """Add the last chunk, verify, publish. Raises OffsetMismatch, DigestInvalid.

        An upload whose bytes are wrong cannot be put right by more of them, and ends; one whose last chunk is out of
        order can, and stays.
        """
        target = writable(self._store, place)
        async with session.turn() as ingest:
            await self._ready(session, ingest, chunk)
            if not chunk.is_short:  # it will take a while: the client may want to go on after a restart
                await self._store.uploads.record(session)
            last = await _receive_last(ingest, chunk)
            try:
                await self._store.blobs.publish_upload(session, digest, target, last)
            except DigestMismatch as error:
                await self._store.uploads.cancel(session)
                raise _wrong(error) from error
            except StorageError:
                # A file that could not be made durable is not to be trusted any more: it has to be sent again.
                if not ingest.is_sound:
                    with contextlib.suppress(StorageError):
                        await self._store.uploads.cancel(session)
                raise
            finally:
                if session.ended:
                    self._store.uploads.forget(session)

    async def cancel(self, session: UploadSession) -> None:
        """Raises BlobUploadUnknown where it has ended meanwhile."""
        async with session.turn():
            if session.ended:
                raise BlobUploadUnknown()
            await self._store.uploads.cancel(session)

    async def _ready(self, session: UploadSession, ingest: Ingest, chunk: Chunk) -> None:
        """Whether the session can take the chunk; raises BlobUploadUnknown, OffsetMismatch, StoreFull."""
        if session.ended:
            raise BlobUploadUnknown()
        if chunk.start is not None and chunk.start != ingest.size:
            raise OffsetMismatch(ingest.size)
        await self._store.content.need(chunk.length or 0)


async def _receive_last(ingest: Ingest, chunk: Chunk) -> bytes:
    """`_receive` the chunk that nothing follows. A short one is only read, and still to be appended."""
    if not chunk.is_short:
        await _receive(ingest, chunk)
        return b""
    pieces: list[bytes] = []
    async for batch in _announced(chunk):
        pieces += batch
    return b"".join(pieces)


async def _receive(ingest: Ingest, chunk: Chunk) -> None:
    """Write a request's body at the end. What came before it broke off stays: the client can go on from there."""
    async for batch in _announced(chunk):
        await ingest.append(*batch)


async def _announced(chunk: Chunk) -> AsyncIterator[Sequence[bytes]]:
    """The bytes of a chunk, as long as they are as many as was said; raises SizeInvalid."""
    received = 0
    async for batch in chunk.batches:
        received += sum(map(len, batch))
        if chunk.length is not None and received > chunk.length:
            raise SizeInvalid(detail={"announced": chunk.length})
        yield batch
    if chunk.length is not None and received != chunk.length:
        raise SizeInvalid(detail={"announced": chunk.length, "received": received})


def _wrong(error: DigestMismatch) -> DigestInvalid:
    return DigestInvalid(detail={"expected": str(error.expected), "received": error.actual})
