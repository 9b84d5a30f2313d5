"""A line that takes its time, at full width: what goes through it arrives later by half the round trip.

A connection costs a whole round trip before anything may be sent (the SYN there, its acknowledgement back).
The kernel lets the client connect at once, as it is on the same machine: what the client then says is held for as long
as its real handshake would have taken.
"""

import asyncio
import sys
from contextlib import AsyncExitStack, suppress

_BLOCK = 2**18


class Line:
    """One direction of one connection; nothing enters it before `opens`, a time of the loop."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float, opens: float = 0.0
    ) -> None:
        self._reader, self._writer, self._delay, self._opens = reader, writer, delay, opens
        self._on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

    async def carry(self) -> None:
        """Until its sender has no more, or its receiver is gone."""
        sending = asyncio.create_task(self._send())
        try:
            while data := await self._reader.read(_BLOCK):
                entered = max(asyncio.get_running_loop().time(), self._opens)
                await self._on_the_way.put((entered + self._delay, data))
        finally:
            await self._on_the_way.put((0.0, b""))
            await sending

    async def _send(self) -> None:
        while True:
            moment, data = await self._on_the_way.get()
            if not data:
                break
            await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))
            self._writer.write(data)
            await self._writer.drain()
        self._writer.close()


async def start(port: int, target: int, round_trip: float) -> asyncio.Server:
    """Forward connections to another port of this machine; `round_trip` in seconds."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opens = asyncio.get_running_loop().time() + round_trip
        with suppress(ConnectionError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            there = Line(reader, far_writer, round_trip / 2, opens)
            back = Line(far_reader, writer, round_trip / 2, opens)
            await asyncio.gather(there.carry(), back.carry(), return_exceptions=True)

    return await asyncio.start_server(forward, "127.0.0.1", port)


async def serve(round_trip: float, pairs: list[tuple[int, int]]) -> None:
    """Forward each first port to its second one."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(await start(*pair, round_trip)) for pair in pairs]
        await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    _ports = [int(port) for port in sys.argv[2:]]
    asyncio.run(serve(float(sys.argv[1]), list(zip(_ports[::2], _ports[1::2], strict=True))))
