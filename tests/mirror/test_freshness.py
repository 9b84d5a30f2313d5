"""How long a tag's answer is good for."""

import pytest

from mirror.pull.freshness import is_fresh

NOW = 1_700_000_000.0
DAY = 86_400.0


@pytest.mark.parametrize(
    ("checked_at", "ttl", "fresh"),
    [
        (None, 0.0, True),  # a pushed tag
        (NOW, 300.0, True),
        (NOW - 299.9, 300.0, True),
        (NOW - 300.0, 300.0, False),
        (NOW - 301.0, 300.0, False),
        (NOW, 0.0, False),  # ttl 0: always ask
        (NOW + 10.0, 300.0, True),
        (NOW + 300.0, 300.0, False),  # the clock was set back by more than the ttl
        (NOW + DAY, 300.0, False),
        (NOW + 3650 * DAY, 300.0, False),
        (NOW - 3650 * DAY, 300.0, False),
        (0.0, 300.0, False),
    ],
)
def test_is_fresh(checked_at: float | None, ttl: float, fresh: bool) -> None:
    assert is_fresh(checked_at, NOW, ttl) is fresh
