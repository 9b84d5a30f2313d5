"""One flight at a time for each key: who asks for what is already being fetched waits for it, and shares its end.

The work belongs to the server, not to the request that began it: a client that leaves stops nothing that has begun.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Flight:
    """`may_end` says whether nothing is lost if it ends with the last of those `waiting` for it."""

    def __init__(self, task: asyncio.Task[Any], may_end: Callable[[], bool]) -> None:
        self.task, self.may_end, self.waiting = task, may_end, 0


class Flights:
    """Owner of the tasks it starts; `close` cancels what is still in the air."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def join(
        self, key: Hashable, start: Callable[[], Awaitable[T]], may_end: Callable[[], bool] = lambda: False
    ) -> T:
        """The result of the flight for `key`, begun by `start` if none is under way; its exception for everybody.

        A flight that may end when the last who waited has left does so.
        """
        flight = self._find(key, start, may_end)
        flight.waiting += 1
        try:
            return cast(T, await asyncio.shield(flight.task))
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done() and flight.may_end():
                self._forget(key, flight)
                flight.task.cancel()

    def begin(self, key: Hashable, start: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        """The flight for `key`, for whoever does not wait for its end."""
        flight = self._find(key, start, lambda: False)
        flight.may_end = lambda: False
        return flight.task

    def _find(self, key: Hashable, start: Callable[[], Awaitable[Any]], may_end: Callable[[], bool]) -> _Flight:
        flight = self._flights.get(key)
        if flight is None:
            task = asyncio.create_task(_run(start))
            flight = self._flights[key] = _Flight(task, may_end)
            self._tasks.add(task)
            task.add_done_callback(partial(self._landed, key, flight))
        return flight

    def _landed(self, key: Hashable, flight: _Flight, task: asyncio.Task[Any]) -> None:
        self._forget(key, flight)
        self._tasks.remove(task)
        if not task.cancelled():
            task.exception()  # seen, even where everybody who waited has left

    def _forget(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:  # and not one that was begun after it
            del self._flights[key]

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(start: Callable[[], Awaitable[T]]) -> T:
    return await start()
