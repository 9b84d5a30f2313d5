"""Orders: what takes so long that a server that stops does not wait for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from ocispec.errors import Unavailable

_STOPPING = "the server is stopping"


class OrderEnded(EOFError):
    """The server stopped before all of an order was tried."""


class Orders:
    """Owner of the orders under way. `close` ends them; what they were waiting for goes on without them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def check(self) -> None:
        """Raises Unavailable where no order is taken any more: connections outlive the decision to stop."""
        if self._closed:
            raise Unavailable(_STOPPING)

    async def carry_out(self, work: Coroutine[Any, Any, None]) -> None:
        """Raises OrderEnded, and whatever `work` raises."""
        if self._closed:
            work.close()
            raise OrderEnded(_STOPPING)
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        if task.cancelled():
            raise OrderEnded(_STOPPING)
        task.result()

    async def close(self) -> None:
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
