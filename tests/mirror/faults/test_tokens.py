"""The token service: what it does wrong, when tokens are renewed, and that nobody asks for more of them than needed."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from mirror.upstream import auth
from tests.conftest import Clock, RunningMirror, Server
from tests.fakes.faults import (
    DeepJson,
    Drop,
    Empty200,
    Fault,
    GarbageJson,
    Gzip,
    Hang,
    Html200,
    Json200,
    NoExpiresIn,
    NoIssuedAt,
    RedirectLoop,
    RedirectTo,
    Status,
)
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, cold_manifest, fetch, manifest

IMAGE = make_image("tokens", [10])
TAG = manifest("latest")
HUGE = b'{"token": "' + b"x" * 100_000 + b'"}'


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Status(401), 404),
        (Status(403), 404),
        (Status(404), 404),
        (Status(400), 404),
        (Status(429), 503),
        (Status(500), 502),
        (Status(503), 502),
        (Status(200, body=HUGE), 502),
        (Status(200, body=b'{"token": ""}'), 502),
        (Status(200, body=b'{"token": "a b\\r\\nX-Evil: 1"}'), 502),
        (Status(200, body=b'{"token": 1}'), 502),
        (Status(200, body=b"null"), 502),
        (RedirectLoop(), 502),
        (RedirectTo("/token2"), 502),
        (Html200(), 502),
        (Json200(), 502),
        (GarbageJson(), 502),
        (DeepJson(), 502),
        (Gzip(), 502),
        (Empty200(), 502),
        (Drop(), 502),
        (Hang(), 504),
        (Hang("body", 5), 504),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_token_service_that_fails(hub: FakeHub, server: Server, fault: Fault, status: int) -> None:
    mirror = await server(upstream={"connect_timeout": 1, "read_timeout": 1})
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("token", fault)
    async with asyncio.timeout(15):
        got = await asyncio.gather(*(fetch(mirror, TAG) for _ in range(5)))
    assert {(one.status, one.complete) for one in got} == {(status, True)}
    assert hub.count("registry", path_contains="manifests") == hub.count("registry")
    hub.clear_faults()
    assert (await fetch(mirror, TAG)).full_body == IMAGE.manifest


@pytest.mark.parametrize("fault", [NoExpiresIn(), NoIssuedAt()], ids=str)
async def test_token_without_its_dates_is_good_for_a_minute(hub: FakeHub, mirror: RunningMirror, fault: Fault) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("token", fault)
    assert (await fetch(mirror, TAG)).full_body == IMAGE.manifest
    assert (await fetch(mirror, manifest("nothing"))).status == 404
    assert hub.count("token") == 1


async def test_fifty_pulls_of_one_repository_share_one_token(hub: FakeHub, mirror: RunningMirror) -> None:
    tags = [f"v{number}" for number in range(50)]
    for tag in tags:
        hub.add_image(NAME, tag, make_image(f"tokens/{tag}", []))
    hub.latency = 0.05
    got = await asyncio.gather(*(fetch(mirror, manifest(tag)) for tag in tags))
    assert {one.status for one in got} == {200}
    assert hub.count("token") == 1


async def test_token_that_the_upstream_forgot_is_renewed_once(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image(NAME, "other", make_image("tokens/other", []))
    await fetch(mirror, TAG)
    hub.clear()
    hub.revoke_tokens()
    assert (await fetch(mirror, manifest("other"))).status == 200
    assert hub.log() == cold_manifest("other")


async def test_token_is_renewed_before_it_ends(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the monotonic clock: no wall clock that jumps can keep a dead token alive."""
    now = time.monotonic()
    monkeypatch.setattr(auth, "time", SimpleNamespace(monotonic=lambda: now))
    for tag in ("a", "b", "c"):
        hub.add_image(NAME, tag, make_image(f"tokens/{tag}", []))
    await fetch(mirror, manifest("a"))
    hub.clear()
    now += hub.token_lifetime - 11
    await fetch(mirror, manifest("b"))
    assert hub.count("token") == 0
    now += 2
    assert (await fetch(mirror, manifest("c"))).status == 200
    assert hub.log() == [
        f"registry GET {manifest('b')} 200",
        "token GET /token 200",
        f"registry GET {manifest('c')} 200",
    ]


async def test_tokens_of_two_upstreams_are_not_mixed_up(hub: FakeHub, server: Server) -> None:
    async with FakeHub() as other:
        mirror = await server(
            upstreams={"other": {"host": "ghcr.io", "url": other.url, "token_hosts": [other.token_host]}}
        )
        for one in (hub, other):
            one.add_image("org/app", "v1", IMAGE)
        assert (await fetch(mirror, manifest("v1", "org/app"))).status == 200
        assert (await fetch(mirror, manifest("v1", "ghcr.io/org/app"))).status == 200
        mine = {seen.headers.get("Authorization") for seen in hub.requests if seen.server == "registry"}
        theirs = {seen.headers.get("Authorization") for seen in other.requests if seen.server == "registry"}
        assert mine & theirs == {None}  # the two first requests, which were challenged


async def test_account__is_shown_to_the_token_service_only(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"username": "operator", "password": "correct-horse"})
    hub.add_image("org/private", "v1", IMAGE)
    hub.private.add("org/private")
    assert (await fetch(mirror, manifest("v1", "org/private"))).full_body == IMAGE.manifest
    basic = [seen.server for seen in hub.requests if seen.headers.get("Authorization", "").startswith("Basic")]
    assert basic == ["token"]
    assert next(seen for seen in hub.requests if seen.server == "token").query["account"] == "operator"


async def test_account__that_is_wrong(hub: FakeHub, server: Server, clock: Clock) -> None:
    """Not asked again and again: that would lock the account. And what is here stays good."""
    mirror = await server(upstream={"username": "operator", "password": "correct-horse"})
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, TAG)
    hub.accounts["operator"] = "changed"
    hub.revoke_tokens()
    hub.clear()
    got = await fetch(mirror, manifest("other"))
    assert (got.status, b"UPSTREAM_FAILED" in got.body) == (502, True)
    assert b"refuses the configured login" in got.body
    assert hub.count("token") == 1
    clock.advance(300)
    stale = await fetch(mirror, TAG)
    assert (stale.full_body, stale.headers["X-Cache"]) == (IMAGE.manifest, "stale")
    assert hub.count("token") == 1 + 2  # once where it is known to be, and once where the upstream says it is


async def test_basic_challenge__is_answered_with_the_account(hub: FakeHub, server: Server) -> None:
    """An upstream without a token service, such as a plain registry behind a password."""
    hub.authentication = False
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image(NAME, "other", make_image("tokens/other", []))
    hub.fault("manifest", Status(401, {"WWW-Authenticate": 'Basic realm="registry"'}), times=1)
    mirror = await server(upstream={"username": "operator", "password": "correct-horse"})
    assert (await fetch(mirror, TAG)).full_body == IMAGE.manifest
    assert (await fetch(mirror, manifest("other"))).status == 200
    assert [seen.headers.get("Authorization", "-").split()[0] for seen in hub.requests] == ["-", "Basic", "Basic"]


async def test_basic_challenge__without_an_account(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.authentication = False
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("manifest", Status(401, {"WWW-Authenticate": 'Basic realm="registry"'}))
    assert (await fetch(mirror, TAG)).status == 404
    assert hub.count() == 1


@pytest.mark.parametrize("challenge", ["", "Negotiate", "Digest realm=x", "Bearer", 'Bearer service="x"', "\u00e9"])
async def test_challenge_that_nobody_can_answer(hub: FakeHub, mirror: RunningMirror, challenge: str) -> None:
    hub.authentication = False
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("manifest", Status(401, {"WWW-Authenticate": challenge}))
    assert (await fetch(mirror, TAG)).status in (404, 502)
    assert hub.count() == 1
