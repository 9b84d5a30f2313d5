"""How an endpoint of an upstream is doing, and so whether it is worth asking.

- The **breaker** opens when nothing is heard from it several times in a row. From then on nobody waits for it, and a
  probe of our own finds out when it is back. An answer is an answer: 404, 401 and 500 do not open it.
- A **limit** (429) is remembered for the kind of request that it was said to: asking again would only lengthen it.
- The **budget** is what Docker Hub says is left of the pulls it grants: what is nearly spent is kept for what is not
  here at all.

No I/O; times are those of a monotonic clock.
"""

import time
from collections.abc import Callable
from enum import StrEnum

from mirror.upstream.errors import UpstreamNotAsked, UpstreamRateLimited
from ocispec.limits import Budget

# So many requests in a row without an answer.
_FAILURES = 3
# Between two probes: the first wait, and the longest.
_FIRST_PROBE, _MAX_PROBE = 1.0, 30.0
# How long a 429 holds that does not say so, and the longest that one is believed.
_LIMITED, _MAX_LIMITED = 10.0, 3600.0


class Kind(StrEnum):
    """What a request is about. Registries limit these differently: Docker Hub counts GETs of manifests only."""

    TAG = "tag"  # HEAD of a manifest
    MANIFEST = "manifest"
    BLOB = "blob"
    LIST = "list"


class Health:
    """Of one endpoint. Whoever sends asks `admit` first and tells afterwards how it went."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._limited: dict[Kind, float] = {}
        self.is_open = False
        self._probes = 0
        self.budget: Budget | None = None

    def note(self, budget: Budget | None, reserve: int) -> bool:
        """What an answer said of the budget, if anything; whether it has come down to the reserve with this."""
        if budget is None:
            return False
        before, self.budget = self.budget, budget
        return budget.remaining <= reserve and (before is None or before.remaining > reserve)

    def admit(self, kind: Kind) -> None:
        """Raises UpstreamNotAsked while the breaker is open, UpstreamRateLimited while a limit holds."""
        if self.is_open:
            raise UpstreamNotAsked("the upstream has not been answering; it is probed until it does")
        left = self._limited.get(kind, 0.0) - self._clock()
        if left > 0:
            raise UpstreamRateLimited("the upstream limits our requests (429 a while ago)", left)

    def answered(self) -> None:
        """Whatever the answer was."""
        self._failures, self._probes, self.is_open = 0, 0, False

    def failed(self) -> bool:
        """No answer; whether that opened the breaker."""
        self._failures += 1
        opened = not self.is_open and self._failures >= _FAILURES
        self.is_open = self.is_open or opened
        return opened

    def limited(self, kind: Kind, seconds: float | None) -> None:
        """It said 429, and maybe for how long."""
        wait = _LIMITED if seconds is None else min(seconds, _MAX_LIMITED)
        self._limited[kind] = self._clock() + wait

    def next_probe(self) -> float:
        """Seconds to wait before the next probe."""
        wait = min(_MAX_PROBE, _FIRST_PROBE * 2.0**self._probes)
        self._probes += 1
        return wait
