"""mirror/buffers.py: what bodies may keep in memory."""

import pytest

from mirror.buffers import share

_MIB = 2**20
_MOST = 2 * _MIB
_ONE_READ = _MIB // 4  # what asyncio takes from a socket at once


@pytest.mark.parametrize(
    ("under_way", "buffer"), [(0, _MOST), (1, _MOST), (2, _MOST), (4, _MIB), (64, _MIB // 16), (10**6, _MIB // 16)]
)
def test_the_more_there_are_the_less_each_gets(under_way: int, buffer: int) -> None:
    assert share(under_way, _MOST) == buffer


def test_no_more_than_is_asked_for() -> None:
    assert share(1, _MIB) == _MIB


def test_two_hundred_on_a_slow_disk_fit() -> None:
    """They begin one by one, so that each gets the most it can, and all buffers are full twice."""
    at_the_worst = [2 * (2 * share(number, _MOST) + _ONE_READ) for number in range(1, 201)]
    assert sum(at_the_worst) < 210 * _MIB
