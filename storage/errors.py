"""What the disk or the index found. Facts, without HTTP: whoever asked decides what they mean."""

from collections.abc import Iterable

from ocispec.digest import Digest


class StorageError(Exception):
    """Anything the store can report."""

    file = ""  # which one it was about, for the log; the text may reach a client, and has no path in it


class DigestMismatch(StorageError):
    """The bytes received do not hash to the digest that was promised for them."""

    def __init__(self, expected: Digest, actual: str) -> None:
        super().__init__(f"expected {expected}, received {actual}")
        self.expected, self.actual = expected, actual


class SessionUnknown(StorageError):
    """No such upload session in this repository: never begun, ended, cancelled or expired."""


class OffsetMismatch(StorageError):
    """A chunk that does not start where its upload session ends; `offset` is where it does end."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the upload ends at byte {offset}")
        self.offset = offset


class MissingContent(StorageError):
    """A manifest refers to content that its repository does not have."""

    def __init__(self, digests: Iterable[Digest]) -> None:
        self.digests = tuple(digests)
        super().__init__(", ".join(map(str, self.digests)))


class StoreFull(StorageError):
    """No space, no inodes, or no quota left."""


class StoreUnavailable(StorageError):
    """The disk or the index refuses: permission, read-only file system, I/O error, too many open files."""


class TooSlow(StorageError):
    """What somebody looked for takes the index longer than it may."""


class StoreInUse(StorageError):
    """Another process holds this store."""


class StoreUnusable(StorageError):
    """This server cannot open the store at all: newer format, damaged index, unsafe SQLite."""
