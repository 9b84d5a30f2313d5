"""Requests under way, so that a server that stops can let them finish, pushes included.

aiohttp waits, too, but reads nothing any more from the first moment on: whoever was pushing would wait for the end of
the drain, and be cut.
"""

import asyncio


class Drain:
    """Counts requests from their head to the end of their handler. `stopping`: connections end with their answer."""

    def __init__(self) -> None:
        self.under_way, self.stopping = 0, False
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        self.under_way += 1
        self._idle.clear()

    def end(self) -> None:
        self.under_way -= 1
        if self.under_way == 0:
            self._idle.set()

    async def finished(self, limit_seconds: float) -> int:
        """Wait for those under way; how many are left when the time is over."""
        self.stopping = True
        try:
            async with asyncio.timeout(limit_seconds):
                await self._idle.wait()
        except TimeoutError:
            pass
        return self.under_way
