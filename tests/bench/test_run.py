"""bench/run.py: nobody gains by where they stand in the row."""

from collections import Counter
from itertools import pairwise

import pytest

from bench.run import in_turn


@pytest.mark.parametrize("count", range(1, 7))
def test_everybody_is_first_and_last_equally_often_and_follows_everybody_else_equally_often(count: int) -> None:
    peers = [f"peer {number}" for number in range(count)]
    rounds = [in_turn(peers, number) for number in range(count * (1 + count % 2))]
    assert all(sorted(order) == peers for order in rounds)
    for place in range(count):
        assert len(set(Counter(order[place] for order in rounds).values())) == 1
    after = Counter(pair for order in rounds for pair in pairwise(order))
    assert len(after) == count * (count - 1)
    assert len(set(after.values())) <= 1


def test_of_nobody_there_is_no_order() -> None:
    assert in_turn([], 3) == []
