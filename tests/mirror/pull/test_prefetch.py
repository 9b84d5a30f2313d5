"""Once a manifest is served, what it needs is on its way, and nobody waits for that."""

import asyncio
from pathlib import Path

import pytest

from mirror.http.keys import SERVICES
from mirror.pull import prefetch
from ocispec.digest import Digest
from tests.conftest import Clock, RunningMirror, Server, config_for, running
from tests.fakes.faults import Hang, Status
from tests.fakes.images import make_image, make_index
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, cold_blob, cold_manifest, fetch, here, manifest, until

IMAGE = make_image("prefetch", [1000, 2000, 3000])
BLOBS = (IMAGE.config, *IMAGE.layers)


@pytest.fixture
async def mirror(server: Server) -> RunningMirror:
    return await server(upstream={"prefetch": "layers"})


def everything() -> list[str]:
    return sorted([*cold_manifest("latest"), *(line for digest in BLOBS for line in cold_blob(digest))])


async def test_a_served_manifest_brings_its_blobs(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    assert (await fetch(mirror, manifest("latest"))).status == 200
    await here(mirror, *BLOBS)
    hub.clear()
    for digest in BLOBS:
        got = await fetch(mirror, blob(digest))
        assert (got.full_body, got.headers["X-Cache"]) == (IMAGE.blobs[digest], "hit")
    assert hub.log() == []


async def test_each_is_asked_for_once_whoever_wants_it(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.latency = 0.05

    async def pull() -> None:
        await fetch(mirror, manifest("latest"))
        got = await asyncio.gather(*(fetch(mirror, blob(digest)) for digest in BLOBS))
        assert [one.full_body for one in got] == [IMAGE.blobs[digest] for digest in BLOBS]

    await asyncio.gather(*(pull() for _ in range(20)))
    assert sorted(hub.log()) == everything()


async def test_a_head_brings_nothing(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    for _ in range(3):  # from the upstream, from the store, and from memory
        await fetch(mirror, manifest("latest"), "HEAD")
    await asyncio.sleep(0.2)
    assert hub.count("cdn") == 0


async def test_a_get_that_is_answered_from_memory_brings_them_too(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    for _ in range(2):
        await fetch(mirror, manifest("latest"), "HEAD")
    assert hub.count("cdn") == 0
    assert (await fetch(mirror, manifest("latest"))).headers["X-Cache"] == "hit"
    await here(mirror, *BLOBS)
    assert hub.count("cdn") == len(BLOBS)


async def test_only_whoever_gets_a_blob_makes_it_a_clients_download(hub: FakeHub, mirror: RunningMirror) -> None:
    layer = IMAGE.layers[0]
    hub.add_image(NAME, "latest", IMAGE)
    hub.repository("org/other")
    hub.fault("cdn", Hang("body", 10), match="GET")
    await fetch(mirror, manifest("latest"))
    await until(lambda: hub.count("cdn") == len(BLOBS))
    download = mirror.application[SERVICES].blob_pulls._downloads.find(Digest.parse(layer))
    assert download is not None
    for name in ("nobody/has", "org/other"):
        for method in ("HEAD", "GET"):
            assert (await fetch(mirror, blob(layer, name), method)).status == 404
    assert download.want.is_ahead
    task = asyncio.create_task(fetch(mirror, blob(layer)))
    await until(lambda: not download.want.is_ahead)
    hub.release()
    assert (await task).full_body == IMAGE.blobs[layer]


async def test_an_index_brings_nothing_and_the_platform_that_is_asked_for_does(
    hub: FakeHub, mirror: RunningMirror
) -> None:
    other = make_image("prefetch other", [500], architecture="arm64")
    hub.add_index(NAME, "latest", make_index([IMAGE, other]))
    await fetch(mirror, manifest("latest"))
    await asyncio.sleep(0.2)
    assert hub.count("cdn") == 0
    await fetch(mirror, manifest(IMAGE.digest))
    await here(mirror, *BLOBS)
    assert hub.count("cdn") == len(BLOBS)


async def test_what_was_not_fetched_is_fetched_after_a_restart(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    async with running(config_for(hub, tmp_path / "store"), clock) as before:
        await fetch(before, manifest("latest"))
    hub.clear()
    async with running(config_for(hub, tmp_path / "store", upstream={"prefetch": "layers"}), clock) as mirror:
        assert (await fetch(mirror, manifest("latest"))).headers["X-Cache"] == "hit"
        await here(mirror, *BLOBS)
    assert hub.count("cdn") == len(BLOBS)


async def test_so_many_at_a_time(hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_image("prefetch many", [100] * 20)
    hub.add_image(NAME, "latest", image)
    hub.fault("cdn", Hang("body", 10))
    await fetch(mirror, manifest("latest"))
    await until(lambda: hub.count("cdn") == prefetch._AT_A_TIME)
    await asyncio.sleep(0.1)
    assert hub.count("cdn") == prefetch._AT_A_TIME
    # Whoever asks for one that has not begun does not stand in that line.
    last = asyncio.create_task(fetch(mirror, blob(image.layers[-1])))
    await until(lambda: hub.count("cdn") == prefetch._AT_A_TIME + 1)
    hub.clear_faults()
    await last


async def test_what_fails_is_told_to_whoever_asks(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("cdn", Status(500))
    assert (await fetch(mirror, manifest("latest"))).status == 200
    await until(lambda: hub.count("cdn") >= len(BLOBS))
    hub.clear_faults()
    for digest in BLOBS:
        assert (await fetch(mirror, blob(digest))).full_body == IMAGE.blobs[digest]


async def test_a_server_that_stops_does_not_wait_for_it(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("cdn", Hang("body", 10))
    config = config_for(hub, tmp_path / "store", upstream={"prefetch": "layers"}, server={"drain_timeout": 60})
    async with asyncio.timeout(10), running(config, clock) as mirror:
        await fetch(mirror, manifest("latest"))
        await until(lambda: hub.count("cdn") == len(BLOBS))


async def test_off(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"prefetch": "off"})
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest"))
    await asyncio.sleep(0.2)
    assert hub.count("cdn") == 0


async def test_what_was_pushed_is_not_looked_for(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"prefetch": "layers"}, registry={"sparse_manifests": "all"})
    put = await mirror.put(manifest("v1", "team/app"), data=IMAGE.manifest, headers={"Content-Type": IMAGE.media_type})
    assert put.status == 201
    assert (await fetch(mirror, manifest("v1", "team/app"))).status == 200
    await asyncio.sleep(0.1)
    assert hub.log() == []


async def test_the_first_that_fails_is_the_last(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "_AT_A_TIME", 1)
    image = make_image("prefetch missing", [100] * 20)
    hub.add_image(NAME, "latest", image)
    hub.fault("blob", Status(404))
    for _ in range(3):
        await fetch(mirror, manifest("latest"))
    await asyncio.sleep(0.3)
    assert hub.count("registry", "GET", "/blobs/") <= prefetch._AT_A_TIME + 12


async def test_a_manifest_that_names_thousands_brings_none(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "_MAX_BLOBS", 3)
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest"))
    await asyncio.sleep(0.2)
    assert hub.count("cdn") == 0
