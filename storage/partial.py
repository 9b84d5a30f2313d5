"""Follow a file that is still growing: one download writes, any number of clients read.

The readers never touch the writer: a slow one, or one that leaves, changes nothing for the rest. They may read what
is written except the last byte, which is held back until the digest is verified, so that no client can ever finish
with wrong bytes.
"""

import asyncio
from enum import Enum, auto

from ocispec.digest import Digest
from storage.ingest import Ingest


class _State(Enum):
    GROWING = auto()
    VERIFIED = auto()
    FAILED = auto()


class Partial:
    """The growth of one download. `total` is its length in bytes, None while (or where) nobody knows it.

    The writer calls `announce`, `advance`, and in the end `complete` or `fail`; readers call `known` and `readable`.
    """

    def __init__(self, digest: Digest, ingest: Ingest) -> None:
        self.digest = digest
        self.total: int | None = None
        self._ingest = ingest
        self._state = _State.GROWING
        self.is_announced = False
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def announce(self, total: int | None) -> None:
        """The source answered: its length is known, or known to be unknown. It is said once and does not change."""
        self.total, self.is_announced = total, True
        self._wake()

    def advance(self) -> None:
        """More bytes are written."""
        self._wake()

    def complete(self) -> None:
        """Every byte is written and the digest is right."""
        self.total, self._state, self.is_announced = self._ingest.size, _State.VERIFIED, True
        self._wake()

    def fail(self, error: Exception) -> None:
        """There will be no more bytes; every reader gets `error`. (Verified bytes stay good, whatever comes after.)"""
        if self._state is _State.VERIFIED:
            return
        self._state, self._error = _State.FAILED, error
        self._wake()

    @property
    def inode(self) -> int:
        """Which file it is: its name changes when it is published."""
        return self._ingest.inode

    @property
    def arrived(self) -> int:
        """How far it may be read by now."""
        return self._released()

    @property
    def is_complete(self) -> bool:
        """Whether every byte is here and verified."""
        return self._state is _State.VERIFIED

    @property
    def error(self) -> Exception | None:
        """Why it failed, if it has."""
        return self._error

    @property
    def has_failed(self) -> bool:
        return self._state is _State.FAILED

    async def known(self) -> int | None:
        """Wait until the source has answered; the length in bytes, or None where it did not say. Raises its error."""
        while not self.is_announced:
            await self._next_change()
        return self.total

    async def completed(self) -> int:
        """Wait for the end; the length in bytes. Raises the download's error."""
        while self._state is not _State.VERIFIED:
            await self._next_change()
        return self._ingest.size

    async def readable(self, offset: int) -> int:
        """Wait for bytes after `offset`; the offset up to which they may be read, or `offset` itself at the end.

        Raises the download's error where no more will come.
        """
        while (end := self._released()) <= offset and self._state is not _State.VERIFIED:
            await self._next_change()
        return max(end, offset)

    def _released(self) -> int:
        if self._state is _State.VERIFIED:
            return self._ingest.size
        # Where the length is known the client stops at it, so one byte is enough to hold it back. Where it is not,
        # the end of the body itself is what is held back.
        return self._ingest.size if self.total is None else min(self._ingest.size, self.total - 1)

    async def _next_change(self) -> None:
        if self._error is not None:
            raise self._error
        await self._changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
