"""What a client has already need not be sent."""

import pytest

from tests.conftest import RunningMirror
from tests.fakes.images import digest_of, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_image
from tests.mirror.wire import NAME, blob, fetch, here, manifest

IMAGE = make_image("conditional", [2000])
(LAYER,) = IMAGE.layers
OTHER = digest_of(b"something else")


@pytest.fixture
async def warm(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest"))
    await fetch(mirror, blob(LAYER))
    await here(mirror, LAYER)
    hub.clear()
    return mirror


@pytest.mark.parametrize(
    ("path", "digest"),
    [(manifest("latest"), IMAGE.digest), (manifest(IMAGE.digest), IMAGE.digest), (blob(LAYER), LAYER)],
    ids=["tag", "digest", "blob"],
)
async def test_if_none_match(hub: FakeHub, warm: RunningMirror, path: str, digest: str) -> None:
    plain = await fetch(warm, path)
    assert plain.headers["ETag"] == f'"{digest}"'
    for known in (f'"{digest}"', f'W/"{digest}"', f'"{OTHER}", "{digest}"', f'"{digest}","{OTHER}"', "*"):
        got = await fetch(warm, path, If_None_Match=known)
        assert (got.status, got.body) == (304, b""), known
        for name in ("ETag", "Docker-Content-Digest", "X-Cache"):
            assert got.headers[name] == plain.headers[name]
    for unknown in (f'"{OTHER}"', digest, "", '"', f'"{digest[:-1]}"', "nonsense"):
        got = await fetch(warm, path, If_None_Match=unknown)
        assert (got.status, got.full_body) == (200, plain.body), unknown
    assert hub.log() == []


async def test_if_none_match__wins_over_range(warm: RunningMirror) -> None:
    got = await fetch(warm, blob(LAYER), If_None_Match=f'"{LAYER}"', Range="bytes=0-9")
    assert (got.status, got.body) == (304, b"")


async def test_if_none_match__of_a_hosted_manifest(mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "v1")
    for path, digest in ((manifest("v1", "team/app"), IMAGE.digest), (blob(LAYER, "team/app"), LAYER)):
        assert (await fetch(mirror, path, If_None_Match=f'"{digest}"')).status == 304
        assert (await fetch(mirror, path, If_None_Match=f'"{OTHER}"')).status == 200


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "application/vnd.docker.distribution.manifest.v1+json"])
async def test_manifest_is_sent_as_it_is_whatever_accept_says(warm: RunningMirror, accept: str) -> None:
    got = await fetch(warm, manifest("latest"), Accept=accept, Accept_Encoding="gzip, zstd, br")
    assert (got.full_body, got.headers["Content-Type"]) == (IMAGE.manifest, IMAGE.media_type)
    assert "Content-Encoding" not in got.headers
    layer = await fetch(warm, blob(LAYER), Accept_Encoding="gzip, zstd, br")
    assert layer.full_body == IMAGE.blobs[LAYER]
    assert "Content-Encoding" not in layer.headers


async def test_content_is_inert_in_a_browser(warm: RunningMirror) -> None:
    got = await fetch(warm, blob(LAYER))
    assert got.headers["Content-Type"] == "application/octet-stream"
    for path in (blob(LAYER), manifest("latest")):
        assert (await fetch(warm, path)).headers["X-Content-Type-Options"] == "nosniff"
