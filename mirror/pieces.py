"""What comes in a body, in the pieces that it came in: to join them would be to copy every byte once more."""

from aiohttp import StreamReader


class Pieces:
    """Reads a body, and nobody else may."""

    def __init__(self, content: StreamReader) -> None:
        self._content, self._taken = content, 0

    async def next(self) -> list[bytes]:
        """All that is here by now, and something at least; nothing at the end. Raises what the body ended with."""
        pieces: list[bytes] = []
        while not pieces or self._has_more:
            piece, _ = await self._content.readchunk()
            if piece:
                pieces.append(piece)
                self._taken += len(piece)
            elif self._content.at_eof():  # else it is the end of a chunk of the transfer coding, and means nothing
                break
        return pieces

    @property
    def _has_more(self) -> bool:
        """Without waiting, and without an error that would take what has been read along."""
        return self._content.total_bytes > self._taken and self._content.exception() is None
