"""The one door for bytes: write and hash, verify, sync, rename. Every blob and manifest came in through here.

So every other module may trust that a file under a final name is complete, is what its digest says, and survives a
power cut. A pushed upload, a download and a manifest are the same thing here: a file that grows at its end.
"""

import asyncio
import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from ocispec.digest import Digest, Hasher, new_hasher
from storage.errors import DigestMismatch, StoreUnavailable
from storage.files import LOW, Disk, need, publish, remove, write_at

T = TypeVar("T")

# Sending written bytes to the device on the way keeps the last sync short: containerd waits 30 s for its answer.
_SYNC_STEP = 32 * 2**20
# How often it is looked whether the disk has room for more: not everything that comes says how long it is.
_LOOK_STEP = 16 * 2**20
# Bytes are written and hashed in pieces that stay in a core's cache from one to the other (docs/decisions/0009).
_PIECE = 128 * 2**10
# Last bytes that are no more than this are written in the hop that publishes them: another one would cost more.
SHORT = 64 * 2**10


class Ingest:
    """A file on its way in. Not safe for two appends at once: its owner takes turns.

    `size` is how many bytes are written and hashed; readers may read up to there. The file is opened when it is first
    needed, in the same thread hop as the work.
    """

    def __init__(self, disk: Disk, path: Path, algorithm: str = "sha256", *, syncs_early: bool = True) -> None:
        """A new, empty file at `path`. `syncs_early`: somebody will wait for it to be durable."""
        self.path, self.size = path, 0
        self._disk, self._algorithm, self._syncs_early = disk, algorithm, syncs_early
        self._hasher: Hasher | None = new_hasher(algorithm)
        self._fd = -1
        self.is_sound = True  # every byte that counts is written, and no sync has failed
        self.inode = 0  # which file this is, whatever its name is by now; known once it is open
        self._unsynced = 0
        self._syncing: asyncio.Task[None] | None = None
        self._discarded = False
        # A cancelled append still runs in its thread: without this, a close could free the descriptor under it and
        # its bytes would land in whatever file got the number next.
        self._descriptor = threading.Lock()

    @classmethod
    async def resume(cls, disk: Disk, path: Path, algorithm: str = "sha256", *, syncs_early: bool = True) -> "Ingest":
        """Go on with a file that an earlier process left (or begin it).

        What is there is hashed when the file is verified, since a hash cannot be saved and restored.
        """
        ingest = cls(disk, path, algorithm, syncs_early=syncs_early)
        await disk.run(ingest._measure)
        return ingest

    def _measure(self) -> None:
        with self._descriptor:
            self.size = os.fstat(self._open()).st_size
        if self.size:
            self._hasher = None

    async def expect(self, total: int) -> None:
        """So long will it be. Raises StoreFull where the rest will not fit: better before it comes than after."""
        await self._disk.run(need, self.path.parent, total - self.size)

    async def append(self, *data: bytes) -> None:
        """Write and hash at the end, one after the other. On failure the file ends where it did before, and may be
        tried again."""
        await self._disk.run(self._append, *data)
        self._send_to_device()

    def _append(self, *data: bytes) -> None:
        with self._descriptor:
            fd, end, size = self._open(), self.size, sum(map(len, data))
            if end // _LOOK_STEP != (end + size) // _LOOK_STEP:
                need(fd, LOW)
            # A copy, which takes the place of the running hash when all is written: what fails leaves no trace.
            hasher = None if self._hasher is None else self._hasher.copy()
            try:
                for piece in chain.from_iterable(map(_pieces, data)):
                    end += write_at(fd, piece, end)
                    if hasher is not None:
                        hasher.update(piece)
            except OSError:
                os.ftruncate(fd, self.size)
                raise
            self._hasher, self.size = hasher, end
            self._unsynced += size

    def _send_to_device(self) -> None:
        """Begin an early sync, one at a time. What one reports is raised here: a failed sync is never repeated, since
        the kernel may have dropped the pages."""
        if not self._syncs_early or self._unsynced < _SYNC_STEP:
            return
        if self._syncing is not None and not self._syncing.done():
            return
        if self._syncing is not None:
            self._syncing.result()
        self._unsynced = 0
        self._syncing = asyncio.create_task(self._disk.sync(os.fdatasync, self._fd))

    async def verify(self, expected: Digest, last: bytes = b"") -> None:
        """Raises DigestMismatch unless the bytes so far, and then `last`, are those of `expected`."""
        if expected.algorithm != self._algorithm or self._hasher is None:
            hasher = new_hasher(expected.algorithm)
            await self._disk.long(self._hash, hasher)
            self._algorithm, self._hasher = expected.algorithm, hasher
        hasher = self._hasher.copy()
        hasher.update(last)
        actual = hasher.hexdigest()
        if actual != expected.hex:
            raise DigestMismatch(expected, f"{self._algorithm}:{actual}")

    def _hash(self, hasher: Hasher) -> None:
        with self._descriptor:
            fd, offset = self._open(), 0
            while offset < self.size and (block := os.pread(fd, min(_PIECE, self.size - offset), offset)):
                hasher.update(block)
                offset += len(block)

    async def publish(self, final: Path, then: Callable[[], T], last: bytes = b"") -> T:
        """Append `last`, give the verified file its final name, durably, and close it; and `then` do this.

        All in one thread hop. Raises StorageError: as long as the file `is_sound` it may be gone on with.
        """
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
            self.is_sound = self._syncing.exception() is None
            self._syncing.result()
        return await self._disk.sync(self._publish, final, then, last)

    def _publish(self, final: Path, then: Callable[[], T], last: bytes) -> T:
        if last:
            self._append(last)
        self.is_sound = False  # what could not be made durable once is not to be trusted any more
        with self._descriptor:
            publish(self._open(), self.path, final)
            self._let_go()
        return then()

    async def restart(self) -> None:
        """Forget every byte: the source began again from the start."""
        await self._disk.run(self._truncate)

    def _truncate(self) -> None:
        with self._descriptor:
            os.ftruncate(self._open(), 0)
            self.size, self._hasher = 0, new_hasher(self._algorithm)

    async def lock(self) -> None:
        """Take the file for this process alone; raises StoreUnavailable where another one has it."""
        await self._disk.run(self._lock)

    def _lock(self) -> None:
        with self._descriptor:
            try:
                fcntl.flock(self._open(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreUnavailable("another process is writing this file") from None
            if not self._is_mine():
                raise StoreUnavailable("whoever had it has removed it")

    async def close(self) -> None:
        """Stop writing; the file stays where it is, and can be gone on with. May be called twice.

        A file that the device did not take is removed: whoever went on with it would not know.
        """
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
            if self._syncing.exception() is not None:
                return await self.discard()
        if self._fd >= 0 or self._descriptor.locked():
            await self._disk.run(self._close)

    def _close(self) -> None:
        with self._descriptor:
            self._let_go()

    async def discard(self) -> None:
        """Remove the file and close it: it must never be seen. Nothing to do after `publish`."""
        if self._syncing is not None:
            await asyncio.wait([self._syncing])
        await self._disk.run(self._discard)

    def _discard(self) -> None:
        with self._descriptor:
            self._discarded = True
            try:
                # While it is still locked: whoever has it next begins a file of its own.
                if self._is_mine():
                    remove(self.path)
            finally:
                with contextlib.suppress(OSError):  # it goes either way
                    self._let_go()

    def _open(self) -> int:
        if self._fd < 0:
            if self._discarded:
                raise StoreUnavailable("the file has been discarded")
            # Made only once: a file that somebody took away must not begin again in its middle.
            create = 0 if self.inode else os.O_CREAT
            self._fd = os.open(self.path, os.O_RDWR | create | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            self.inode = os.fstat(self._fd).st_ino
        return self._fd

    def _is_mine(self) -> bool:
        """Whether the name still belongs to the file that this object opened."""
        try:
            return self.path.lstat().st_ino == self.inode
        except FileNotFoundError:
            return False

    def _let_go(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _pieces(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), _PIECE):
        yield view[start : start + _PIECE]
