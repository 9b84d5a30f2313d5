"""When an endpoint is worth asking."""

import pytest

from mirror.upstream.health import Health


@pytest.fixture(autouse=True)
def no_breaker() -> None:
    """Not here: these are the figures."""


def test_breaker__opens_after_three_failures_in_a_row_and_closes_with_an_answer() -> None:
    endpoint = Health()
    assert [endpoint.failed() for _ in range(2)] == [False, False]
    endpoint.answered()
    assert [endpoint.failed() for _ in range(4)] == [False, False, True, True]
    assert not endpoint.is_open
    endpoint.open()
    assert not endpoint.failed()
    assert endpoint.is_open
    endpoint.answered()
    assert not endpoint.is_open
    assert not endpoint.failed()


def test_breaker__probes_come_more_and_more_seldom() -> None:
    endpoint = Health()
    assert [endpoint.next_probe() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    endpoint.answered()
    assert endpoint.next_probe() == 1
