"""Several parts of a blob in one answer: multipart/byteranges (RFC 9110, 14.6 and 15.3.7.2)."""

import secrets
from collections.abc import Sequence
from io import FileIO

from aiohttp import web

from mirror.http.stream import Readable, begun, send_bytes, send_range
from ocispec.media_types import OCTET_STREAM
from ocispec.ranges import ContentRange


class Parts:
    """The body that holds these parts: what stands before each of them, and after the last."""

    def __init__(self, parts: Sequence[ContentRange]) -> None:
        # New each time, so that nobody can make a blob that has it.
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/byteranges; boundary={boundary}"
        self._parts = [(_head(boundary, part), part) for part in parts]
        self._tail = f"\r\n--{boundary}--\r\n".encode()

    @property
    def length(self) -> int:
        return sum(len(head) + part.length for head, part in self._parts) + len(self._tail)

    async def send(
        self, request: web.Request, response: web.StreamResponse, file: FileIO, readable: Readable
    ) -> web.StreamResponse:
        """Send them as the body of `response`, each as soon as it is in the file and those before it are sent.

        Raises what `readable` raises as long as nothing is sent; after that the connection is cut.
        """
        await readable(self._parts[0][1].first)
        async with begun(request, response):
            for head, part in self._parts:
                await send_bytes(request, response, head)
                await send_range(request, response, file, part.first, part.last + 1, readable)
            await send_bytes(request, response, self._tail)
        return response


def _head(boundary: str, part: ContentRange) -> bytes:
    return f"\r\n--{boundary}\r\nContent-Type: {OCTET_STREAM}\r\nContent-Range: {part}\r\n\r\n".encode()
