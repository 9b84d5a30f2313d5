"""Pushes that are refused: at the first request, with a reason that the client shows."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator

import pytest

from tests.conftest import Answer, RunningMirror, Server
from tests.fakes.images import digest_of, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import begin, code, push_blob, push_image, put_manifest, uploads
from tests.mirror.wire import NAME, connect, fetch, manifest, read_head, send_head, stored

IMAGE = make_image("refused", [100])
DATA = b"x" * 1000
DIGEST = digest_of(DATA)
HUB_NAMES = [
    "library/app",
    "docker.io/app",
    "docker.io/team/app",
    "index.docker.io/library/app",
    "registry-1.docker.io/a",
]


async def every_push(mirror: RunningMirror, name: str, query: str = "") -> list[Answer]:
    """The first request of every kind of push."""
    more = f"&{query}" if query else ""
    return [
        await mirror.post(f"{uploads(name)}?x{more}"),
        await mirror.post(f"{uploads(name)}?digest={DIGEST}{more}", data=DATA),
        await mirror.post(f"{uploads(name)}?mount={DIGEST}&from=team/app{more}"),
        await mirror.post(f"{uploads(name)}?mount={DIGEST}{more}"),
        await mirror.put(
            manifest("v1", name) + f"?x{more}", data=IMAGE.manifest, headers={"Content-Type": IMAGE.media_type}
        ),
    ]


@pytest.mark.parametrize("name", HUB_NAMES)
async def test_name_of_an_upstream(hub: FakeHub, mirror: RunningMirror, name: str) -> None:
    await push_blob(mirror, DATA)
    before = stored(mirror)
    for answer in await every_push(mirror, name):
        assert code(answer) == (405, "UNSUPPORTED")
        assert answer.json()["errors"][0]["message"] == (
            f"{name} is pulled from docker.io and cannot be pushed to; push to another name"
        )
    assert stored(mirror) == before
    assert (await mirror.get("/v2/_catalog")).json()["repositories"] == ["team/app"]
    assert hub.log() == []


async def test_ns_of_an_upstream(hub: FakeHub, mirror: RunningMirror) -> None:
    for answer in await every_push(mirror, "team/new", "ns=docker.io"):
        assert code(answer) == (405, "UNSUPPORTED")


async def test_name_that_is_cached(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image("org/app", "v1", IMAGE)
    assert (await fetch(mirror, manifest("v1", "org/app"))).status == 200
    hub.clear()
    await push_blob(mirror, DATA)
    for answer in await every_push(mirror, "org/app"):
        assert code(answer) == (405, "UNSUPPORTED")
        assert "org/app is cached from docker.io" in answer.json()["errors"][0]["message"]
    assert (await fetch(mirror, manifest("v1", "org/app"))).full_body == IMAGE.manifest


async def test_name_that_became_cached_in_the_middle_of_a_push(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image("org/app", "v1", IMAGE)
    session = await begin(mirror, "org/app")
    assert (await fetch(mirror, manifest("v1", "org/app"))).full_body == IMAGE.manifest
    hub.clear()
    answer = await mirror.put(f"{session}?digest={DIGEST}", data=DATA)
    assert code(answer) == (405, "UNSUPPORTED")
    assert (await fetch(mirror, manifest("v1", "org/app"))).full_body == IMAGE.manifest


async def test_library_is_free_where_docker_hub_is_not_the_default(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"default": False})
    assert (await push_image(mirror, IMAGE, "v1", "library/app")).status == 201
    assert (await mirror.get(manifest("v1", "library/app"))).body == IMAGE.manifest
    assert hub.log() == []


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "zstd", "br", "identity, gzip", "x"])
async def test_content_encoding(mirror: RunningMirror, encoding: str) -> None:
    """The digest is over the bytes as they are: what would be stored is not what was meant."""
    session = await begin(mirror)
    packed, headers = gzip.compress(DATA), {"Content-Encoding": encoding}
    answers = [
        await mirror.post(uploads(), data=packed, headers=headers),
        await mirror.post(f"{uploads()}?digest={DIGEST}", data=packed, headers=headers),
        await mirror.patch(session, data=packed, headers=headers),
        await mirror.put(f"{session}?digest={DIGEST}", data=packed, headers=headers),
        await mirror.put(manifest("v1", "team/app"), data=packed, headers=headers),
    ]
    assert [code(answer) for answer in answers] == [(415, "UNSUPPORTED")] * 5
    assert (await mirror.get(session)).headers["Range"] == "0-0"
    assert stored(mirror) == set()


async def test_content_encoding__identity_is_none(mirror: RunningMirror) -> None:
    answer = await mirror.post(f"{uploads()}?digest={DIGEST}", data=DATA, headers={"Content-Encoding": "Identity"})
    assert answer.status == 201


def padded(size: int) -> bytes:
    """A manifest that is this long."""
    body = IMAGE.manifest[:-1] + b',"annotations":{"x":"'
    return body + b"x" * (size - len(body) - 3) + b'"}}'


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100_000):
        yield body[start : start + 100_000]


@pytest.mark.parametrize("chunked", [False, True])
async def test_manifest__size(mirror: RunningMirror, chunked: bool) -> None:
    await push_image(mirror, IMAGE, "v1")

    async def put(size: int) -> Answer:
        data = pieces(padded(size)) if chunked else io.BytesIO(padded(size))
        headers = {"Content-Type": IMAGE.media_type}
        answer: Answer = await mirror.put(manifest("big", "team/app"), data=data, headers=headers)
        return answer

    limit = 4 * 2**20
    assert len(padded(limit)) == limit
    assert (await put(limit)).status == 201
    assert code(await put(limit + 1)) == (413, "MANIFEST_INVALID")
    assert (await mirror.get(manifest("big", "team/app"))).body == padded(limit)


async def test_manifest__announced_as_endless(mirror: RunningMirror) -> None:
    """No more is read than is needed to refuse it."""
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "PUT", manifest("big", "team/app"), Content_Length=10**12)
        async with asyncio.timeout(20):
            while reader.at_eof() is False and not reader._buffer:  # type: ignore[attr-defined]
                writer.write(b"x" * 65536)
                await writer.drain()
        status, _ = await read_head(reader)
        assert status == 413


async def test_manifest__of_nothing(mirror: RunningMirror) -> None:
    assert code(await put_manifest(mirror, "v1", b"")) == (400, "MANIFEST_INVALID")
    assert NAME not in (await mirror.get("/v2/_catalog")).json()["repositories"]


async def test_name_that_hosted_allow_has_no_pattern_for(hub: FakeHub, server: Server) -> None:
    mirror = await server(hosted={"allow": ["team/*"]})
    await push_image(mirror, IMAGE, "v1", "team/app")
    for name in ("other/app", "teams/app", "app"):
        for answer in await every_push(mirror, name):
            assert code(answer) == (405, "UNSUPPORTED")
            assert "hosted.allow" in answer.json()["errors"][0]["message"]
    assert (await mirror.get(manifest("v2", "team/other"))).status == 404
    assert hub.log() == []
