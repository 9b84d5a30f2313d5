"""A tag is good for tag_ttl; then it costs one HEAD, and what we have is better than an upstream's failure."""

import asyncio

import pytest

from tests.conftest import Clock, RunningMirror, Server
from tests.fakes.faults import Drop, Empty200, Fault, Hang, Html200, NoDigestHeader, Status
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub, ServerName
from tests.mirror.wire import NAME, manifest

OLD = make_image("old", [100])
NEW = make_image("new", [100])
TAG = manifest("latest")
TTL = 300.0


@pytest.fixture
async def warm(hub: FakeHub, server: Server) -> RunningMirror:
    """A server that has the tag, before a hub that has forgotten the requests."""
    mirror = await server(upstream={"tag_ttl": TTL, "revalidate_timeout": 0.4, "read_timeout": 2, "connect_timeout": 2})
    hub.add_image(NAME, "latest", OLD)
    assert (await mirror.get(TAG)).headers["X-Cache"] == "miss"
    hub.clear()
    return mirror


async def asked(mirror: RunningMirror, path: str = TAG) -> tuple[int, str, bytes]:
    answer = await mirror.get(path)
    return answer.status, answer.headers.get("X-Cache", ""), answer.body


async def test_tag__within_ttl_asks_nobody(hub: FakeHub, warm: RunningMirror, clock: Clock) -> None:
    hub.move_tag(NAME, "latest", NEW)
    for _ in range(3):
        assert await asked(warm) == (200, "hit", OLD.manifest)
        clock.advance(TTL / 4)
    assert hub.log() == []


async def test_tag__unchanged_after_ttl_costs_one_head(hub: FakeHub, warm: RunningMirror, clock: Clock) -> None:
    clock.advance(TTL)
    assert await asked(warm) == (200, "revalidated", OLD.manifest)
    assert hub.log() == [f"registry HEAD {TAG} 200"]
    assert await asked(warm) == (200, "hit", OLD.manifest)
    clock.advance(TTL)
    assert await asked(warm) == (200, "revalidated", OLD.manifest)
    assert hub.log() == [f"registry HEAD {TAG} 200"] * 2


async def test_tag__moved_costs_a_head_and_a_get_by_digest(hub: FakeHub, warm: RunningMirror, clock: Clock) -> None:
    hub.move_tag(NAME, "latest", NEW)
    clock.advance(TTL)
    assert await asked(warm) == (200, "miss", NEW.manifest)
    assert hub.log() == [f"registry HEAD {TAG} 200", f"registry GET {manifest(NEW.digest)} 200"]
    hub.clear()
    assert await asked(warm) == (200, "hit", NEW.manifest)
    assert await asked(warm, manifest(OLD.digest)) == (200, "hit", OLD.manifest)  # what was pulled stays
    assert hub.log() == []


async def test_tag__moved_back_to_what_is_here_costs_a_head(hub: FakeHub, warm: RunningMirror, clock: Clock) -> None:
    hub.move_tag(NAME, "latest", NEW)
    clock.advance(TTL)
    await warm.get(TAG)
    hub.move_tag(NAME, "latest", OLD)
    clock.advance(TTL)
    hub.clear()
    assert (await asked(warm))[2] == OLD.manifest
    assert hub.log() == [f"registry HEAD {TAG} 200"]


async def test_tag__fifty_clients_share_one_revalidation(hub: FakeHub, warm: RunningMirror, clock: Clock) -> None:
    clock.advance(TTL)
    hub.latency = 0.1
    answers = await asyncio.gather(*(asked(warm) for _ in range(50)))
    assert {body for _, _, body in answers} == {OLD.manifest}
    assert hub.log() == [f"registry HEAD {TAG} 200"]


async def test_tag__clock_set_back_by_a_day_does_not_keep_it_fresh(
    hub: FakeHub, warm: RunningMirror, clock: Clock
) -> None:
    clock.advance(-86_400)
    assert (await asked(warm))[1] == "revalidated"
    assert hub.log() == [f"registry HEAD {TAG} 200"]


async def test_tag__deleted_upstream_is_gone_but_its_content_stays(
    hub: FakeHub, warm: RunningMirror, clock: Clock
) -> None:
    hub.delete_tag(NAME, "latest")
    assert (await asked(warm))[0] == 200
    clock.advance(TTL)
    answer = await warm.get(TAG)
    assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    assert await asked(warm, manifest(OLD.digest)) == (200, "hit", OLD.manifest)


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (401, 2)])  # a token that is refused is renewed, once
async def test_tag__that_is_refused_is_gone(
    hub: FakeHub, warm: RunningMirror, clock: Clock, status: int, requests: int
) -> None:
    """A refusal is an answer: the repository was made private, or removed. What is here by digest stays."""
    clock.advance(TTL)
    hub.fault("manifest", Status(status))
    assert (await warm.get(TAG)).status == 404
    assert hub.count("registry") == requests
    assert await asked(warm, manifest(OLD.digest)) == (200, "hit", OLD.manifest)


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        (Status(429), 1),
        (Status(429, {"Retry-After": "1"}), 1),
        (Status(500), 1),
        (Status(502), 1),
        (Status(503, {"Retry-After": "1"}), 1),
        (Drop(), 2),  # on a connection that was kept open, the HTTP library tries once more
        (Hang(), 1),
    ],
    ids=str,
)
async def test_tag__that_cannot_be_asked_about_is_served_stale(
    hub: FakeHub, warm: RunningMirror, clock: Clock, fault: Fault, requests: int
) -> None:
    clock.advance(TTL)
    hub.fault("manifest", fault)
    async with asyncio.timeout(3):
        assert await asked(warm) == (200, "stale", OLD.manifest)
    assert hub.count("registry") == hub.count("registry", "HEAD") == requests
    hub.clear_faults()
    hub.clear()
    status, outcome, body = await asked(warm)
    assert (status, body) == (200, OLD.manifest)
    # A question that hung may have got its answer by now.
    assert outcome == "revalidated" or (isinstance(fault, Hang) and outcome == "hit")


@pytest.mark.parametrize(
    ("code", "requests", "after"), [(401, 2, "revalidated"), (403, 1, "revalidated"), (404, 2, "miss")]
)
async def test_tag__that_the_upstream_will_not_show_any_more(
    hub: FakeHub, warm: RunningMirror, clock: Clock, code: int, requests: int, after: str
) -> None:
    """An answer, not a failure. A token that is refused is renewed, once; what a HEAD denies is asked by GET."""
    clock.advance(TTL)
    hub.fault("manifest", Status(code))
    answer = await warm.get(TAG)
    assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    assert hub.count("registry") == requests
    assert await asked(warm, manifest(OLD.digest)) == (200, "hit", OLD.manifest)
    hub.clear_faults()
    assert await asked(warm) == (200, after, OLD.manifest)


@pytest.mark.parametrize("fault", [Html200(), NoDigestHeader(), Empty200()], ids=str)
async def test_tag__head_that_says_nothing_is_put_right_by_a_get(
    hub: FakeHub, warm: RunningMirror, clock: Clock, fault: Fault
) -> None:
    hub.move_tag(NAME, "latest", NEW)
    clock.advance(TTL)
    hub.fault("manifest", fault, match="HEAD ")
    status, _, body = await asked(warm)
    said_nothing = not isinstance(fault, Empty200)  # that one has all its headers
    assert (status, body) == (200, NEW.manifest)
    assert hub.count("registry", "GET", TAG if said_nothing else NEW.digest) == 1


@pytest.mark.parametrize("servers", [("registry",), ("token",), ("registry", "token", "cdn")], ids=str)
async def test_tag__upstream_down(
    hub: FakeHub, warm: RunningMirror, clock: Clock, servers: tuple[ServerName, ...]
) -> None:
    hub.revoke_tokens()
    await hub.stop(*servers)
    clock.advance(TTL)
    assert await asked(warm) == (200, "stale", OLD.manifest)
    assert await asked(warm, manifest(OLD.digest)) == (200, "hit", OLD.manifest)
    clock.advance(365 * 86_400)
    assert await asked(warm) == (200, "stale", OLD.manifest)
    await hub.start(*servers)
    assert await asked(warm) == (200, "revalidated", OLD.manifest)


async def test_tag__slow_upstream_holds_up_nobody_for_longer_than_revalidate_timeout(
    hub: FakeHub, warm: RunningMirror, clock: Clock
) -> None:
    hub.move_tag(NAME, "latest", NEW)
    hub.latency = 0.6  # HEAD and GET together take longer than anybody waits, but not longer than the upstream may
    clock.advance(TTL)
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(asked(warm) for _ in range(5)))
    assert loop.time() - began < 1.5
    assert answers == [(200, "stale", OLD.manifest)] * 5
    # Nobody waits any more, yet the work is not thrown away.
    await asyncio.sleep(1.5)
    assert await asked(warm) == (200, "hit", NEW.manifest)
    assert hub.log() == [f"registry HEAD {TAG} 200", f"registry GET {manifest(NEW.digest)} 200"]


async def test_tag__moved_while_the_new_content_cannot_be_had(hub: FakeHub, warm: RunningMirror, clock: Clock) -> None:
    hub.move_tag(NAME, "latest", NEW)
    hub.fault("manifest", Status(500), match="GET ")
    clock.advance(TTL)
    assert await asked(warm) == (200, "stale", OLD.manifest)
    hub.clear_faults()
    assert await asked(warm) == (200, "miss", NEW.manifest)


async def test_tag__limit_of_pulls_reached_does_not_matter_to_what_is_here(
    hub: FakeHub, warm: RunningMirror, clock: Clock
) -> None:
    """Hub counts GETs of manifests; HEADs are free, so revalidation goes on."""
    hub.rate_limit = hub.pulls
    clock.advance(TTL)
    assert await asked(warm) == (200, "revalidated", OLD.manifest)
    hub.move_tag(NAME, "latest", NEW)
    clock.advance(TTL)
    assert await asked(warm) == (200, "stale", OLD.manifest)
    assert hub.pulls == hub.rate_limit
