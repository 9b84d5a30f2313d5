"""The short way of a warm pull gives what the long way gives, and leaves to it whatever is not plain."""

import asyncio
import io
import json
from email.utils import parsedate_to_datetime

import pytest

from mirror.http.keys import DRAIN
from mirror.pull.manifest import ManifestPulls, PulledManifest
from mirror.routing import Place
from ocispec.names import Reference
from tests.conftest import RunningMirror, Server
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_image
from tests.mirror.wire import NAME, Got, connect, fetch, manifest, read_head, send_head

IMAGE = make_image("warm", [2000])
INDEX = "application/vnd.oci.image.index.v1+json"
LONG_WAY = '"something else"'  # the value of an If-None-Match that does not match


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The references that were not answered by the short way."""
    asked: list[str] = []
    original = ManifestPulls.get

    async def get(self: ManifestPulls, place: Place, reference: Reference) -> PulledManifest:
        asked.append(str(reference))
        return await original(self, place, reference)

    monkeypatch.setattr(ManifestPulls, "get", get)
    return asked


@pytest.fixture
async def warm(hub: FakeHub, long_ways: list[str], mirror: RunningMirror) -> RunningMirror:
    """A server that has both a cached and a pushed image in memory."""
    hub.add_image(NAME, "latest", IMAGE)
    await push_image(mirror, IMAGE, "v1", "team/app")
    for path in (manifest("latest"), manifest(IMAGE.digest), *(manifest(r, "team/app") for r in ("v1", IMAGE.digest))):
        assert (await fetch(mirror, path)).status == 200  # it is here
        assert (await fetch(mirror, path)).status == 200  # it is in memory
    long_ways.clear()
    return mirror


def facts(got: Got) -> tuple[int, list[tuple[str, str]], bytes]:
    return got.status, sorted((k, v) for k, v in got.headers.items() if k != "Date"), got.body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        manifest("latest"),
        manifest("latest", "nginx"),
        manifest("latest", "docker.io/library/nginx"),
        manifest("latest") + "?ns=docker.io",
        manifest(IMAGE.digest),
        manifest("v1", "team/app"),
        manifest(IMAGE.digest, "team/app"),
    ],
)
async def test_both_ways_say_the_same(warm: RunningMirror, long_ways: list[str], method: str, path: str) -> None:
    short = await fetch(warm, path, method)
    assert long_ways == []
    long = await fetch(warm, path, method, If_None_Match=LONG_WAY)
    assert len(long_ways) == 1
    assert facts(short) == facts(long)
    assert short.status == 200
    assert parsedate_to_datetime(short.headers["Date"]) <= parsedate_to_datetime(long.headers["Date"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (manifest("latest", "library%2Fnginx"), 200),
        (manifest("%6catest"), 200),
        (manifest("latest") + "?ns=docker%2Eio", 200),
        (manifest("latest") + "?ns=nowhere.example", 404),
        (manifest("latest", "Library/nginx"), 400),
        (manifest("sha256:0"), 400),
        (manifest("lat%0aest"), 400),
    ],
)
async def test_another_spelling_goes_the_long_way(warm: RunningMirror, path: str, status: int) -> None:
    async with connect(warm) as (reader, writer):
        await send_head(writer, "GET", path)
        assert (await read_head(reader))[0] == status


async def test_what_the_client_has_is_not_sent_again(warm: RunningMirror) -> None:
    assert (await fetch(warm, manifest("latest"), If_None_Match=f'"{IMAGE.digest}"')).status == 304


async def test_requests_in_a_row_are_answered_in_order(warm: RunningMirror) -> None:
    async with connect(warm) as (reader, writer):
        for reference in ("latest", "nothing", "latest"):
            await send_head(writer, "GET", manifest(reference))
        for status in (200, 404, 200):
            got, headers = await read_head(reader)
            assert got == status
            await reader.readexactly(int(headers["Content-Length"]))


@pytest.mark.parametrize("request_line", ["HTTP/1.0", "HTTP/1.1\r\nHost: x\r\nConnection: close"])
async def test_a_connection_that_is_to_end_ends(warm: RunningMirror, request_line: str) -> None:
    async with connect(warm) as (reader, writer):
        writer.write(f"GET {manifest('latest')} {request_line}\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.endswith(IMAGE.manifest)


async def test_a_server_that_stops_says_so(warm: RunningMirror) -> None:
    warm.application[DRAIN].stopping = True
    assert (await fetch(warm, manifest("latest"))).headers["Connection"] == "close"


async def test_a_client_that_takes_nothing_is_waited_for(access_log: io.StringIO, server: Server) -> None:
    mirror = await server()
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"padding": "x" * 2**19}}
    path = manifest("large", "team/app")
    assert (await mirror.put(path, data=json.dumps(index), headers={"Content-Type": INDEX})).status == 201
    assert (await mirror.get(path)).status == 200
    async with connect(mirror) as (_, writer):
        for _ in range(200):
            await send_head(writer, "GET", path)
        await asyncio.sleep(0.3)
        assert len(access_log.getvalue().splitlines()) < 50
