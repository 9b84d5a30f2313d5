"""What was found out about a reference, in memory and for a while: that its upstream does not have it, or cannot say.

Clients ask twice for what is missing, by HEAD and by GET; and thousands ask for one tag during an outage.
"""

from collections.abc import Callable

from cachetools import LRUCache

from ocispec.names import Reference
from storage.repository import Repository

_MAX_REMEMBERED = 10_000


class Remembered:
    """One fact about each of many references."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._facts: LRUCache[tuple[Repository, Reference], tuple[float, float]] = LRUCache(_MAX_REMEMBERED)

    def add(self, repository: Repository, reference: Reference, seconds: float) -> None:
        """It holds for so long."""
        self._facts[repository, reference] = (self._clock(), seconds)

    def remove(self, repository: Repository, reference: Reference) -> None:
        self._facts.pop((repository, reference), None)

    def has(self, repository: Repository, reference: Reference) -> bool:
        since, seconds = self._facts.get((repository, reference), (0.0, 0.0))
        return abs(self._clock() - since) < seconds  # also where a clock was set back
