"""How long a tag's answer is good for."""

import math

import pytest

from mirror.config import Upstream
from mirror.pull.freshness import Times, is_fresh
from ocispec.digest import Digest
from ocispec.names import RepositoryName, Tag

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
