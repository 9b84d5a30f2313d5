"""Bodies in pieces: all of it, once, in order, however it comes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from mirror.pieces import Pieces


def reader(loop: asyncio.AbstractEventLoop) -> StreamReader:
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    return StreamReader(protocol, 2**16, loop=loop)


async def rest(pieces: Pieces) -> list[bytes]:
    found = []
    while batch := await asyncio.wait_for(pieces.next(), 5):
        found += batch
    return found


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans())), st.booleans())
def test_what_was_fed_comes_out(fed: list[tuple[bytes, bool]], chunked: bool) -> None:
    """By chunks of the transfer coding, whose ends are anywhere, or plain."""

    async def check() -> None:
        content = reader(asyncio.get_running_loop())
        pieces = Pieces(content)
        if chunked:
            content.begin_http_chunk_receiving()
        for data, ends in fed:
            content.feed_data(data)
            if chunked and ends:
                content.end_http_chunk_receiving()
        content.feed_eof()
        found = await rest(pieces)
        assert b"".join(found) == b"".join(data for data, _ in fed)
        assert all(found)

    asyncio.run(check())


async def test_what_is_here_comes_at_once_and_as_it_came() -> None:
    content = reader(asyncio.get_running_loop())
    pieces = Pieces(content)
    for data in (b"one", b"two", b"three"):
        content.feed_data(data)
    assert await pieces.next() == [b"one", b"two", b"three"]
    waiting = asyncio.create_task(pieces.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    content.feed_data(b"four")
    assert await waiting == [b"four"]
    content.feed_eof()
    assert await pieces.next() == []


class Breaks(BaseProtocol):
    """Breaks when it is told to read on."""

    content: StreamReader

    def resume_reading(self, resume_parser: bool = True) -> None:
        self.content.set_exception(ConnectionResetError("gone"))


async def test_an_error_takes_nothing_along_that_has_been_read() -> None:
    """It may come while a batch is taken, since that lets the connection read on."""
    protocol = Breaks(asyncio.get_running_loop())
    content = protocol.content = StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
    pieces = Pieces(content)
    content.feed_data(b"one")
    content.feed_data(b"two")
    assert await pieces.next() == [b"one"]
    with pytest.raises(ConnectionResetError):
        await pieces.next()


async def test_the_end_of_a_chunk_is_not_the_end() -> None:
    """Where it comes alone, after all that is in the chunk has been taken."""
    content = reader(asyncio.get_running_loop())
    pieces = Pieces(content)
    content.begin_http_chunk_receiving()
    content.feed_data(b"one")
    assert await pieces.next() == [b"one"]
    content.end_http_chunk_receiving()
    waiting = asyncio.create_task(pieces.next())
    await asyncio.sleep(0)
    content.begin_http_chunk_receiving()
    content.feed_data(b"two")
    content.end_http_chunk_receiving()
    content.feed_eof()
    assert await waiting == [b"two"]
    assert await pieces.next() == []


async def test_nothing_comes_to_its_end_every_time() -> None:
    """aiohttp has one reader for all requests without a body."""
    for _ in range(3):
        assert await rest(Pieces(EMPTY_PAYLOAD)) == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_over_a_connection(chunked: bool) -> None:
    body = bytes(range(256)) * 4096

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=b"".join(await rest(Pieces(request.content))))

    async def in_chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 77_777):
            yield body[start : start + 77_777]

    app = web.Application(client_max_size=2**24)
    app.router.add_post("/", echo)
    async with TestClient(TestServer(app)) as client:
        async with client.post("/", data=in_chunks() if chunked else body) as answer:
            assert await answer.read() == body
        async with client.post("/") as answer:
            assert await answer.read() == b""
