"""When to ask again, and how long to wait before. Pure: attempt and failure in, seconds or None out."""

from mirror.upstream.errors import (
    UpstreamError,
    UpstreamNotAsked,
    UpstreamOffline,
    UpstreamRateLimited,
    UpstreamTimedOut,
    UpstreamUnavailable,
)

# A request that a client waits for is tried this often in all; more would make a storm of an outage.
ATTEMPTS = 3
# In the middle of a blob: giving up cuts every client, so wait out a gap of some ten seconds first.
RESUMING_ATTEMPTS = 7
_FIRST_WAIT = 0.2
# Asking for what is not here has the upstream probed at once; this is what the probe gets.
_PROBED_WAIT = 1.0
# Longer than this a client is better told to come back.
_MAX_WAIT = 5.0


def wait_before_retry(attempt: int, error: UpstreamError, jitter: float, *, resuming: bool = False) -> float | None:
    """Seconds to wait after failed attempt number `attempt` (from 1); None: give up. `jitter` is in [0, 1).

    `resuming`: what has come so far is kept, so a time-out is worth another attempt.
    """
    if isinstance(error, UpstreamOffline):
        return None
    if isinstance(error, UpstreamNotAsked) and not resuming:
        return _PROBED_WAIT * (0.5 + jitter) if attempt < ATTEMPTS else None
    patient = resuming and not isinstance(error, UpstreamTimedOut)
    if attempt >= (RESUMING_ATTEMPTS if patient else ATTEMPTS):
        return None
    if isinstance(error, UpstreamRateLimited):
        wait = error.retry_after
        if wait is None or wait > _MAX_WAIT:
            return None
        # Everybody was told the same: they must not all come back at the same moment.
        return wait * (1 + jitter / 2) + _FIRST_WAIT * jitter
    # A time-out has cost its wait already; asking again would double what the client waits.
    if isinstance(error, UpstreamUnavailable) and (resuming or not isinstance(error, UpstreamTimedOut)):
        return min(_MAX_WAIT, _FIRST_WAIT * float(2 ** (attempt - 1)) * (0.5 + jitter))
    return None
