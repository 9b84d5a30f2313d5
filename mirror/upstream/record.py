"""What has become of the requests to an upstream: counts, and the last few errors."""

from collections import Counter
from collections.abc import Callable

from mirror.upstream.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamLoginRefused,
    UpstreamNoLogin,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
)
from mirror.upstream.limits import Kind
from mirror.upstream.state import Ending, Trouble

# Different ones that are remembered: texts are ours, but for the figures in them.
_TROUBLES = 8


class Record:
    """Of one upstream; `clock` is the time of day."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.requests = Counter[tuple[Kind, Ending]]()
        self._clock = clock
        self._troubles: dict[str, Trouble] = {}  # latest last

    def ended(self, kind: Kind, status: int) -> None:
        """With an answer that was of use."""
        self.requests[kind, Ending.ABSENT if status == 404 else Ending.DONE] += 1

    def failed(self, kind: Kind, error: UpstreamError) -> None:
        self.requests[kind, _ending(error)] += 1
        reason = str(error)
        before = self._troubles.pop(reason, None)
        self._troubles[reason] = Trouble(reason, before.count + 1 if before else 1, self._clock())
        if len(self._troubles) > _TROUBLES:
            del self._troubles[next(iter(self._troubles))]

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Latest first."""
        return tuple(reversed(self._troubles.values()))


def _ending(error: UpstreamError) -> Ending:
    match error:
        case UpstreamRateLimited():
            return Ending.LIMITED
        case UpstreamRefused() | UpstreamLoginRefused() | UpstreamNoLogin():
            return Ending.REFUSED
        case UpstreamTimedOut():
            return Ending.TIMED_OUT
        case UpstreamBroken():
            return Ending.BROKEN
        case _:
            return Ending.UNAVAILABLE
