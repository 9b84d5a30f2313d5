"""How much an account may ask for, and which one has its turn."""

import pytest
from yarl import URL

from mirror.config import Upstream
from mirror.upstream import limits
from mirror.upstream.errors import UpstreamRateLimited
from mirror.upstream.identity import Identity, identities_of, in_turn
from mirror.upstream.limits import Kind, Limits
from ocispec.limits import Budget
from tests.conftest import Clock


@pytest.fixture(autouse=True)
def no_breaker() -> None:
    """Not here: these are the figures."""


def budget(remaining: int, window: int = 21600) -> Budget:
    return Budget(remaining, 100, window, "test")


@pytest.mark.parametrize(
    ("said", "seconds"), [(None, limits._LIMITED), (0.0, 0.0), (5.0, 5.0), (1e9, limits._MAX_LIMITED)]
)
def test_limit__holds_for_its_kind_and_its_time(said: float | None, seconds: float) -> None:
    clock = Clock(1000.0)
    account = Limits(5, clock)
    account.limited(Kind.MANIFEST, limits.believed(said))
    assert [account.wait(kind) for kind in (Kind.TAG, Kind.BLOB, Kind.LIST)] == [0, 0, 0]
    assert account.wait(Kind.MANIFEST) == seconds
    clock.advance(max(0.0, seconds - 0.5))
    assert account.wait(Kind.MANIFEST) == min(0.5, seconds)
    clock.advance(0.5)
    assert account.wait(Kind.MANIFEST) == 0


def test_limit__that_only_a_prefetch_has_met_holds_only_that_back() -> None:
    clock = Clock(1000.0)
    account = Limits(5, clock)
    account.limited(Kind.BLOB, 30, ahead=True)
    assert (account.wait(Kind.BLOB), account.wait(Kind.BLOB, ahead=True)) == (0, 30)
    account.limited(Kind.BLOB, 20)
    assert (account.wait(Kind.BLOB), account.wait(Kind.BLOB, ahead=True)) == (20, 30)
    account.limited(Kind.MANIFEST, 20)  # what a client was told counts for everybody
    assert account.wait(Kind.MANIFEST, ahead=True) == 20


def test_budget__is_scarce_at_the_reserve_and_says_so_once() -> None:
    account = Limits(5)
    assert [account.note(budget(left)) for left in (7, 6, 5, 4, 50, 5)] == [False, False, True, False, False, True]
    assert account.is_scarce
    account.note(budget(6))
    assert not account.is_scarce


def test_budget__is_forgotten_when_its_window_is_over() -> None:
    clock = Clock(1000.0)
    account = Limits(5, clock)
    account.note(budget(0, window=60))
    clock.advance(59)
    assert account.is_scarce
    clock.advance(1)
    assert not account.is_scarce


@pytest.mark.parametrize(("window", "seconds"), [(0, limits._WINDOW), (999_999_999, limits._MAX_WINDOW)])
def test_budget__is_not_believed_for_ever(window: int, seconds: int) -> None:
    clock = Clock(1000.0)
    account = Limits(5, clock)
    account.note(budget(0, window))
    clock.advance(seconds - 1)
    assert account.is_scarce
    clock.advance(1)
    assert (account.is_scarce, account.budget) == (False, None)


async def no_token(*_: object) -> bytes:
    raise AssertionError("nobody asks for one here")


@pytest.fixture
def three() -> list[Identity]:
    accounts = [{"username": name, "password": "x"} for name in ("a", "b")] + [{"credential_helper": "c"}]
    config = Upstream.model_validate({"host": "docker.io", "accounts": accounts})
    return identities_of(config, URL("https://registry-1.docker.io"), no_token)


def turn(identities: list[Identity], kind: Kind = Kind.MANIFEST) -> str:
    return "".join(identity.name for identity in in_turn(identities, kind))


async def test_turn__is_in_the_order_of_the_configuration(three: list[Identity]) -> None:
    for kind in Kind:
        assert turn(three, kind) == "abc"


async def test_turn__of_a_limited_account_is_passed_over(three: list[Identity]) -> None:
    three[0].limits.limited(Kind.MANIFEST, 30)
    assert (turn(three), turn(three, Kind.BLOB)) == ("bc", "abc")
    three[1].limits.limited(Kind.MANIFEST, 20)
    three[2].limits.limited(Kind.MANIFEST, 40)
    with pytest.raises(UpstreamRateLimited) as caught:
        turn(three)
    assert caught.value.retry_after == pytest.approx(20, abs=1)


async def test_turn__of_an_account_that_has_nearly_spent_its_pulls_comes_last(three: list[Identity]) -> None:
    three[0].limits.note(budget(5))
    assert (turn(three), turn(three, Kind.TAG)) == ("bca", "abc")
    three[1].limits.note(budget(0))
    assert turn(three) == "cab"
    three[2].limits.note(budget(1))
    assert turn(three) == "abc"
    three[0].limits.note(budget(6))
    assert turn(three) == "abc"
