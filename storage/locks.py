"""One at a time for each key, for as long as anybody holds it; and work that is done to its end."""

import asyncio
from collections.abc import Coroutine, Hashable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


class KeyedLocks:
    """`async with locks.of(digest): …`. A lock is forgotten when nobody holds or awaits it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    def of(self, key: Hashable) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = asyncio.Lock()
        return lock


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do all of `work`, even where whoever awaits it is cancelled; it is told when all is done.

    A thread cannot be called back: without this, its caller would let go of a lock while it still runs.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
