"""The bytes, by digest and nothing else: whose they are, and what they mean, is in the index.

This is the seam where another place for the bytes could be put (docs/decisions/0008): what is above it knows digests
and lengths, and no path. `tests/storage/contracts/test_content.py` is what every such place has to pass.

Nothing is served on the strength of a row alone: a file that is missing, or not as long as its row says, counts as not
there, and the next push or download of it puts it right.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from io import FileIO
from pathlib import Path
from typing import TypeVar

from ocispec.digest import Digest
from ocispec.errors import DigestInvalid
from storage.errors import StorageError, StoreUnavailable
from storage.files import LOW, Disk, has_exactly, need, open_exactly, remove, remove_older, storage_error
from storage.ingest import Ingest
from storage.layout import Layout
from storage.partial import Partial

# Whether a smaller one fits is found out by writing it.
_WORTH_LOOKING = 2**20

T = TypeVar("T")
log = logging.getLogger(__name__)


class Content:
    """Every blob's and manifest's bytes, one copy of each.

    `open`, `has` and `read` block: they are for units of the index, which run in a thread, so that a look-up and its
    file cost one hop together.
    """

    def __init__(self, layout: Layout, disk: Disk) -> None:
        self._layout, self._disk = layout, disk

    def open(self, digest: Digest, size: int) -> FileIO | None:
        """For reading, if all `size` bytes are there. Blocking; raises StorageError."""
        return self._checked(open_exactly, digest, size)

    def has(self, digest: Digest, size: int) -> bool:
        """Whether `open` would find it. Blocking; raises StorageError."""
        return self._checked(has_exactly, digest, size)

    def read(self, digest: Digest, size: int) -> bytes | None:
        """All bytes of something small, if they are what their digest says. Blocking; raises StorageError."""
        file = self.open(digest, size)
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
        # Its followers have every byte before it is synced: nobody waits for that.
        ingest = await Ingest.resume(self._disk, self._layout.partial(digest), digest.algorithm, syncs_early=False)
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
            raise partial.error or StoreUnavailable("the download has ended")

        return await self._disk.run(unit)

    async def publish(self, ingest: Ingest, digest: Digest, then: Callable[[], T], last: bytes = b"") -> T:
        """Keep verified bytes under their digest, durably; what was there before gives way. Raises StorageError.

        `last` are appended first. `then` is done in the same thread as soon as all is durable, and says what comes out.
        """
        return await ingest.publish(self._layout.blob(digest), then, last)

    async def check(self) -> None:
        """Whether content can be kept; raises StoreUnavailable, StoreFull. Writes nothing."""

        def unit() -> None:
            for folder in self._layout.folders():
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise StoreUnavailable(f"{folder}: cannot be written")
            need(self._layout.root, LOW)

        await self._disk.run(unit)

    async def need(self, size: int) -> None:
        """Raises StoreFull where this many bytes will not fit: better before the first one than after the last."""
        if size >= _WORTH_LOOKING:
            await self._disk.run(need, self._layout.root, size)

    async def remove(self, digest: Digest) -> None:
        """Whoever is reading it reads on. Nothing to do where it is not there."""
        await self._disk.run(remove, self._layout.blob(digest))

    async def remove_old_downloads(self, moment: float) -> int:
        """Remove partial files that were last added to before `moment` and that nobody goes on with; how many."""
        return await self._disk.run(remove_older, self._layout.partials, moment)

    async def everything(self) -> AsyncIterator[set[Digest]]:
        """All digests that are there, some at a time, whether a row names them or not."""
        for folder in self._layout.blob_folders():
            names = await self._disk.run(os.listdir, folder)
            if found := {digest for name in names if (digest := _digest(folder, name))}:
                yield found

    def _checked(self, look: Callable[[Path, int], T], digest: Digest, size: int) -> T:
        """Look at the file of a row; say so where it is not what the row promises."""
        try:
            found = look(self._layout.blob(digest), size)
        except OSError as error:
            raise storage_error(error) from error
        if not found:
            log.error("blob is damaged or missing on disk", extra={"digest": str(digest), "size": size})
        return found


def _digest(folder: Path, name: str) -> Digest | None:
    try:
        return Digest.parse(f"{folder.parent.name}:{name}")
    except DigestInvalid:
        return None
