"""When an endpoint is worth asking."""

import pytest

from mirror.upstream import health
from mirror.upstream.errors import UpstreamNotAsked, UpstreamRateLimited
from mirror.upstream.health import Health, Kind
from tests.conftest import Clock


@pytest.fixture(autouse=True)
def no_breaker() -> None:
    """Not here: these are the figures."""


def test_breaker__opens_after_three_failures_in_a_row_and_closes_with_an_answer() -> None:
    endpoint = Health()
    assert [endpoint.failed() for _ in range(2)] == [False, False]
    endpoint.answered()
    assert [endpoint.failed() for _ in range(4)] == [False, False, True, False]
    for kind in Kind:
        with pytest.raises(UpstreamNotAsked):
            endpoint.admit(kind)
    endpoint.answered()
    endpoint.admit(Kind.BLOB)
    assert not endpoint.failed()


def test_breaker__probes_come_more_and_more_seldom() -> None:
    endpoint = Health()
    assert [endpoint.next_probe() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    endpoint.answered()
    assert endpoint.next_probe() == 1


@pytest.mark.parametrize(
    ("said", "seconds"), [(None, health._LIMITED), (0.0, 0.0), (5.0, 5.0), (1e9, health._MAX_LIMITED)]
)
def test_limit__holds_for_its_kind_and_its_time(said: float | None, seconds: float) -> None:
    clock = Clock(1000.0)
    endpoint = Health(clock)
    endpoint.limited(Kind.MANIFEST, said)
    for kind in (Kind.TAG, Kind.BLOB, Kind.LIST):
        endpoint.admit(kind)
    if seconds:
        clock.advance(seconds - 0.5)
        with pytest.raises(UpstreamRateLimited) as caught:
            endpoint.admit(Kind.MANIFEST)
        assert caught.value.retry_after == 0.5
        clock.advance(0.5)
    endpoint.admit(Kind.MANIFEST)
