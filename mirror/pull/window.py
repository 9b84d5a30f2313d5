"""The next parts of a blob, fetched ahead into memory by connections of their own, for its file to take in order.

So the file stays one that grows at its end and is hashed as it does, whatever order the parts come in.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from mirror.pull.part import Part
from ocispec.ranges import ContentRange

# Long enough that the two or three round trips that each part begins with do not count beside it (1.6 s at 20 Mbit/s),
# short enough for several to be kept in memory.
PART_BYTES = 4 * 2**20
# What all downloads together may keep, 64 MiB.
_PARTS = 16


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

    `fetch` asks for a part. `close` it in the end.
    """

    def __init__(
        self,
        width: int,
        total: int,
        fetch: Callable[[ContentRange], AbstractAsyncContextManager[AsyncIterator[bytes]]],
    ) -> None:
        self._width, self._total, self._fetch = width, total, fetch
        self._parts: dict[int, Part] = {}

    def end_of_part(self, position: int) -> int:
        """Where the part ends that `position` lies in."""
        return min(self._total, (position // PART_BYTES + 1) * PART_BYTES)

    def fill(self, position: int) -> None:
        """Have those on their way that begin at `position`, where the one that the file takes now ends."""
        for _ in range(self._width - 1):
            end = self.end_of_part(position)
            if position < self._total and position not in self._parts:
                extent = ContentRange(position, end - 1, self._total)
                self._parts[position] = Part(extent.length, self._fetch(extent))
            position = end

    def take(self, position: int) -> Part | None:
        """The part that begins here, if it is on its way; the caller closes it."""
        return self._parts.pop(position, None)

    async def close(self) -> None:
        for part in self._parts.values():
            await part.close()
        self._parts.clear()
