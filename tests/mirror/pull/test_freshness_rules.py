"""How fresh is fresh enough: by pattern, for ever, behind the answer, and for how long without an upstream."""

import asyncio
from typing import Any

import pytest

from tests.conftest import Clock, RunningMirror, Server
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, manifest, until

OLD, NEW = make_image("old", [100]), make_image("new", [100])
TTL = 300.0
DAY = 86_400.0


async def warm(hub: FakeHub, server: Server, tags: list[str], **upstream: Any) -> RunningMirror:
    mirror = await server(upstream={"tag_ttl": TTL, **upstream})
    for tag in tags:
        hub.add_image(NAME, tag, OLD)
        assert (await mirror.get(manifest(tag))).status == 200
        hub.move_tag(NAME, tag, NEW)
    hub.clear()
    return mirror


async def outcome(mirror: RunningMirror, tag: str) -> str:
    return str((await mirror.get(manifest(tag))).headers["X-Cache"])


async def test_each_pattern_has_its_ttl(hub: FakeHub, server: Server, clock: Clock) -> None:
    ttls = {"library/*:v*": "forever", "*:nightly": "1m", "*:slow": "1d"}
    mirror = await warm(hub, server, ["v1.2", "nightly", "slow", "latest"], tag_ttls=ttls)
    clock.advance(60)
    assert [await outcome(mirror, tag) for tag in ("v1.2", "nightly", "slow", "latest")] == [
        "hit",
        "miss",
        "hit",
        "hit",
    ]
    clock.advance(TTL)
    assert [await outcome(mirror, tag) for tag in ("v1.2", "slow", "latest")] == ["hit", "hit", "miss"]
    clock.advance(3650 * DAY)
    assert [await outcome(mirror, tag) for tag in ("v1.2", "slow")] == ["hit", "miss"]


async def test_signatures_are_not_kept_for_long(hub: FakeHub, server: Server, clock: Clock) -> None:
    tag = OLD.digest.replace(":", "-")
    mirror = await warm(hub, server, [tag, f"{tag}.sig", "latest"])
    clock.advance(30)
    assert [await outcome(mirror, one) for one in (tag, f"{tag}.sig", "latest")] == ["miss", "miss", "hit"]


async def test_stale_while_revalidate(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await warm(hub, server, ["latest"], stale_while_revalidate="1h")
    clock.advance(TTL)
    hub.latency = 0.2
    answer = await mirror.get(manifest("latest"))
    assert (answer.headers["X-Cache"], answer.body) == ("stale", OLD.manifest)
    await until(lambda: len(hub.log()) == 2)
    await until_body(mirror, NEW.manifest)
    hub.move_tag(NAME, "latest", OLD)
    clock.advance(TTL + 3600)
    assert (await mirror.get(manifest("latest"))).body == OLD.manifest


async def until_body(mirror: RunningMirror, body: bytes) -> None:
    for _ in range(200):
        answer = await mirror.get(manifest("latest"))
        if answer.body == body:
            return
        await asyncio.sleep(0.02)
    pytest.fail("it was not looked for behind the answer")


async def test_stale_if_error_has_an_end(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await warm(hub, server, ["latest"], stale_if_error="1d")
    await hub.stop("registry")
    clock.advance(TTL + DAY - 1)
    assert await outcome(mirror, "latest") == "stale"
    clock.advance(2)
    answer = await mirror.get(manifest("latest"))
    assert (answer.status, answer.json()["errors"][0]["code"]) == (502, "UPSTREAM_FAILED")
    assert (await mirror.get(manifest(OLD.digest))).status == 200


async def test_what_is_missing_is_asked_for_once_in_a_while(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await server(upstream={"negative_ttl": "10s"})
    hub.add_image(NAME, "other", NEW)
    for method in ("HEAD", "GET", "GET"):
        assert (await mirror.request(method, manifest("latest"))).status == 404
    assert hub.count("registry", path_contains="/manifests/") == 2  # a challenge, and an answer
    hub.add_image(NAME, "latest", OLD)
    clock.advance(9)
    assert (await mirror.get(manifest("latest"))).status == 404
    assert (await mirror.get(manifest(OLD.digest))).status == 200  # only what was asked for
    clock.advance(1)
    assert (await mirror.get(manifest("latest"))).status == 200


async def test_a_failure_is_not_an_absence(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"negative_ttl": "1h"})
    hub.add_image(NAME, "latest", OLD)
    await hub.stop("registry")
    assert (await mirror.get(manifest("latest"))).status == 502
    await hub.start("registry")
    assert (await mirror.get(manifest("latest"))).status == 200
