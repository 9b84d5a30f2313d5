"""Several endpoints of one registry: the first that answers is asked, and the next where it does not."""

import logging
from collections.abc import AsyncIterator

import pytest

from mirror.upstream import health
from tests.conftest import RunningMirror, Server
from tests.fakes.faults import CutAt, Drop, Fault, Status
from tests.fakes.images import make_image, random_blob
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, cold_manifest, fetch, manifest

IMAGE = make_image("endpoints", [1000])


Both = tuple[FakeHub, RunningMirror]


@pytest.fixture
async def both(hub: FakeHub, server: Server) -> AsyncIterator[Both]:
    """A second hub with the same content, and a server before the two."""
    async with FakeHub() as second:
        for one in (hub, second):
            one.add_image(NAME, "latest", IMAGE)
        yield (
            second,
            await server(
                upstream={
                    "url": "",
                    "urls": [hub.url, second.url],
                    "token_hosts": [hub.token_host, second.token_host],
                    "redirect_hosts": [hub.cdn_host, second.cdn_host],
                    "tag_ttl": 0,
                }
            ),
        )


async def test_the_first_is_asked_and_the_second_is_left_alone(hub: FakeHub, both: Both) -> None:
    second, mirror = both
    for path in (manifest("latest"), blob(IMAGE.config)):
        assert (await fetch(mirror, path)).status == 200
    assert second.log() == []


@pytest.mark.parametrize("fault", [Status(500), Status(503), Status(429), Drop()], ids=str)
async def test_where_the_first_fails_the_second_is_asked(hub: FakeHub, both: Both, fault: Fault) -> None:
    second, mirror = both
    for where in ("manifest", "blob", "tags"):
        hub.fault(where, fault)
    assert (await fetch(mirror, manifest("latest"))).full_body == IMAGE.manifest
    assert (await fetch(mirror, blob(IMAGE.config))).full_body == IMAGE.blobs[IMAGE.config]
    assert (await mirror.get(f"/v2/{NAME}/tags/list")).json()["tags"] == ["latest"]
    assert second.log()[:3] == cold_manifest("latest")


async def test_one_that_is_down(hub: FakeHub, both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_FAILURES", 3)
    second, mirror = both
    await hub.stop("registry")
    for _ in range(5):
        assert (await fetch(mirror, manifest("latest"))).full_body == IMAGE.manifest
    await second.stop("registry")
    assert (await fetch(mirror, manifest("latest"))).headers["X-Cache"] == "stale"


async def test_it_is_said_once_when_it_begins_and_when_it_ends(
    hub: FakeHub, both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, mirror = both
    hub.fault("manifest", Status(500))
    for _ in range(5):
        assert (await fetch(mirror, manifest("latest"))).full_body == IMAGE.manifest
    assert said(caplog) == ["asking the next endpoint"] * 2  # once for the first pull, once for HEADs of its tag
    hub.clear_faults()
    for _ in range(2):
        assert (await fetch(mirror, manifest("latest"))).headers["X-Cache"] == "revalidated"
    assert said(caplog)[2:] == ["an endpoint that was passed over answers again"]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name == "mirror.upstream.endpoints"]


async def test_pulls_begin_where_the_budget_is_not_nearly_spent(hub: FakeHub, both: Both) -> None:
    second, mirror = both
    for one in (hub, second):
        for number in range(4):
            one.add_image(NAME, f"v{number}", make_image(f"endpoints/{number}", []))
    hub.rate_limit = 6  # of which the last five are kept
    assert (await fetch(mirror, manifest("v0"))).status == 200
    assert second.log() == []
    assert (await fetch(mirror, manifest("v1"))).status == 200
    assert (await fetch(mirror, manifest("v2"))).status == 200
    assert (hub.pulls, second.pulls) == (1, 2)
    hub.rate_limit = 100
    assert (await fetch(mirror, manifest("v0"))).headers["X-Cache"] == "revalidated"  # the first one is asked, for free
    assert (await fetch(mirror, manifest("v3"))).status == 200
    assert (hub.pulls, second.pulls) == (2, 2)


async def test_what_the_first_does_not_have_is_not_had(hub: FakeHub, both: Both) -> None:
    second, mirror = both
    assert (await fetch(mirror, manifest("missing"))).status == 404
    assert second.log() == []


async def test_a_blob_that_breaks_off_goes_on_at_the_second(hub: FakeHub, both: Both) -> None:
    second, mirror = both
    digest, data = random_blob("endpoints", 3_000_000)
    for one in (hub, second):
        one.add_blob(NAME, data)
    hub.fault("cdn", CutAt(1_000))
    assert (await fetch(mirror, blob(digest))).full_body == data
    assert (hub.count("cdn"), second.count("cdn")) == (1, 1)


async def test_a_list_comes_from_the_second(hub: FakeHub, both: Both) -> None:
    second, mirror = both
    hub.fault("tags", Status(500))
    assert (await mirror.get(f"/v2/{NAME}/tags/list")).json()["tags"] == ["latest"]
    assert second.count("registry", path_contains="/tags/") == 2  # a challenge, and an answer


@pytest.mark.parametrize("fault", [Status(401), Status(404)], ids=str)
async def test_what_the_second_does_not_have_proves_nothing(hub: FakeHub, both: Both, fault: Fault) -> None:
    second, mirror = both
    assert (await fetch(mirror, manifest("latest"))).status == 200
    hub.fault("manifest", Status(503))
    second.fault("manifest", fault)
    got = await fetch(mirror, manifest("latest"))
    assert (got.full_body, got.headers["X-Cache"]) == (IMAGE.manifest, "stale")
    assert (await fetch(mirror, manifest("other"))).status == 502


async def test_each_endpoint_gets_its_own_token_only(hub: FakeHub, both: Both) -> None:
    second, mirror = both
    hub.fault("manifest", Status(500))
    await fetch(mirror, manifest("latest"))
    theirs = {seen.headers.get("Authorization") for seen in hub.requests if "Authorization" in seen.headers}
    others = {seen.headers.get("Authorization") for seen in second.requests if "Authorization" in seen.headers}
    assert theirs
    assert others
    assert not theirs & others
