"""When a failed request to an upstream is repeated, and after how long."""

from types import SimpleNamespace

import pytest

from mirror.upstream import retry
from mirror.upstream.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamNotAsked,
    UpstreamOffline,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from mirror.upstream.retry import ATTEMPTS, BLOB_PATIENCE, RESUMING_ATTEMPTS, repeated, wait_before_retry


@pytest.fixture(autouse=True)
def short_waits() -> None:
    """Not here: these are the figures."""


DOWN = UpstreamUnavailable("down")
SLOW = UpstreamTimedOut("slow")


def limited(retry_after: float | None) -> UpstreamRateLimited:
    return UpstreamRateLimited("limited", retry_after)


@pytest.mark.parametrize(
    ("attempt", "error", "jitter", "resuming", "wait"),
    [
        (1, DOWN, 0.0, False, 0.1),
        (1, DOWN, 0.5, False, 0.2),
        (2, DOWN, 0.0, False, 0.2),
        (2, DOWN, 0.5, False, 0.4),
        (3, DOWN, 0.5, False, None),  # three attempts in all
        (4, DOWN, 0.5, False, None),
        (1, DOWN, 0.5, True, 0.2),
        (3, DOWN, 0.5, True, 0.8),  # in the middle of a blob everybody who reads it is cut: so more patience
        (5, DOWN, 0.5, True, 3.2),
        (6, DOWN, 0.5, True, 5.0),  # no single wait is longer
        (7, DOWN, 0.5, True, None),
        (1, SLOW, 0.5, False, None),  # has cost its wait already
        (1, SLOW, 0.5, True, 0.2),  # unless what came so far is kept
        (2, SLOW, 0.5, True, 0.4),
        (3, SLOW, 0.5, True, None),
        (1, limited(None), 0.5, False, None),
        (1, limited(0.0), 0.5, False, 0.1),
        (1, limited(2.0), 0.0, False, 2.0),
        (1, limited(2.0), 0.5, False, 2.6),  # not all at the same moment
        (2, limited(5.0), 0.0, False, 5.0),
        (1, limited(5.1), 0.5, False, None),  # longer than a client should be kept waiting
        (1, limited(3600.0), 0.5, False, None),
        (3, limited(1.0), 0.5, False, None),
        (3, limited(1.0), 0.0, True, 1.0),
        (1, limited(10.0), 0.0, True, 10.0),  # those who read it are cut otherwise
        (1, limited(15.1), 0.0, True, None),
        (1, UpstreamNotAsked("no"), 0.5, False, 1.0),  # it is being probed for us
        (3, UpstreamNotAsked("no"), 0.5, False, None),
        (1, UpstreamOffline("no"), 0.5, True, None),
        (1, UpstreamRefused("no"), 0.5, True, None),
        (1, UpstreamBroken("nonsense"), 0.5, True, None),
        (1, UpstreamError("whatever"), 0.5, True, None),
    ],
)
def test_wait_before_retry(
    attempt: int, error: UpstreamError, jitter: float, resuming: bool, wait: float | None
) -> None:
    found = wait_before_retry(attempt, error, jitter, resuming=resuming)
    assert found == (None if wait is None else pytest.approx(wait))


async def test_repeated__patience_is_for_all_waits_together(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def ask() -> None:
        raise limited(12.0)

    monkeypatch.setattr(retry, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(retry, "random", SimpleNamespace(random=lambda: 0.4))
    with pytest.raises(UpstreamRateLimited):
        await repeated(ask, patience=lambda: BLOB_PATIENCE)
    assert waits == [pytest.approx(14.48), pytest.approx(14.48)]
    waits.clear()
    with pytest.raises(UpstreamRateLimited):
        await repeated(ask)
    assert waits == []
    with pytest.raises(UpstreamRateLimited):
        await repeated(ask, patience=lambda: 20.0)
    assert waits == [pytest.approx(14.48)]


@pytest.mark.parametrize("jitter", [0.0, 0.25, 0.5, 0.999])
def test_wait_before_retry__all_waits_together(jitter: float) -> None:
    """A client that has seen nothing yet is told soon; one in the middle of a blob may wait out a short outage."""
    waits = [wait_before_retry(attempt, DOWN, jitter) for attempt in range(1, ATTEMPTS + 1)]
    assert waits[-1] is None
    assert sum(wait or 0.0 for wait in waits) < 2.0
    waits = [wait_before_retry(attempt, DOWN, jitter, resuming=True) for attempt in range(1, RESUMING_ATTEMPTS + 1)]
    assert waits[-1] is None
    assert 5.0 < sum(wait or 0.0 for wait in waits) < 20.0
