"""How long a tag's answer is good for."""

import math

import pytest

from mirror.config import Upstream
from mirror.pull.freshness import Freshness, Times, is_fresh
from mirror.pull.remembered import Remembered
from ocispec.digest import Digest
from ocispec.names import RepositoryName, Tag
from storage.hot import StoredManifest
from storage.repository import Repository
from tests.conftest import Clock

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


RULES = {"nginx:1.*": "forever", "library/alpine:*": "1h", "org/*:v*": "1d", "*:sha256-*": "1w"}
HEX = "0123456789abcdef" * 4


def times(host: str) -> Times:
    rules = {"tag_ttls": RULES, "tag_ttl": "5m", "negative_ttl": "10s", "stale_while_revalidate": "2m"}
    return Times(Upstream.model_validate({"host": host, **rules}))


@pytest.mark.parametrize(
    ("host", "repository", "tag", "ttl"),
    [
        ("docker.io", "library/nginx", "1.27", math.inf),  # official images go by two names
        ("docker.io", "library/alpine", "3", 3600.0),
        ("docker.io", "library/nginx", "latest", 300.0),
        ("docker.io", "org/app", "v1", 86400.0),
        ("ghcr.io", "library/nginx", "1.27", 300.0),  # elsewhere they do not
        ("ghcr.io", "nginx", "1.27", math.inf),
        ("docker.io", "org/app", f"sha256-{HEX}", 30.0),
        ("docker.io", "org/app", f"sha256-{HEX}.sig", 30.0),
        ("docker.io", "org/app", f"sha512-{HEX}", 30.0),  # cut to 64, as the specification says
        ("docker.io", "org/app", f"sha512-{HEX}{HEX}.att", 30.0),
        ("docker.io", "org/app", f"sha256-{HEX[1:]}", 604800.0),  # some other tag
        ("docker.io", "org/app", f"sha256-{HEX}.SIG", 604800.0),
    ],
)
def test_ttl(host: str, repository: str, tag: str, ttl: float) -> None:
    assert times(host).ttl(RepositoryName(repository), Tag(tag)) == ttl


def test_what_carries_signatures_is_good_for_less() -> None:
    of = times("docker.io")
    assert [of.absence(Tag(tag)) for tag in ("latest", f"sha256-{HEX}")] == [10.0, 1.0]
    assert [of.grace(Tag(tag)) for tag in ("latest", f"sha256-{HEX}")] == [120.0, 0.0]
    assert of.absence(Digest.of(b"x")) == 10.0


CACHED, PUSHED = (Repository(RepositoryName("org/app"), upstream) for upstream in ("docker.io", ""))
LATEST, MANIFEST = Tag("latest"), Digest.of(b"{}")


def found(checked_at: float | None) -> StoredManifest:
    return StoredManifest(MANIFEST, "application/json", b"{}", checked_at)


def freshness(**settings: object) -> Freshness:
    """At NOW, of an upstream with 300 s of freshness, 120 s of grace, and a day without an answer."""
    times = {"tag_ttl": "5m", "stale_while_revalidate": "2m", "stale_if_error": "1d"}
    config = Upstream.model_validate({"host": "docker.io", **times, **settings})
    return Freshness({"docker.io": config}, Clock(NOW))


@pytest.mark.parametrize(
    ("age", "serves", "grace", "keeps"),
    [
        (299.0, True, True, True),
        (300.0, False, True, True),
        (419.0, False, True, True),
        (420.0, False, False, True),
        (DAY + 300.0, False, False, True),
        (DAY + 301.0, False, False, False),
        (-DAY - 301.0, False, False, False),  # the clock was set back
    ],
)
def test_what_may_be_done_with_a_tag(age: float, serves: bool, grace: bool, keeps: bool) -> None:
    rules, here = freshness(), found(NOW - age)
    may = (
        rules.serves(CACHED, LATEST, here),
        rules.has_grace(CACHED, LATEST, here),
        rules.keeps(CACHED, LATEST, here),
    )
    assert may == (serves, grace, keeps)
    assert not rules.never_moves(CACHED, LATEST)


@pytest.mark.parametrize(
    ("repository", "reference", "settings"),
    [(CACHED, MANIFEST, {}), (PUSHED, LATEST, {}), (CACHED, LATEST, {"offline": True})],
    ids=["a digest", "pushed", "an upstream that is switched off"],
)
def test_what_is_settled(repository: Repository, reference: Tag | Digest, settings: dict[str, bool]) -> None:
    rules, old = freshness(**settings), found(NOW - 3650 * DAY)
    assert rules.serves(repository, reference, old)
    assert rules.never_moves(repository, reference)
    assert rules.keeps(repository, reference, old)


def test_a_tag_that_is_fresh_for_ever_never_moves() -> None:
    assert freshness(tag_ttls={"*:latest": "forever"}).never_moves(CACHED, LATEST)


def test_age() -> None:
    rules = freshness()
    assert rules.age(CACHED, found(NOW - 7)) == 7.0
    assert rules.age(CACHED, found(NOW + 7)) == 0.0
    assert rules.age(CACHED, found(None)) is None
    assert rules.age(PUSHED, found(NOW - 7)) is None


def test_what_is_remembered_is_forgotten_in_time() -> None:
    clock = Clock(NOW)
    absent = Remembered(clock)
    absent.add(CACHED, LATEST, 10.0)
    assert absent.has(CACHED, LATEST)
    assert not absent.has(CACHED, MANIFEST)
    clock.advance(-9)
    assert absent.has(CACHED, LATEST)
    for seconds in (-1, 20):
        clock.advance(seconds)
        assert not absent.has(CACHED, LATEST)
    absent.add(CACHED, LATEST, 10.0)
    absent.remove(CACHED, LATEST)
    assert not absent.has(CACHED, LATEST)
