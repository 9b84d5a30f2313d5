"""`/metrics`: what Prometheus reads."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mirror.upstream import limits
from tests.conftest import RunningMirror, Server
from tests.fakes.faults import Status
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, fetch, manifest

IMAGE = make_image("metrics", [1000])
Labels = frozenset[tuple[str, str]]


async def scrape(mirror: RunningMirror) -> dict[tuple[str, Labels], float]:
    """Every sample, without the label that they all have."""
    answer = await mirror.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    samples = [one for family in text_string_to_metric_families(answer.body.decode()) for one in family.samples]
    assert {one.labels.pop("upstream") for one in samples} == {"docker.io"}
    return {(one.name.removeprefix("mirror_upstream_"), frozenset(one.labels.items())): one.value for one in samples}


def labels(**named: str) -> Labels:
    return frozenset(named.items())


async def test_requests_and_bytes(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    for path in (manifest("latest"), blob(IMAGE.layers[0]), manifest("missing"), "/v2/evil/evil/manifests/1"):
        await fetch(mirror, path)
    seen = await scrape(mirror)
    requests = {
        tuple(sorted(dict(key).values())): value for (name, key), value in seen.items() if name == "requests_total"
    }
    assert requests == {
        ("done", "manifest"): 1,
        ("blob", "done"): 1,
        ("absent", "manifest"): 1,
        ("manifest", "refused"): 1,
    }
    assert seen["received_bytes_total", labels()] > len(IMAGE.manifest) + 1000  # and tokens
    assert (seen["requests_under_way", labels()], seen["requests_waiting", labels()]) == (0, 0)
    asked = len(hub.requests)
    await scrape(mirror)
    assert len(hub.requests) == asked


async def test_budget_and_limits(hub: FakeHub, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 60.0)
    hub.accounts |= {"canary-name": "canary-password"}
    hub.add_image(NAME, "latest", IMAGE)
    mirror = await server(upstream={"username": "canary-name", "password": "canary-password"})
    account = labels(endpoint=hub.url, account="1")
    assert ("budget_remaining", account) not in await scrape(mirror)
    hub.rate_limit = 4
    await fetch(mirror, manifest("latest"))
    hub.fault("blob", Status(429))
    await fetch(mirror, blob(IMAGE.config))
    seen = await scrape(mirror)
    assert (seen["budget_remaining", account], seen["budget_limit", account]) == (3, 4)
    assert seen["budget_scarce", account] == 1
    assert 0 < seen["limited_seconds", account | labels(kind="blob")] <= 60
    assert seen["limited_seconds", account | labels(kind="manifest")] == 0
    assert b"canary" not in (await mirror.get("/metrics")).body


async def test_breaker(hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.upstream.health._FAILURES", 1)
    breaker = ("breaker_open", labels(endpoint=hub.url))
    assert (await scrape(mirror))[breaker] == 0
    await hub.stop("registry")
    await fetch(mirror, manifest("latest"))
    async with asyncio.timeout(20):
        while (await scrape(mirror))[breaker] != 1:
            await asyncio.sleep(0.01)
    await hub.start("registry")


async def test_openmetrics_where_it_is_asked_for(mirror: RunningMirror) -> None:
    answer = await mirror.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
async def test_plain_for_a_version_that_is_none(mirror: RunningMirror, kind: str) -> None:
    answer = await mirror.get("/metrics", headers={"Accept": f"{kind}; version=abc"})
    assert (answer.status, answer.headers["Content-Type"][:10]) == (200, "text/plain")
