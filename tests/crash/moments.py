"""When the server is killed: at any time, or just when something can be seen to happen to its store.

It is watched from outside. A kill follows within a fraction of a millisecond, so that over many of them every gap
between two steps of a push is hit: bytes written and not synced, named and not yet in the index, in the index and
not yet answered.
"""

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.crash.history import History
from tests.crash.server import Server

NAMES = ("any time", "any time", "any time", "written", "renamed", "committing", "answered", "frozen")

_SHORTEST, _LONGEST = 0.02, 0.4
_LOOK_EVERY = 0.0002


async def kill_at(name: str, server: Server, history: History, chance: random.Random) -> None:
    """Let it work for a while, 20 to 400 ms, and kill it."""
    begun = time.monotonic()
    match name:
        case "written" | "renamed" | "committing":
            await asyncio.sleep(chance.uniform(_SHORTEST, _LONGEST / 2))
            await asyncio.to_thread(_kill_when, server, _happening(name, server.store), begun + _LONGEST)
        case "answered":
            await asyncio.sleep(chance.uniform(_SHORTEST, _LONGEST / 2))
            history.answered.clear()
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + _LONGEST / 2):
                    await history.answered.wait()
            except TimeoutError:
                pass
            server.kill()
        case "frozen":
            await asyncio.sleep(chance.uniform(_SHORTEST, _LONGEST))
            server.freeze()
            await asyncio.sleep(chance.uniform(0.001, 0.05))
            server.kill()
        case _:
            await asyncio.sleep(chance.uniform(_SHORTEST, _LONGEST))
            server.kill()


def _kill_when(server: Server, happened: Callable[[], bool], deadline: float) -> None:
    while not happened() and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY)
    server.kill()


def _happening(name: str, store: Path) -> Callable[[], bool]:
    """Whether something of that name has happened since the last time it was asked."""
    if name == "committing":
        wal = store / "index.sqlite-wal"
        return _Change(lambda: {wal.stat().st_mtime_ns}).grew
    incoming = [store / "tmp", store / "uploads"]
    change = _Change(lambda: {path for folder in incoming for path in folder.iterdir()})
    return change.grew if name == "written" else change.shrank


class _Change:
    """What a look at the store finds, compared with the look before."""

    def __init__(self, look: Callable[[], set[object]]) -> None:
        self._look = look
        self._seen = look()

    def grew(self) -> bool:
        before, self._seen = self._seen, self._look()
        return not self._seen <= before

    def shrank(self) -> bool:
        before, self._seen = self._seen, self._look()
        return not before <= self._seen
