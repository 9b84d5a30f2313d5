"""When to ask again, and how long to wait before; and the one loop that does so."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from mirror.upstream.errors import (
    UpstreamError,
    UpstreamNotAsked,
    UpstreamOffline,
    UpstreamRateLimited,
    UpstreamTimedOut,
    UpstreamUnavailable,
)

T = TypeVar("T")

# A request that a client waits for is tried this often in all; more would make a storm of an outage.
ATTEMPTS = 3
# In the middle of a blob: giving up cuts every client, so wait out a gap of some ten seconds first.
RESUMING_ATTEMPTS = 7
# An attempt that brought this much makes the next one count as the first: a long blob may break off more often.
_PROGRESS_BYTES = 64 * 1024
_FIRST_WAIT = 0.2
# Asking for what is not here has the upstream probed at once; this is what the probe gets.
_PROBED_WAIT = 1.0
# No wait is longer than the first, unless it is for the end of a limit. In the middle of a blob a client would be cut,
# and a 429 that says nothing of how long it holds is taken for ten seconds.
_MAX_WAIT, _MAX_RESUMING_WAIT = 5.0, 15.0
# For so long in all the end of a limit is waited for before a client is told to come back.
PATIENCE = 5.0
# Before the first byte of a blob. Clients wait a minute and more for the head of an answer (measured), and what they do
# of a 503 is to begin again from the start, or elsewhere: docker does so after the second one.
BLOB_PATIENCE = 30.0


async def repeated(
    ask: Callable[[], Awaitable[T]],
    kept: Callable[[], int] = lambda: 0,
    patience: Callable[[], float] = lambda: PATIENCE,
) -> T:
    """What `ask` gives in the end, asked as often as makes sense; raises the last UpstreamError.

    `kept` says how many bytes have come so far that the next attempt goes on from; `patience` for how many seconds in
    all the end of a limit may be waited for.
    """
    attempt, limited = 1, 0.0
    while True:
        before = kept()
        try:
            return await ask()
        except UpstreamError as error:
            attempt = 1 if kept() - before >= _PROGRESS_BYTES else attempt
            jitter = random.random()  # noqa: S311 - jitter, not a secret
            left = patience() - limited
            wait = wait_before_retry(attempt, error, jitter, resuming=kept() > 0, patience=left)
            if wait is None:
                raise
            limited += wait if isinstance(error, UpstreamRateLimited) else 0.0
        await asyncio.sleep(wait)
        attempt += 1


def wait_before_retry(
    attempt: int, error: UpstreamError, jitter: float, *, resuming: bool = False, patience: float = PATIENCE
) -> float | None:
    """Seconds to wait after failed attempt number `attempt` (from 1); None: give up. `jitter` is in [0, 1). Pure.

    `resuming`: what has come so far is kept, so a time-out is worth another attempt. `patience`: seconds for which the
    end of a limit may be waited for yet.
    """
    if isinstance(error, UpstreamOffline):
        return None
    if isinstance(error, UpstreamNotAsked) and not resuming:
        return _PROBED_WAIT * (0.5 + jitter) if attempt < ATTEMPTS else None
    patient = resuming and not isinstance(error, UpstreamTimedOut)
    if attempt >= (RESUMING_ATTEMPTS if patient else ATTEMPTS):
        return None
    if isinstance(error, UpstreamRateLimited):
        wait, longest = error.retry_after, _MAX_RESUMING_WAIT if resuming else patience
        if wait is None or wait > longest:
            return None
        # Everybody was told the same: they must not all come back at the same moment.
        return wait * (1 + jitter / 2) + _FIRST_WAIT * jitter
    # A time-out has cost its wait already; asking again would double what the client waits.
    if isinstance(error, UpstreamUnavailable) and (resuming or not isinstance(error, UpstreamTimedOut)):
        return min(_MAX_WAIT, _FIRST_WAIT * float(2 ** (attempt - 1)) * (0.5 + jitter))
    return None
