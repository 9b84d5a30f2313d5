"""Many clients, one download: whoever comes, leaves or dawdles, the upstream is asked once and nobody is held up."""

import asyncio
import json

import pytest

from mirror.http.stream import _BLOCK
from ocispec.names import Reference
from storage.hot import StoredManifest
from storage.repository import Repository
from tests.conftest import Clock, RunningMirror, Server
from tests.fakes.faults import Hang, NoLength
from tests.fakes.images import make_image, random_blob
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import (
    NAME,
    Got,
    blob,
    cold_blob,
    cold_manifest,
    connect,
    fetch,
    here,
    manifest,
    partial_size,
    read_head,
    send_head,
    stored,
    until,
)

DIGEST, DATA = random_blob("together", 3_000_000)
HALF = len(DATA) // 2


async def test_fifty_clients_pull_one_cold_image(hub: FakeHub, mirror: RunningMirror) -> None:
    image = make_image("fifty", [200_000, 1000])
    hub.add_image(NAME, "latest", image)
    hub.latency = 0.1

    async def pull() -> list[Got]:
        got = [await fetch(mirror, manifest("latest"))]
        document = json.loads(got[0].body)
        wanted = [document["config"], *document["layers"]]
        return got + await asyncio.gather(*(fetch(mirror, blob(descriptor["digest"])) for descriptor in wanted))

    expected = [image.manifest, *(image.blobs[digest] for digest in (image.config, *image.layers))]
    for got in await asyncio.gather(*(pull() for _ in range(50))):
        assert [one.full_body for one in got] == expected
    asked = cold_manifest("latest")
    for digest in (image.config, *image.layers):
        asked += cold_blob(digest)
    assert sorted(hub.log()) == sorted(asked)


class _SlowLook:
    """Holds back the answer of the first look into the store until the second client is served."""

    def __init__(self, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
        self._find, self._looks = mirror.store.manifests.find, 0
        self.looked, self.go_on = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(mirror.store.manifests, "find", self)

    async def __call__(self, repository: Repository, reference: Reference) -> StoredManifest | None:
        self._looks += 1
        first, found = self._looks == 1, await self._find(repository, reference)
        if first:
            self.looked.set()
            await self.go_on.wait()
        return found


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "no longer fresh"])
async def test_who_looked_before_another_one_was_served_does_not_ask_again(
    hub: FakeHub, mirror: RunningMirror, clock: Clock, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    hub.add_image(NAME, "latest", make_image("race", [1000]))
    if warm:
        await fetch(mirror, manifest("latest"))
        clock.advance(mirror.config.upstreams["dockerhub"].tag_ttl + 1)
        hub.clear()
    look = _SlowLook(mirror, monkeypatch)
    early = asyncio.create_task(fetch(mirror, manifest("latest")))
    await look.looked.wait()
    assert (await fetch(mirror, manifest("latest"))).status == 200
    look.go_on.set()
    assert (await early).status == 200
    assert len([line for line in hub.log() if "/manifests/" in line and line.endswith(" 200")]) == 1


async def test_late_comer_joins_and_gets_every_byte(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", HALF))
    first = asyncio.create_task(fetch(mirror, blob(DIGEST)))
    await until(lambda: partial_size(mirror, DIGEST) == HALF)
    late = asyncio.create_task(fetch(mirror, blob(DIGEST)))
    await asyncio.sleep(0.05)
    assert not late.done()
    hub.release()
    assert (await first).full_body == (await late).full_body == DATA
    assert (await late).headers["X-Cache"] == "joined"
    assert hub.log()[2:] == cold_blob(DIGEST)


async def test_every_byte_that_is_here_is_handed_on_at_once(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", HALF))
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "GET", blob(DIGEST))
        status, headers = await read_head(reader)
        assert (status, headers["Content-Length"], headers["X-Cache"]) == (200, str(len(DATA)), "miss")
        assert await asyncio.wait_for(reader.readexactly(HALF), 5) == DATA[:HALF]
        hub.release()
        assert await asyncio.wait_for(reader.readexactly(len(DATA) - HALF), 5) == DATA[HALF:]


async def test_last_byte_is_held_back_until_the_digest_is_right(hub: FakeHub, mirror: RunningMirror) -> None:
    """All bytes but one: a client cannot take that for the whole, and it is not the whole yet."""
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", len(DATA) - 1))
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "GET", blob(DIGEST))
        await read_head(reader)
        assert await asyncio.wait_for(reader.readexactly(len(DATA) - 1), 5) == DATA[:-1]
        assert stored(mirror) == set()
        hub.release()
        assert await asyncio.wait_for(reader.readexactly(1), 5) == DATA[-1:]


async def test_client_that_leaves_does_not_stop_the_download(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", HALF))
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "GET", blob(DIGEST))
        await read_head(reader)
        await reader.readexactly(1000)
    assert stored(mirror) == set()
    hub.release()
    await here(mirror, DIGEST)
    hub.clear()
    got = await fetch(mirror, blob(DIGEST))
    assert (got.full_body, got.headers["X-Cache"]) == (DATA, "hit")
    assert hub.log() == []


async def test_client_that_leaves_before_the_upstream_has_answered(hub: FakeHub, mirror: RunningMirror) -> None:
    image = make_image("leaves", [1000])
    hub.add_image(NAME, "latest", image)
    hub.add_blob(NAME, DATA)
    hub.latency = 0.2
    for path in (manifest("latest"), blob(DIGEST)):
        async with connect(mirror) as (_, writer):
            await send_head(writer, "GET", path)
            await until(lambda wanted=path: hub.count("registry", path_contains=wanted) == 1)  # type: ignore[misc]
    await here(mirror, DIGEST, image.digest)


async def test_slow_client_holds_up_neither_the_download_nor_the_others(hub: FakeHub, server: Server) -> None:
    mirror = await server()
    digest, data = random_blob("slow client", 12_000_000)  # more than all the buffers between the two
    hub.add_blob(NAME, data)
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "GET", blob(digest))
        await read_head(reader)
        assert (await fetch(mirror, blob(digest))).full_body == data
        await here(mirror, digest)
        body = await asyncio.wait_for(reader.readexactly(len(data)), 10)
        assert body == data
    assert hub.count("cdn") == 1


async def test_length_that_nobody_knows_is_sent_in_chunks(hub: FakeHub, mirror: RunningMirror) -> None:
    digest, data = random_blob("unknown length", 3 * _BLOCK + 17)
    hub.add_blob(NAME, data)
    hub.fault("cdn", NoLength())
    hub.bandwidth = 2e6  # so that it is still arriving when the second one comes
    first, late = await asyncio.gather(fetch(mirror, blob(digest)), fetch(mirror, blob(digest)))
    for got in (first, late):
        assert got.full_body == data
        assert "Content-Length" not in got.headers
    assert hub.count("cdn") == 1


async def test_length_that_only_the_manifest_knows(hub: FakeHub, mirror: RunningMirror) -> None:
    image = make_image("described", [50_000])
    hub.add_image(NAME, "latest", image)
    hub.fault("cdn", NoLength())
    await mirror.get(manifest("latest"))
    got = await fetch(mirror, blob(image.layers[0]))
    assert got.full_body == image.blobs[image.layers[0]]
    assert got.headers["Content-Length"] == str(len(got.body))


async def test_fifty_clients_share_one_failure(hub: FakeHub, mirror: RunningMirror) -> None:
    """All of them learn of it; none of them starts another storm of requests."""
    hub.add_blob(NAME, DATA)
    await hub.stop("cdn")
    async with asyncio.timeout(10):
        got = await asyncio.gather(*(fetch(mirror, blob(DIGEST)) for _ in range(50)))
    assert {(one.status, one.complete) for one in got} == {(502, True)}
    assert hub.count("registry", "GET") == 1 + 3  # the challenge, and three tries in all
    await hub.start("cdn")
    assert (await fetch(mirror, blob(DIGEST))).full_body == DATA


async def test_who_joined_a_download_that_its_source_refuses_gets_it_from_its_own(
    hub: FakeHub, mirror: RunningMirror
) -> None:
    """Anybody can ask for a digest under a name that does not have it; it must not be their answer that others get."""
    hub.add_blob(NAME, DATA)
    hub.add_blob("no/such", b"something else")
    hub.fault("blob", Hang("headers"), match="no/such", times=1)
    wrong = asyncio.create_task(fetch(mirror, blob(DIGEST, "no/such")))
    await until(lambda: hub.count("registry", path_contains="no/such/blobs") == 2)  # challenged, and asked again
    right = asyncio.create_task(fetch(mirror, blob(DIGEST)))
    await asyncio.sleep(0.2)
    assert not right.done()
    hub.release()
    assert (await wrong).status == 404
    assert (await right).full_body == DATA
