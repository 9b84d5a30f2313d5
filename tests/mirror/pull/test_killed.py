"""kill -9 of a real server in the middle of a download: what came is on the disk, and only the rest is asked for."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from mirror.pull.window import PART_BYTES
from ocispec.digest import Digest
from storage.layout import Layout
from tests.crash.server import Server
from tests.fakes.faults import Hang
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, cdn_path, manifest, until

IMAGE = make_image("killed", [3 * PART_BYTES])
(LAYER,) = IMAGE.layers
DATA = IMAGE.blobs[LAYER]
CAME = 1_000_000


@pytest.fixture
async def killed(hub: FakeHub, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A server that was killed when so much had come, and runs again; the hub has forgotten the requests."""
    hub.add_image(NAME, "latest", IMAGE)
    lines = ["[upstreams.dockerhub]", f'url = "{hub.url}"', f"connections_per_blob = {request.param}"]
    lines += [f'token_hosts = ["{hub.token_host}"]', f'redirect_hosts = ["{hub.cdn_host}"]', 'prefetch = "off"']
    server = Server(tmp_path, lines)
    try:
        await server.start()
        await kill_in_the_middle(hub, server)
        await server.start()
        yield server
    finally:
        await server.close()


async def kill_in_the_middle(hub: FakeHub, server: Server) -> None:
    assert await get(server, manifest("latest")) == IMAGE.manifest
    hub.fault("cdn", Hang("body", CAME))
    client = asyncio.create_task(get(server, blob(LAYER)))
    file = Layout(server.store).partial(Digest.parse(LAYER))
    await until(lambda: file.exists() and file.stat().st_size == CAME)
    server.kill()
    await server.ended()
    with pytest.raises(ClientError):
        await client
    assert file.read_bytes() == DATA[:CAME]
    hub.clear_faults()
    hub.clear()


async def get(server: Server, path: str) -> bytes:
    async with ClientSession() as session, session.get(server.url + path) as response:
        assert response.status == 200
        return await response.read()


def asked(hub: FakeHub) -> list[str]:
    return [seen.headers.get("Range", "") for seen in hub.requests if seen.server == "cdn"]


@pytest.mark.parametrize("killed", [1], indirect=True)
async def test_the_rest_is_one_request(hub: FakeHub, killed: Server) -> None:
    """Without If-Range: nothing but the bytes has survived, and the digest is over these, too."""
    assert await get(killed, blob(LAYER)) == DATA
    assert hub.log() == [
        f"registry GET {blob(LAYER)} 401",
        "token GET /token 200",
        f"registry GET {blob(LAYER)} 307",
        f"cdn GET {cdn_path(LAYER)} 206",
    ]
    assert asked(hub) == [f"bytes={CAME}-"]
    hub.clear()
    assert await get(killed, blob(LAYER)) == DATA
    assert hub.log() == []


@pytest.mark.parametrize("killed", [4], indirect=True)
async def test_the_rest_comes_by_several_connections(hub: FakeHub, killed: Server) -> None:
    assert await get(killed, blob(LAYER)) == DATA
    ends = [*range(PART_BYTES, len(DATA), PART_BYTES), len(DATA)]
    firsts = [CAME, *ends[:-1]]
    assert Counter(asked(hub)) == Counter(f"bytes={first}-{end - 1}" for first, end in zip(firsts, ends, strict=True))
