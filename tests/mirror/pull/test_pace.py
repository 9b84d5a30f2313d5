"""Limits that the operator has set for an upstream: what it sees of them, and what clients do."""

import asyncio
import time

import pytest

from mirror.config import Upstream
from mirror.http import stream
from mirror.http.keys import SERVICES
from mirror.upstream import health, limits
from mirror.upstream.client import UpstreamClient
from ocispec.digest import Digest
from ocispec.names import RepositoryName
from tests.conftest import RunningMirror, Server
from tests.fakes.faults import CutAt, Hang, Status
from tests.fakes.images import Image, make_image, random_blob
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, fetch, here, manifest, until

IMAGE = make_image("pace", [1000, 2000])
BLOBS = (IMAGE.config, *IMAGE.layers)


async def limited(server: Server, **limits: object) -> RunningMirror:
    return await server(upstream={f"max_{name}": value for name, value in limits.items()})


def hang(hub: FakeHub, digest: str) -> None:
    hub.fault("cdn", Hang("body", 10), match=digest.removeprefix("sha256:"))


async def test_fifty_clients_and_four_slots(hub: FakeHub, server: Server) -> None:
    mirror = await limited(server, requests_at_once=4)
    hub.latency = 0.01
    images = [make_image(f"pace/{number}", [100]) for number in range(25)]
    for number, image in enumerate(images):
        hub.add_image(NAME, f"v{number}", image)
    wanted = [*((manifest(f"v{n}"), image.manifest) for n, image in enumerate(images))]
    wanted += [(blob(image.layers[0]), image.blobs[image.layers[0]]) for image in images]
    got = await asyncio.gather(*(fetch(mirror, path) for path, _ in wanted))
    assert [one.full_body for one in got] == [body for _, body in wanted]
    assert hub.load.most == 4


async def test_endpoints_share_them(hub: FakeHub, server: Server) -> None:
    async with FakeHub() as second:
        second.load, second.repositories = hub.load, hub.repositories
        for one in (hub, second):
            one.latency = 0.01
        digests = [hub.add_blob(NAME, random_blob(f"pace/{number}", 100)[1]) for number in range(20)]
        for digest in digests[::2]:
            hub.fault("blob", Status(503), match=digest)
        mirror = await server(
            upstream={
                "url": "",
                "urls": [hub.url, second.url],
                "token_hosts": [hub.token_host, second.token_host],
                "redirect_hosts": [hub.cdn_host, second.cdn_host],
                "max_requests_at_once": 3,
            }
        )
        got = await asyncio.gather(*(fetch(mirror, blob(digest)) for digest in digests))
        assert [one.status for one in got] == [200] * 20
        assert (hub.count("cdn"), second.count("cdn"), hub.load.most) == (10, 10, 3)


async def test_a_slot_is_held_until_the_body_is_here(hub: FakeHub, server: Server) -> None:
    mirror = await limited(server, requests_at_once=1)
    hub.add_image(NAME, "latest", IMAGE)
    hang(hub, BLOBS[1])
    first = asyncio.create_task(fetch(mirror, blob(BLOBS[1])))
    await until(lambda: hub.count("cdn") == 1)
    second = asyncio.create_task(fetch(mirror, blob(BLOBS[2])))
    await asyncio.sleep(0.1)
    assert (hub.count("cdn"), second.done()) == (1, False)
    hub.clear_faults()
    assert [(await one).full_body for one in (first, second)] == [IMAGE.blobs[digest] for digest in BLOBS[1:]]


async def prefetching(server: Server, **limits: object) -> RunningMirror:
    return await server(upstream={"prefetch": "layers", **{f"max_{name}": value for name, value in limits.items()}})


async def test_prefetch__leaves_one_of_two_slots_to_clients(hub: FakeHub, server: Server) -> None:
    mirror = await prefetching(server, requests_at_once=2)
    hub.add_image(NAME, "latest", IMAGE)
    digest, data = random_blob("pace", 5000)
    hub.add_blob(NAME, data)
    for one in BLOBS:
        hang(hub, one)
    await fetch(mirror, manifest("latest"))
    await until(lambda: hub.count("cdn") == 1)
    assert (await fetch(mirror, blob(digest))).full_body == data
    assert hub.count("cdn") == 2
    hub.clear_faults()
    await here(mirror, *BLOBS)


async def test_prefetch__what_a_client_asks_for_does_not_stand_in_its_line(hub: FakeHub, server: Server) -> None:
    mirror = await prefetching(server, requests_at_once=2)
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("cdn", Hang("body", 10), times=1)
    await fetch(mirror, manifest("latest"))
    await until(lambda: hub.count("cdn") == 1)
    (hanging,) = [digest for digest in BLOBS if hub.count("cdn", path_contains=digest.removeprefix("sha256:"))]
    for digest in BLOBS:
        if digest != hanging:
            assert (await fetch(mirror, blob(digest))).full_body == IMAGE.blobs[digest]
    hub.release()
    await here(mirror, *BLOBS)


async def test_prefetch__gets_nothing_of_one_slot(hub: FakeHub, server: Server) -> None:
    mirror = await prefetching(server, requests_at_once=1)
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest"))
    await asyncio.sleep(0.2)
    assert hub.count("cdn") == 0
    assert (await fetch(mirror, blob(BLOBS[0]))).full_body == IMAGE.blobs[BLOBS[0]]


async def test_a_cached_tag_does_not_wait_for_a_slot_longer_than_for_an_answer(
    hub: FakeHub, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_FAILURES", 1)
    mirror = await server(upstream={"max_requests_at_once": 1, "tag_ttl": 0, "revalidate_timeout": 0.2})
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest"))
    hang(hub, BLOBS[1])
    holding = asyncio.create_task(fetch(mirror, blob(BLOBS[1])))
    await until(lambda: hub.count("cdn") == 1)
    hub.clear()
    assert (await fetch(mirror, manifest("latest"))).headers["X-Cache"] == "stale"
    await asyncio.sleep(0.1)
    assert hub.log() == []  # the upstream is not suspected of anything, either
    hub.clear_faults()
    assert (await holding).complete
    await until(lambda: hub.count("registry", "HEAD") > 0)  # it had stayed in line
    assert (await fetch(mirror, manifest("latest"))).headers["X-Cache"] == "revalidated"


async def test_requests_in_a_minute(hub: FakeHub, server: Server) -> None:
    mirror = await limited(server, requests_per_minute=2)
    hub.add_image(NAME, "latest", IMAGE)
    for digest in BLOBS[:2]:
        assert (await fetch(mirror, blob(digest))).status == 200
    hub.clear()
    waiting = asyncio.create_task(fetch(mirror, blob(BLOBS[2])))
    await asyncio.sleep(0.3)
    assert (hub.log(), waiting.done()) == ([], False)
    waiting.cancel()


async def test_bytes_in_a_second(hub: FakeHub, server: Server) -> None:
    mirror = await limited(server, bytes_per_second="400KB")
    blobs = [random_blob(f"pace/{number}", 200_000) for number in range(4)]
    for _, data in blobs:
        hub.add_blob(NAME, data)
    began = time.monotonic()
    got = await asyncio.gather(*(fetch(mirror, blob(digest)) for digest, _ in blobs))
    assert [one.full_body for one in got] == [data for _, data in blobs]
    # Less what need not be waited for any more when the last chunk is here: one of these, which are this long at most.
    assert time.monotonic() - began >= (4 * 200_000 - 2 * 2**17) / 400_000


# What an upstream says of its own limits


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 60.0)


async def pulled(mirror: RunningMirror, hub: FakeHub, tag: str) -> Image:
    image = make_image(f"pace/{tag}", [])
    hub.add_image(NAME, tag, image)
    assert (await fetch(mirror, manifest(tag))).status == 200
    return image


@pytest.mark.usefixtures("remembering")
async def test_429__met_by_a_prefetch_holds_back_prefetches_and_no_client(
    hub: FakeHub, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = await prefetching(server)
    hub.fault("blob", Status(429), times=1)
    image = await pulled(mirror, hub, "v1")
    await until(lambda: "download ended early" in caplog.text)
    hub.clear()
    other = await pulled(mirror, hub, "v2")
    await asyncio.sleep(0.2)
    assert hub.count("registry", path_contains="/blobs/") == 0
    for one in (image, other):
        assert (await fetch(mirror, blob(one.config))).full_body == one.blobs[one.config]


@pytest.mark.usefixtures("remembering")
async def test_429__met_by_a_client_is_for_everybody(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"prefetch": "off"})
    images = [await pulled(mirror, hub, tag) for tag in ("v1", "v2")]
    hub.fault("blob", Status(429), times=1)
    assert (await fetch(mirror, blob(images[0].config))).status == 503
    hub.clear()
    assert (await fetch(mirror, blob(images[1].config))).status == 503
    assert hub.log() == []


@pytest.mark.usefixtures("remembering")
async def test_429__met_for_a_client_that_has_joined_meanwhile_is_asked_about_once_more(
    hub: FakeHub, server: Server
) -> None:
    mirror = await prefetching(server)
    hub.latency = 0.3
    hub.fault("blob", Status(429), times=1)
    image = await pulled(mirror, hub, "v1")
    await until(lambda: hub.count("registry", path_contains="/blobs/") == 1)
    assert (await fetch(mirror, blob(image.config))).full_body == image.blobs[image.config]


async def test_429__of_a_blob_is_waited_out_before_its_first_byte_by_its_siblings_too(
    hub: FakeHub, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 0.3)
    mirror = await server(upstream={"prefetch": "off"})
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest"))
    hub.fault("blob", Status(429), times=1)
    first = asyncio.create_task(fetch(mirror, blob(BLOBS[0])))
    await until(lambda: hub.count("registry", path_contains="/blobs/") == 1)
    got = [await first, *await asyncio.gather(*(fetch(mirror, blob(digest)) for digest in BLOBS[1:]))]
    assert [one.full_body for one in got] == [IMAGE.blobs[digest] for digest in BLOBS]
    assert hub.count("registry", path_contains="/blobs/") == 4
    assert [record.getMessage() for record in caplog.records] == ["an upstream limits our requests"]


async def test_429__that_does_not_say_for_how_long_is_waited_out_in_the_middle_of_a_blob(
    hub: FakeHub, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 0.3)
    mirror = await server()
    digest, data = random_blob("pace", 500_000)
    hub.add_blob(NAME, data)
    hub.fault("cdn", CutAt(300_000), times=1)
    hub.latency = 0.2
    got = asyncio.create_task(fetch(mirror, blob(digest)))
    await until(lambda: hub.count("cdn") == 1)
    hub.fault("blob", Status(429), times=1)
    assert (await got).full_body == data
    assert hub.log()[-3].endswith(" 429")


async def test_what_goes_wrong_at_the_reader_is_not_the_upstreams_fault(hub: FakeHub) -> None:
    digest = hub.add_blob(NAME, b"x" * 100)
    section = {"host": "docker.io", "url": hub.url, "token_hosts": [hub.token_host], "redirect_hosts": [hub.cdn_host]}
    client = UpstreamClient(Upstream.model_validate(section))
    try:
        for error in (OSError("disk"), ValueError("mine"), TimeoutError()):
            with pytest.raises(type(error)) as caught:
                async with client.open_blob(RepositoryName(NAME), Digest.parse(digest)):
                    raise error
            assert caught.value is error
        assert (client.state.under_way, client.state.troubles) == (0, ())
    finally:
        await client.close()


async def test_questions_of_clients_that_have_left_leave_the_line(
    hub: FakeHub, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_LOOK_SECONDS", 0.02)
    mirror = await limited(server, requests_at_once=1)
    hub.add_image(NAME, "latest", IMAGE)
    hang(hub, BLOBS[1])
    holding = asyncio.create_task(fetch(mirror, blob(BLOBS[1])))
    await until(lambda: hub.count("cdn") == 1)
    hub.clear()
    upstream = waiting_at(mirror)
    leaving = [asyncio.create_task(fetch(mirror, manifest(f"gone{number}"))) for number in range(5)]
    shared = [asyncio.create_task(fetch(mirror, manifest("latest"))) for _ in range(2)]
    await until(lambda: upstream.state.waiting == 6)
    for task in [*leaving, shared[0]]:
        task.cancel()
    await until(lambda: upstream.state.waiting == 1)
    hub.clear_faults()
    assert (await holding).complete
    assert (await shared[1]).body == IMAGE.manifest
    assert not any("gone" in line for line in hub.log())


def waiting_at(mirror: RunningMirror) -> UpstreamClient:
    return mirror.application[SERVICES].manifest_pulls._upstreams["docker.io"]
