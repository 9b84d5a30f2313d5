"""A download whose last client has left: finished; or stopped, if the operator wants that and it has not come far."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from mirror.http import stream
from mirror.http.keys import SERVICES
from mirror.routing import owner
from ocispec.digest import Digest
from tests.conftest import RunningMirror, Server
from tests.fakes.faults import Hang
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import (
    NAME,
    blob,
    connect,
    fetch,
    here,
    layout,
    manifest,
    partial_size,
    read_head,
    send_head,
    until,
)

IMAGE = make_image("abandoned", [1_000_000])
(LAYER,) = IMAGE.layers
DATA = IMAGE.blobs[LAYER]
SIZE = len(DATA)
LITTLE, MUCH = 200_000, 600_000
HALF = {"abandon_below": 0.5}


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_LOOK_SECONDS", 0.05)


async def arriving(hub: FakeHub, mirror: RunningMirror, came: int) -> None:
    """From here on the next download of the blob waits when so much has come."""
    hub.add_image(NAME, "latest", IMAGE)
    await mirror.get(manifest("latest"))
    hub.fault("cdn", Hang("body", came), times=1, match=LAYER[7:])
    hub.clear()


class Clients:
    """Clients that wait for the blob until they are told to leave."""

    def __init__(self, mirror: RunningMirror) -> None:
        self._mirror, self._stacks = mirror, list[AsyncExitStack]()

    async def come(self, came: int, **headers: str) -> None:
        stack = AsyncExitStack()
        self._stacks.append(stack)
        reader, writer = await stack.enter_async_context(connect(self._mirror))
        await send_head(writer, "GET", blob(LAYER), **headers)
        await read_head(reader)
        await until(lambda: partial_size(self._mirror, LAYER) == came)

    async def leave(self) -> None:
        await self._stacks.pop().aclose()


def is_arriving(mirror: RunningMirror) -> bool:
    return mirror.application[SERVICES].blob_pulls._downloads.find(Digest.parse(LAYER)) is not None


def asked(hub: FakeHub) -> list[str]:
    return [seen.headers.get("Range", "") for seen in hub.requests if seen.server == "cdn"]


async def test_by_default_it_is_finished(hub: FakeHub, mirror: RunningMirror) -> None:
    await arriving(hub, mirror, LITTLE)
    clients = Clients(mirror)
    await clients.come(LITTLE)
    await clients.leave()
    await asyncio.sleep(0.3)
    assert is_arriving(mirror)
    hub.release()
    await here(mirror, LAYER)
    assert asked(hub) == [""]


async def test_little_is_stopped_and_gone_on_with(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=HALF)
    await arriving(hub, mirror, LITTLE)
    clients = Clients(mirror)
    await clients.come(LITTLE)
    await clients.leave()
    await until(lambda: not is_arriving(mirror))
    assert partial_size(mirror, LAYER) == LITTLE
    assert (await fetch(mirror, blob(LAYER))).full_body == DATA
    await here(mirror, LAYER)
    assert asked(hub) == ["", f"bytes={LITTLE}-"]


async def test_much_is_finished(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=HALF)
    await arriving(hub, mirror, MUCH)
    clients = Clients(mirror)
    await clients.come(MUCH)
    await clients.leave()
    await asyncio.sleep(0.3)
    assert is_arriving(mirror)
    hub.release()
    await here(mirror, LAYER)
    assert asked(hub) == [""]


async def test_it_goes_on_as_long_as_one_is_left(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=HALF)
    await arriving(hub, mirror, LITTLE)
    clients = Clients(mirror)
    for headers in ({}, {"Range": "bytes=100000-"}):
        await clients.come(LITTLE, **headers)
    stays = asyncio.create_task(fetch(mirror, blob(LAYER)))
    for _ in range(2):
        await clients.leave()
    await asyncio.sleep(0.3)
    hub.release()
    assert (await stays).full_body == DATA
    assert asked(hub) == [""]


async def test_the_last_of_several_stops_it(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=HALF)
    await arriving(hub, mirror, LITTLE)
    clients = Clients(mirror)
    for _ in range(3):
        await clients.come(LITTLE)
    await clients.leave()
    await clients.leave()
    await asyncio.sleep(0.2)
    assert is_arriving(mirror)
    await clients.leave()
    await until(lambda: not is_arriving(mirror))


async def test_who_has_had_its_part_has_not_left(hub: FakeHub, server: Server) -> None:
    """Lazy-pulling clients come with one part after the other."""
    mirror = await server(upstream=HALF)
    await arriving(hub, mirror, LITTLE)
    assert (await fetch(mirror, blob(LAYER), Range="bytes=0-999")).full_body == DATA[:1000]
    await until(lambda: partial_size(mirror, LAYER) == LITTLE)
    await asyncio.sleep(0.2)
    assert is_arriving(mirror)
    hub.release()
    await here(mirror, LAYER)
    assert asked(hub) == [""]


async def test_upstream_that_has_not_answered_yet(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=HALF)
    await arriving(hub, mirror, LITTLE)
    hub.clear_faults()
    hub.fault("cdn", Hang("headers"), times=1)
    async with connect(mirror) as (_, writer):
        await send_head(writer, "GET", blob(LAYER))
        await until(lambda: hub.count("cdn") == 1)
    await until(lambda: not is_arriving(mirror))
    assert (await fetch(mirror, blob(LAYER))).full_body == DATA
    assert asked(hub) == ["", ""]


async def test_who_comes_while_it_is_stopped_begins_where_it_ended(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=HALF)
    await arriving(hub, mirror, LITTLE)
    clients = Clients(mirror)
    await clients.come(LITTLE)
    downloads = mirror.application[SERVICES].blob_pulls._downloads
    download = downloads.find(Digest.parse(LAYER))
    assert download is not None
    downloads.leave(download, gone=True)
    assert downloads.find(Digest.parse(LAYER)) is None
    assert (await fetch(mirror, blob(LAYER))).full_body == DATA
    assert asked(hub) == ["", f"bytes={LITTLE}-"]
    await clients.leave()


async def test_it_has_hardly_begun(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=HALF)
    await arriving(hub, mirror, LITTLE)
    hub.clear_faults()
    services = mirror.application[SERVICES]
    repository = owner(services.names.read(NAME, None), services.store.repositories)
    downloads = services.blob_pulls._downloads
    download, _ = await downloads.start(repository, Digest.parse(LAYER), SIZE)
    assert download is not None
    downloads.follow(download)
    downloads.leave(download, gone=True)
    assert (await fetch(mirror, blob(LAYER))).full_body == DATA


async def test_several_connections_are_stopped_too(hub: FakeHub, server: Server) -> None:
    long = make_image("abandoned/long", [12 * 2**20])
    (digest,) = long.layers
    mirror = await server(upstream=HALF | {"connections_per_blob": 4})
    hub.add_image(NAME, "long", long)
    await mirror.get(manifest("long"))
    hub.fault("cdn", Hang("body", 1000), match=digest[7:])
    async with connect(mirror) as (_, writer):
        await send_head(writer, "GET", blob(digest))
        await until(lambda: partial_size(mirror, digest) == 1000)
    await until(lambda: len(hub._cdn._server.connections) == 0)  # type: ignore[union-attr]
    assert layout(mirror).partial(Digest.parse(digest)).read_bytes() == long.blobs[digest][:1000]


async def test_what_nobody_has_followed_is_not_abandoned(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=HALF | {"prefetch": "layers"})
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("cdn", Hang("body", LITTLE), times=1, match=LAYER[7:])
    await mirror.get(manifest("latest"))
    await until(lambda: partial_size(mirror, LAYER) == LITTLE)
    await asyncio.sleep(0.2)
    assert is_arriving(mirror)
    clients = Clients(mirror)
    await clients.come(LITTLE)
    await clients.leave()
    await until(lambda: not is_arriving(mirror))


async def test_what_is_warmed_goes_on_whoever_leaves(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=HALF)
    await arriving(hub, mirror, LITTLE)
    downloads, place = mirror.application[SERVICES].blob_pulls, mirror.application[SERVICES].names.read(NAME, None)
    warmed = await downloads.open(place, Digest.parse(LAYER))
    order = asyncio.create_task(warmed.completed())  # type: ignore[union-attr]
    clients = Clients(mirror)
    await clients.come(LITTLE)
    await clients.leave()
    await asyncio.sleep(0.2)
    order.cancel()
    await asyncio.sleep(0.1)
    assert is_arriving(mirror)
    hub.release()
    await here(mirror, LAYER)
    assert asked(hub) == [""]
