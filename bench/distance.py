"""A line that takes its time: whatever goes through it arrives later by half the round trip, at full width."""

import asyncio
import sys
from contextlib import suppress

_BLOCK = 2**18


class Line:
    """One direction of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        self._reader, self._writer, self._delay = reader, writer, delay
        self._on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

    async def carry(self) -> None:
        """Until its sender has no more, or its receiver is gone."""
        sending = asyncio.create_task(self._send())
        try:
            while data := await self._reader.read(_BLOCK):
                await self._on_the_way.put((asyncio.get_running_loop().time() + self._delay, data))
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


async def serve(port: int, target: int, round_trip: float) -> None:
    """Forward connections to another port of this machine."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            there, back = Line(reader, far_writer, round_trip / 2), Line(far_reader, writer, round_trip / 2)
            await asyncio.gather(there.carry(), back.carry(), return_exceptions=True)

    async with await asyncio.start_server(forward, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
