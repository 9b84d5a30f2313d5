"""How much is stored in all: counted now and then, since that reads every link."""

from collections.abc import Callable

from mirror.flights import Flights
from storage.finding import Finding
from storage.scope import Scope
from storage.views import Stored

# A million links take a second or two to read.
_SECONDS = 60.0


class Totals:
    """Remembers what was counted for a minute; who asks while it is being counted waits for that."""

    def __init__(self, finding: Finding, scope: Scope, clock: Callable[[], float]) -> None:
        self._finding, self._scope, self._clock = finding, scope, clock
        self._flights = Flights()
        self._stored, self._until = Stored(0, 0, 0, 0), 0.0

    async def close(self) -> None:
        await self._flights.close()

    async def stored(self) -> Stored:
        """Raises StorageError."""
        if 0 < self._until - self._clock() <= _SECONDS:  # a clock that was set back says nothing
            return self._stored
        return await self._flights.join("stored", self._count)

    async def _count(self) -> Stored:
        self._stored = await self._finding.stored(self._scope)
        self._until = self._clock() + _SECONDS
        return self._stored
