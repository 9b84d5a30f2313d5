"""The disk, off the loop: one thread hop for a whole unit of work, in pools of our own.

Whatever the store does with a file runs in these pools. The loop's default pool is left to name look-ups (and to the
few answers that cannot go by sendfile): a slow disk must not stall them, nor they the disk.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import ParamSpec, TypeVar

from aiofiles.base import wrap

from storage.errors import StorageError, StoreFull, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")

# With less than this a store is as good as full: most layers will not fit, and the index needs some, too.
LOW = 32 * 2**20

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Disk:
    """Bounded pools: for reading and writing, for syncing, which can take seconds on a busy disk, and for reading whole
    files, which can take minutes."""

    def __init__(self, threads: int = 8, sync_threads: int = 16) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="disk")
        self._sync_pool = ThreadPoolExecutor(sync_threads, thread_name_prefix="sync")
        self._long_pool = ThreadPoolExecutor(1, thread_name_prefix="disk-long")

    async def run(self, unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit of file work in a thread; an OSError comes out as StoreFull or StoreUnavailable."""
        return await _hop(self._pool, unit, *args, **kwargs)

    async def long(self, unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what reads a whole file: one at a time, so that everything else goes on beside it."""
        return await _hop(self._long_pool, unit, *args, **kwargs)

    async def sync(self, unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for units that wait for the device."""
        return await _hop(self._sync_pool, unit, *args, **kwargs)

    def close(self) -> None:
        """Wait for what is under way, then let the threads go."""
        self._pool.shutdown()
        self._sync_pool.shutdown()
        self._long_pool.shutdown()


async def _hop(pool: ThreadPoolExecutor, unit: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return await wrap(unit)(*args, executor=pool, **kwargs)
    except OSError as error:
        raise storage_error(error) from error


def storage_error(error: OSError) -> StorageError:
    """What an error of the operating system means for the store."""
    reason = error.strerror or type(error).__name__
    found = StoreFull(reason) if error.errno in _FULL else StoreUnavailable(reason)
    found.file = str(error.filename or "")
    return found


def need(place: Path | int, size: int) -> None:
    """Raises StoreFull where this many bytes will not fit beside a path, or an open file. Blocking."""
    disk = os.statvfs(place)
    left = disk.f_bavail * disk.f_frsize
    if left < size:
        raise StoreFull(f"{left} bytes are left, {size} are needed")


def write_at(fd: int, data: bytes | memoryview, offset: int) -> int:
    """Write all of `data` at `offset`; the bytes written. Blocking. Raises OSError."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written
    return len(data)


def open_exactly(path: Path, size: int) -> FileIO | None:
    """Open a file for reading if it is there and of this size; None otherwise. Blocking.

    The length check is what keeps a truncated blob from ever being started.
    """
    try:
        file = FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
    except FileNotFoundError:
        return None
    if os.fstat(file.fileno()).st_size != size:
        file.close()
        return None
    return file


def has_exactly(path: Path, size: int) -> bool:
    """Whether the file is there and of this size. Blocking."""
    try:
        return path.lstat().st_size == size
    except FileNotFoundError:
        return False


def publish(fd: int, temporary: Path, final: Path) -> None:
    """Make a finished file durable under its final name: sync file, rename, sync folder. Blocking.

    The order is the promise: nothing is ever written under a final name, and a name that survives a power cut has
    its bytes. Renaming over an existing file is wanted: it may be damaged, and open readers keep the old one.
    """
    os.fchmod(fd, 0o444)
    os.fsync(fd)
    temporary.rename(final)
    sync_folder(final.parent)


def remove_older(folder: Path, moment: float) -> int:
    """Remove the files of a folder that were last written before `moment` and that nobody holds; how many. Blocking."""
    return sum(
        [_remove_unheld(Path(entry.path)) for entry in os.scandir(folder) if modified(Path(entry.path)) < moment]
    )


def modified(path: Path) -> float:
    """When a file was last written to, in seconds since the epoch; 0 where there is none. Blocking."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove_unheld(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_ino == path.lstat().st_ino:  # and not another one that came to the name meanwhile
            remove(path)
            return True
    return False


def sync_folder(path: Path) -> None:
    """Make the entries of a folder durable (fsync(2): syncing a file does not sync its entry). Blocking."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    """Remove a file that may be gone already. Blocking."""
    path.unlink(missing_ok=True)
