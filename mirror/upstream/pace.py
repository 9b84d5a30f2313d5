"""How fast an upstream is asked, by the limits that the operator has set: all of its endpoints together.

- **Slots**: requests under way at a time. One is held until the body is read.
- **Requests in a minute**: begun in any sixty seconds.
- **Bytes in a second**: taken from the network; what is not taken yet holds the sender up, by TCP itself.

Whoever finds none left waits in line. What everybody could do without never has more than half of the slots or of the
minute, so that a client's request always finds one soon; and of several slots one is kept from blobs, which may take
an hour.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from mirror.config import Upstream
from mirror.upstream.line import Line, Rank, Ticket, Want

log = logging.getLogger(__name__)

_MINUTE = 60.0
# Who waits longer than this should be heard of, if not each of them.
_LONG_SECONDS, _QUIET_SECONDS = 10.0, 300.0
# From so many slots on, blobs leave one to manifests, tags and lists.
SEVERAL = 4


class Window:
    """How many requests have begun in the last minute, of `limit` that may (0: any number)."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun: deque[float] = deque(maxlen=limit)

    def delay(self, limit: int) -> float:
        """Seconds until fewer than `limit` have."""
        if len(self._begun) < limit:
            return 0.0
        return max(0.0, self._begun[-limit] + _MINUTE - self._clock())

    def note(self) -> None:
        self._begun.append(self._clock())


class Bucket:
    """How much may be taken, of `rate` bytes a second (0: anything). What was too much is waited for afterwards."""

    def __init__(self, rate: int, clock: Callable[[], float]) -> None:
        self._rate, self._clock = rate, clock
        self._free_at = 0.0

    def delay(self) -> float:
        """Seconds until more may be taken."""
        return max(0.0, self._free_at - self._clock())

    def take(self, size: int) -> None:
        """Also less than nothing, where more was taken in advance than came."""
        if self._rate:
            self._free_at = max(self._free_at, self._clock()) + size / self._rate


class Pace:
    """Of one upstream. Make it inside a running loop."""

    def __init__(self, config: Upstream, clock: Callable[[], float] = time.monotonic) -> None:
        self.received = 0  # bytes of bodies, in all
        self._at_once, self._per_minute = config.max_requests_at_once, config.max_requests_per_minute
        self.bytes_per_second = config.max_bytes_per_second
        self._host, self._quiet_until = config.host, 0.0
        self._held: set[Ticket] = set()
        self._window = Window(self._per_minute, clock)
        self._bucket = Bucket(self.bytes_per_second, clock)
        self._slots = Line(self._slot_delay, self._begin)
        self._bytes = Line(lambda _: self._bucket.delay(), lambda ticket: self._bucket.take(ticket.size))

    @property
    def under_way(self) -> int:
        return len(self._held)

    @property
    def waiting(self) -> int:
        """Requests that have no slot yet."""
        return len(self._slots)

    @property
    def leaves_room(self) -> bool:
        """Whether there is a slot for what nobody has asked for yet, and one for a client beside it."""
        return self._at_once != 1 and self._per_minute != 1

    @asynccontextmanager
    async def slot(self, want: Want) -> AsyncIterator[None]:
        """Wait for one, and have it while the context lasts."""
        ticket = Ticket(want, 1)
        want.hurried = self._move
        try:
            with self._watched(want):
                await self._slots.turn(ticket)
            yield
        finally:
            self._held.discard(ticket)
            self._slots.move()

    @contextmanager
    def _watched(self, want: Want) -> Iterator[None]:
        """While somebody stands in line."""
        timer = asyncio.get_running_loop().call_later(_LONG_SECONDS, self._tell, want)
        want.stands_in_line = True
        try:
            yield
        finally:
            want.stands_in_line = False
            timer.cancel()

    def _tell(self, want: Want) -> None:
        now = asyncio.get_running_loop().time()
        if not want.is_extra and now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            facts = {"upstream": self._host, "under_way": self.under_way, "waiting": self.waiting}
            log.info("requests wait for limits of your own", extra=facts)

    async def before_reading(self, want: Want, size: int) -> None:
        """Wait until some `size` bytes may be read; `after_reading` is told how many they were."""
        if self.bytes_per_second:
            await self._bytes.turn(Ticket(want, size))

    def after_reading(self, size: int, expected: int = 0) -> None:
        """So much has come; `expected` is what it was waited for."""
        self.received += size
        self._bucket.take(size - expected)

    def _move(self) -> None:
        self._slots.move()
        self._bytes.move()

    def _begin(self, ticket: Ticket) -> None:
        self._held.add(ticket)
        if self._per_minute:
            self._window.note()

    def _slot_delay(self, ticket: Ticket) -> float | None:
        extra = ticket.want.is_extra
        if self._at_once and not self._has_slot(ticket.want.rank, extra=extra):
            return None
        if not self._per_minute:
            return 0.0
        return self._window.delay(_half(self._per_minute) if extra else self._per_minute)

    def _has_slot(self, rank: Rank, *, extra: bool) -> bool:
        ranks = [held.want.rank for held in self._held]
        if extra and sum(other >= Rank.PART for other in ranks) >= _half(self._at_once):
            return False
        kept = self._at_once >= SEVERAL and rank is not Rank.QUESTION
        if kept and sum(other is not Rank.QUESTION for other in ranks) >= self._at_once - 1:
            return False
        return len(ranks) < self._at_once


def _half(limit: int) -> int:
    """What may be had of it by what everybody could do without: rounded up, so the one that there is, too."""
    return (limit + 1) // 2
