"""Several accounts at one upstream: whose turn it is, and that what is one's own is never sent for another."""

import asyncio
import base64
import logging

import pytest

from mirror.upstream import limits
from tests.conftest import RunningMirror, Server
from tests.fakes.faults import Status
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, fetch, manifest

ACCOUNTS = {"one": "canary-one", "two": "canary-two"}
SECTION = {
    "accounts": [{"username": name, "password": password} for name, password in ACCOUNTS.items()],
    "rate_limit_reserve": 0,
    "negative_ttl": 0,
}
TAGS = [f"v{number}" for number in range(8)]


@pytest.fixture(autouse=True)
def images(hub: FakeHub) -> None:
    hub.accounts |= ACCOUNTS
    for tag in TAGS:
        hub.add_image(NAME, tag, make_image(f"accounts/{tag}", []))


@pytest.fixture
async def mirror(hub: FakeHub, server: Server) -> RunningMirror:
    return await server(upstream=SECTION)


async def pull(mirror: RunningMirror, *tags: str) -> list[int]:
    return [(await fetch(mirror, manifest(tag))).status for tag in tags]


def askers(hub: FakeHub) -> list[str]:
    """Who asked the token service, in turn."""
    return [seen.query.get("account", "nobody") for seen in hub.requests if seen.server == "token"]


def pulls(hub: FakeHub) -> dict[str, int]:
    return {name: count for name, count in hub.account_pulls.items() if count}


async def test_first_one_is_used_as_long_as_it_can(hub: FakeHub, mirror: RunningMirror) -> None:
    assert await pull(mirror, *TAGS) == [200] * 8
    assert (pulls(hub), askers(hub)) == ({"one": 8}, ["one"])


async def test_429__the_next_one_takes_over_within_the_same_request(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 30.0)
    await pull(mirror, "v0")
    hub.clear()
    hub.fault("manifest", Status(429), times=1)
    assert await pull(mirror, "v1", "v2") == [200, 200]
    assert hub.log() == [
        f"registry GET {manifest('v1')} 429",
        f"registry GET {manifest('v1')} 401",
        "token GET /token 200",
        f"registry GET {manifest('v1')} 200",
        f"registry GET {manifest('v2')} 200",
    ]
    assert pulls(hub) == {"one": 2, "two": 2}  # with the one that it counted and refused


async def test_429__the_first_one_is_used_again_once_its_limit_has_passed(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MAX_LIMITED", 3600.0)
    await pull(mirror, "v0")
    hub.fault("manifest", Status(429, {"Retry-After": "1"}), times=1)
    assert await pull(mirror, "v1", "v2") == [200, 200]
    assert pulls(hub) == {"one": 2, "two": 2}  # with the one that it counted and refused
    await asyncio.sleep(1)
    assert await pull(mirror, "v3") == [200]
    assert pulls(hub) == {"one": 3, "two": 2}


async def test_429__for_everybody(hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 30.0)
    await pull(mirror, "v0")
    hub.fault("manifest", Status(429))
    assert await pull(mirror, "v1") == [503]
    limited = [seen for seen in hub.requests if seen.status == 429]
    assert len({seen.headers["Authorization"] for seen in limited}) == len(limited) == 2
    hub.clear()
    assert await pull(mirror, "v2", "v3") == [503, 503]
    assert hub.log() == []


async def test_429__of_the_place_that_is_redirected_to_is_not_remembered(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 30.0)
    monkeypatch.setattr(limits, "_MAX_LIMITED", 3600.0)
    first, second = (hub.add_blob(NAME, name) for name in (b"first", b"second"))
    hub.fault("cdn", Status(429, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}), match=first.removeprefix("sha256:"))
    assert (await mirror.get(blob(first))).status == 503
    assert (await mirror.get(blob(second))).status == 200


async def test_429__of_the_token_service(hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 30.0)
    hub.fault("token", Status(429), times=1)
    assert await pull(mirror, "v0", "v1") == [200, 200]
    assert (askers(hub), pulls(hub)) == (["one", "two"], {"two": 2})


async def test_budget__down_to_the_reserve_lets_the_next_one_pull(hub: FakeHub, server: Server) -> None:
    hub.account_limits = {"one": 5, "two": 4}
    mirror = await server(upstream=SECTION | {"rate_limit_reserve": 2})
    assert await pull(mirror, *TAGS[:5]) == [200] * 5
    assert pulls(hub) == {"one": 3, "two": 2}  # each down to the reserve, and not one 429
    assert await pull(mirror, *TAGS[5:7]) == [200] * 2  # what is not here at all may have the rest
    assert pulls(hub) == {"one": 5, "two": 2}
    assert await pull(mirror, "v7") == [200]
    assert pulls(hub) == {"one": 5, "two": 3}
    assert [seen.status for seen in hub.requests].count(429) == 1


async def test_budget__of_the_first_one_is_heard_of_by_heads_that_are_free(hub: FakeHub, server: Server) -> None:
    hub.account_limits = {"one": 1, "two": 50}
    mirror = await server(upstream=SECTION | {"tag_ttl": 0})
    assert await pull(mirror, "v0", "v1") == [200, 200]
    assert pulls(hub) == {"one": 1, "two": 1}
    hub.account_limits["one"] = 50
    assert (await fetch(mirror, manifest("v0"))).headers["X-Cache"] == "revalidated"
    assert await pull(mirror, "v2") == [200]
    assert pulls(hub) == {"one": 2, "two": 1}


async def test_budget__is_spared_for_what_is_not_here_when_all_are_down(hub: FakeHub, server: Server) -> None:
    hub.account_limits = {"one": 3, "two": 3}
    mirror = await server(upstream=SECTION | {"rate_limit_reserve": 2, "tag_ttl": 0})
    assert await pull(mirror, "v0", "v1") == [200, 200]
    assert pulls(hub) == {"one": 1, "two": 1}
    hub.move_tag(NAME, "v0", make_image("accounts/moved", []))
    assert (await fetch(mirror, manifest("v0"))).headers["X-Cache"] == "stale"
    hub.account_limits["two"] = 50  # of which nobody hears, as long as the first one asks
    assert (await fetch(mirror, manifest("v0"))).headers["X-Cache"] == "stale"
    hub.account_limits["one"] = 50
    assert (await fetch(mirror, manifest("v0"))).status == 200
    assert pulls(hub) == {"one": 2, "two": 1}


async def test_nobody_is_asked_for_anonymously(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 30.0)
    hub.account_limits = {"one": 0, "two": 0}
    assert await pull(mirror, "v0", "v1") == [503, 503]
    assert askers(hub) == ["one", "two"]


async def test_login_that_is_refused_is_not_covered_up(hub: FakeHub, mirror: RunningMirror) -> None:
    """The next account is there for limits; a wrong password should be seen."""
    hub.accounts["one"] = "changed"
    got = await fetch(mirror, manifest("v0"))
    assert (got.status, b"refuses the configured login" in got.body, askers(hub)) == (502, True, ["one"])


async def test_tokens_and_passwords_are_not_mixed_up(
    hub: FakeHub, mirror: RunningMirror, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for tag in TAGS:
        hub.fault("manifest", Status(429), times=1, match="GET")
        assert await pull(mirror, tag) == [200]
    shown = {
        seen.query["account"]: base64.b64decode(seen.headers["Authorization"].split()[1]).decode()
        for seen in hub.requests
        if seen.server == "token"
    }
    assert shown == {name: f"{name}:{password}" for name, password in ACCOUNTS.items()}
    tokens = {token: grant.account for token, grant in hub._tokens.items()}
    assert sorted(tokens.values()) == ["one", "two"]
    asked = [seen.headers.get("Authorization", "Bearer -").split()[1] for seen in hub.requests if seen.status == 429]
    assert {tokens[token] for token in asked} == {"one"}
    said = "\n".join(repr(vars(record)) for record in caplog.records)
    assert "asking as the next account" in said
    assert not any(secret in said for secret in (*ACCOUNTS.values(), *tokens))


async def test_endpoints_have_limits_of_their_own(hub: FakeHub, server: Server) -> None:
    async with FakeHub() as other:
        other.accounts |= ACCOUNTS
        other.repositories = hub.repositories
        hub.account_limits = {"one": 1, "two": 0}
        hosts = [hub.token_host, other.token_host]
        mirror = await server(upstream=SECTION | {"url": "", "urls": [hub.url, other.url], "token_hosts": hosts})
        assert await pull(mirror, "v0", "v1") == [200, 200]
        assert (pulls(hub), pulls(other)) == ({"one": 1}, {"one": 1})
