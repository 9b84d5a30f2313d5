"""What holds for every push."""

from collections.abc import Iterator

import pytest

from tests.fakes.upstream import FakeHub


@pytest.fixture(autouse=True)
def nobody_else(hub: FakeHub) -> Iterator[None]:
    """What is pushed is nobody else's business: the upstream never hears of it."""
    yield
    assert hub.log() == []
