"""The one door for bytes: write and hash, verify, sync, rename. Every blob and manifest came in through here.

So every other module may trust that a file under a final name is complete, is what its digest says, and survives a
power cut. A pushed upload, a download and a manifest are the same thing here: a file that grows at its end.
"""

import asyncio
import contextlib
import fcntl
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from ocispec.digest import Digest, Hasher, new_hasher
from storage.errors import DigestMismatch, StorageError, StoreUnavailable
from storage.files import Disk, publish, remove, write_at

# Sending written bytes to the device on the way keeps the last sync short: containerd waits 30 s for its answer.
_SYNC_STEP = 32 * 2**20
_HASH_STEP = 2**20


class Ingest:
    """A file on its way in. Not safe for two appends at once: its owner takes turns.

    `size` is how many bytes are written and hashed; readers may read up to there.
    """

    def __init__(self, disk: Disk, path: Path, fd: int, size: int, algorithm: str, hasher: Hasher | None) -> None:
        self.path, self.size = path, size
        self._disk, self._fd = disk, fd
        self._algorithm, self._hasher = algorithm, hasher
        self._unsynced = 0
        self._syncing: asyncio.Task[None] | None = None
        # A cancelled append still runs in its thread: without this, a close could free the descriptor under it and
        # its bytes would land in whatever file got the number next.
        self._descriptor = threading.Lock()

    @classmethod
    async def create(cls, disk: Disk, path: Path, algorithm: str = "sha256") -> "Ingest":
        """Begin a new file; raises StoreUnavailable where it exists already."""
        fd = await disk.run(_open, path, os.O_CREAT | os.O_EXCL)
        return cls(disk, path, fd, 0, algorithm, new_hasher(algorithm))

    @classmethod
    async def resume(cls, disk: Disk, path: Path, algorithm: str = "sha256") -> "Ingest":
        """Go on with a file that an earlier process left (or begin it).

        What is there is hashed when the file is verified, since a hash cannot be saved and restored.
        """
        fd = await disk.run(_open, path, os.O_CREAT)
        size = os.fstat(fd).st_size
        return cls(disk, path, fd, size, algorithm, None if size else new_hasher(algorithm))

    async def append(self, chunks: Sequence[bytes]) -> None:
        """Write and hash at the end. On failure the file ends where it did before, and may be tried again."""
        self.size += await self._disk.run(self._append, chunks)
        self._send_to_device()

    def _append(self, chunks: Sequence[bytes]) -> int:
        with self._descriptor:
            try:
                written = write_at(self._fd, chunks, self.size)
            except OSError:
                os.ftruncate(self._fd, self.size)
                raise
        if self._hasher is not None:
            for chunk in chunks:
                self._hasher.update(chunk)
        self._unsynced += written
        return written

    def _send_to_device(self) -> None:
        if self._unsynced >= _SYNC_STEP and (self._syncing is None or self._syncing.done()):
            self._finish_syncing()
            self._unsynced = 0
            self._syncing = asyncio.create_task(self._disk.sync(os.fdatasync, self._fd))

    def _finish_syncing(self) -> None:
        """Raise what an early sync reported. A failed sync is never repeated: the kernel may have dropped the pages."""
        if self._syncing is not None and self._syncing.done():
            done, self._syncing = self._syncing, None
            done.result()

    async def verify(self, expected: Digest) -> None:
        """Raises DigestMismatch unless the bytes so far are those of `expected`."""
        if expected.algorithm != self._algorithm or self._hasher is None:
            self._algorithm, self._hasher = expected.algorithm, new_hasher(expected.algorithm)
            await self._disk.run(_hash_file, self._fd, self.size, self._hasher)
        actual = self._hasher.hexdigest()
        if actual != expected.hex:
            raise DigestMismatch(expected, f"{self._algorithm}:{actual}")

    async def publish(self, final: Path) -> None:
        """Give a verified file its final name, durably, and close it."""
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
            self._finish_syncing()
        await self._disk.sync(self._publish, final)
        await self.close()

    def _publish(self, final: Path) -> None:
        with self._descriptor:
            publish(self._fd, self.path, final)

    async def restart(self) -> None:
        """Forget every byte: the source began again from the start."""
        await self._disk.run(os.ftruncate, self._fd, 0)
        self.size, self._hasher = 0, new_hasher(self._algorithm)

    async def lock(self) -> None:
        """Take the file for this process alone; raises StoreUnavailable where another one has it."""
        try:
            await self._disk.run(fcntl.flock, self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except StoreUnavailable:
            raise StoreUnavailable("another process is writing this file") from None

    async def close(self) -> None:
        """Stop writing; the file stays where it is. May be called twice."""
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
            self._syncing.exception()  # seen: whoever closes without publishing does not care
            self._syncing = None
        await self._disk.run(self._close)

    def _close(self) -> None:
        with self._descriptor:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    async def discard(self) -> None:
        """Close and remove the file: it must never be seen."""
        with contextlib.suppress(StorageError):  # it goes either way
            await self.close()
        await self._disk.run(remove, self.path)


def _open(path: Path, flags: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)


def _hash_file(fd: int, size: int, hasher: Hasher) -> None:
    offset = 0
    while offset < size and (block := os.pread(fd, min(_HASH_STEP, size - offset), offset)):
        hasher.update(block)
        offset += len(block)
