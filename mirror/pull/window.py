"""The next parts of a blob, fetched ahead into memory by connections of their own, for its file to take in order.

So the file stays one that grows at its end and is hashed as it does, whatever order the parts come in.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from mirror.pull.part import Part
from mirror.upstream.errors import UpstreamRateLimited
from mirror.upstream.line import Rank, Want
from ocispec.ranges import ContentRange

# Long enough that the two or three round trips that each part begins with do not count beside it (1.6 s at 20 Mbit/s),
# short enough for several to be kept in memory.
PART_BYTES = 4 * 2**20
# What all downloads together may keep, 64 MiB.
_PARTS = 16

Fetch = Callable[[ContentRange, Want], AbstractAsyncContextManager[AsyncIterator[bytes]]]


class Room:
    """Memory for parts, that of all downloads. Nobody waits for it: who gets none takes the blob by one connection."""

    def __init__(self) -> None:
        self._left = _PARTS

    def take(self, wanted: int) -> int:
        """As many of the parts wanted as there is room for, until they are given back."""
        taken = min(wanted, self._left)
        self._left -= taken
        return taken

    def give_back(self, parts: int) -> None:
        self._left += parts


class Window:
    """At most `width` parts of a blob of `total` bytes, the one that its file takes now among them.

    `fetch` asks for a part of what is wanted by `whole`. `refusal` is the 429 that one was answered with: from then on
    none are begun. `close` it in the end.
    """

    def __init__(self, width: int, total: int, fetch: Fetch, whole: Want) -> None:
        self._width, self._total, self._fetch, self._whole = width, total, fetch, whole
        self._parts: dict[int, tuple[Part, Want]] = {}
        self.refusal: UpstreamRateLimited | None = None

    def end_of_part(self, position: int) -> int:
        """Where the part ends that `position` lies in."""
        return min(self._total, (position // PART_BYTES + 1) * PART_BYTES)

    def fill(self, position: int) -> None:
        """Have those on their way that begin at `position`, where the one that the file takes now ends."""
        for _ in range(self._width - 1 if self.refusal is None else 0):
            end = self.end_of_part(position)
            if position < self._total and position not in self._parts:
                extent = ContentRange(position, end - 1, self._total)
                want = Want(Rank.PART, self._whole)
                self._parts[position] = Part(extent.length, self._watched(extent, want)), want
            position = end

    def take(self, position: int) -> Part | None:
        """The part that begins here, if it is on its way: it is waited for from now on. The caller closes it."""
        if position not in self._parts:
            return None
        part, want = self._parts.pop(position)
        want.hurry()
        return part

    async def close(self) -> None:
        for part, _ in self._parts.values():
            await part.close()
        self._parts.clear()

    @asynccontextmanager
    async def _watched(self, extent: ContentRange, want: Want) -> AsyncIterator[AsyncIterator[bytes]]:
        """A part as it comes. One that is told 429 ends the others: that they are several may be all that is wrong."""
        try:
            async with self._fetch(extent, want) as chunks:
                yield chunks
        except UpstreamRateLimited as error:
            self.refusal = error
            for part, _ in self._parts.values():
                part.stop()
            raise
