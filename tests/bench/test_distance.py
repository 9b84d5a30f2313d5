"""bench/distance.py: the line to the upstream takes its time. Only the least it may take is asserted: no machine is too
slow for that.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.distance import start

_ROUND_TRIP = 0.1


@asynccontextmanager
async def _far_away() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to somebody who repeats what is said."""
    hung_up = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    async with (
        await asyncio.start_server(echo, "127.0.0.1", 0) as server,
        await start(0, _port(server), _ROUND_TRIP) as line,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", _port(line))
        yield reader, writer
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await asyncio.gather(writer.wait_closed(), hung_up.wait())


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int = 4) -> float:
    before = asyncio.get_running_loop().time()
    said = os.urandom(size)
    writer.write(said)
    assert await reader.readexactly(size) == said
    return asyncio.get_running_loop().time() - before


async def test_the_first_answer_waits_for_the_connection_too() -> None:
    before = asyncio.get_running_loop().time()
    async with _far_away() as (reader, writer):
        await _ask(reader, writer)
        assert asyncio.get_running_loop().time() - before >= 2 * _ROUND_TRIP


async def test_every_answer_takes_a_round_trip() -> None:
    async with _far_away() as (reader, writer):
        await _ask(reader, writer)
        assert await _ask(reader, writer) >= _ROUND_TRIP


async def test_much_arrives_as_it_was_sent() -> None:
    async with _far_away() as connection:
        await _ask(*connection, size=8 * 2**20)
