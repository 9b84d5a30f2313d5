"""How much one account may still ask of an endpoint.

- A **limit** (429) is remembered for the kind of request that it was said to: asking again would only lengthen it. One
  that was only met by what everybody would be served without holds only such back: a client's request may find out for
  itself.
- The **budget** is what Docker Hub says is left of the pulls it grants: what is nearly spent is kept for what is not
  here at all.

No I/O; times are those of a monotonic clock.
"""

import time
from collections.abc import Callable
from enum import StrEnum

from ocispec.limits import Budget

# How long a 429 holds that does not say so, and the longest that one is believed.
_LIMITED, _MAX_LIMITED = 10.0, 3600.0
# How long a budget is believed that does not say for how long it holds (Docker Hub's are for six hours), and the
# longest that one is.
_WINDOW, _MAX_WINDOW = 6 * 3600, 24 * 3600


class Kind(StrEnum):
    """What a request is about. Registries limit these differently: Docker Hub counts GETs of manifests only."""

    TAG = "tag"  # HEAD of a manifest
    MANIFEST = "manifest"
    BLOB = "blob"
    LIST = "list"


def believed(seconds: float | None) -> float:
    """For how long a 429 is taken to hold that says so many seconds, or does not say."""
    return _LIMITED if seconds is None else min(seconds, _MAX_LIMITED)


class Limits:
    """Of one account at one endpoint, which keeps `reserve` pulls for what is not here at all."""

    def __init__(self, reserve: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._reserve, self._clock = reserve, clock
        self._limited: dict[Kind, float] = {}
        self._held_back: dict[Kind, float] = {}
        self._budget: Budget | None = None
        self._noted = 0.0

    def wait(self, kind: Kind, *, ahead: bool = False) -> float:
        """Seconds until it may ask for this again; 0 where it may now. `ahead`: for what everybody
        would be served without, if later."""
        until = self._limited.get(kind, 0.0)
        if ahead:
            until = max(until, self._held_back.get(kind, 0.0))
        return max(0.0, until - self._clock())

    def limited(self, kind: Kind, seconds: float, *, ahead: bool = False) -> None:
        """It was told 429, which holds for so long. `ahead`: when it asked for what everybody would be
        served without."""
        until = self._held_back if ahead else self._limited
        until[kind] = max(until.get(kind, 0.0), self._clock() + seconds)

    def note(self, budget: Budget) -> bool:
        """What an answer said of the budget; whether it has come down to the reserve with this."""
        before = self.is_scarce
        self._budget, self._noted = budget, self._clock()
        return self.is_scarce and not before

    @property
    def budget(self) -> Budget | None:
        """As it was last heard of. Once its window of time is over, nothing is known of it."""
        budget = self._budget
        if budget is None:
            return None
        window = min(budget.window_seconds or _WINDOW, _MAX_WINDOW)
        return budget if self._clock() < self._noted + window else None

    @property
    def is_scarce(self) -> bool:
        """Whether the budget is down to the reserve."""
        budget = self.budget
        return budget is not None and budget.remaining <= self._reserve
