"""Every answer to a pull says why it was given, whose it is, and how old; what was pushed here has none of these."""

import asyncio

import pytest

from ocispec.digest import Digest
from tests.conftest import Clock, RunningMirror
from tests.fakes.faults import Hang
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_image
from tests.mirror.wire import NAME, Got, blob, fetch, here, layout, manifest, partial_size, until

IMAGE = make_image("origin", [200_000])
(LAYER,) = IMAGE.layers
HALF = 100_000


def origin(got: Got) -> tuple[str | None, str | None, str | None]:
    return got.headers.get("X-Cache"), got.headers.get("X-Upstream"), got.headers.get("Age")


async def test_x_cache(hub: FakeHub, mirror: RunningMirror, clock: Clock) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    tag = manifest("latest")
    assert (await fetch(mirror, tag)).headers["X-Cache"] == "miss"
    for path in (tag, manifest(IMAGE.digest)):
        for method in ("GET", "HEAD"):
            assert (await fetch(mirror, path, method)).headers["X-Cache"] == "hit"
    clock.advance(300)
    assert (await fetch(mirror, tag)).headers["X-Cache"] == "revalidated"
    clock.advance(300)
    await hub.stop("registry")
    assert (await fetch(mirror, tag)).headers["X-Cache"] == "stale"
    await hub.start("registry")
    assert (await fetch(mirror, tag)).headers["X-Cache"] == "revalidated"
    hub.move_tag(NAME, "latest", make_image("conditional/new", []))
    clock.advance(300)
    assert (await fetch(mirror, tag)).headers["X-Cache"] == "miss"
    assert "X-Cache" not in (await fetch(mirror, "/v2/")).headers
    assert "X-Cache" not in (await fetch(mirror, manifest("nothing"))).headers


async def test_blob_that_is_here(hub: FakeHub, mirror: RunningMirror, clock: Clock) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    assert origin(await fetch(mirror, blob(LAYER))) == ("miss", "docker.io", None)
    await here(mirror, LAYER)
    clock.now = layout(mirror).blob(Digest.parse(LAYER)).stat().st_mtime + 90
    for asked in ({}, {"Range": "bytes=0-9"}, {"Range": "bytes=0-9,20-29"}, {"If_None_Match": "*"}):
        assert origin(await fetch(mirror, blob(LAYER), **asked)) == ("hit", "docker.io", "90")
    assert origin(await fetch(mirror, blob(LAYER), "HEAD")) == ("hit", "docker.io", "90")
    clock.now -= 1000  # a clock that was put back
    assert origin(await fetch(mirror, blob(LAYER))) == ("hit", "docker.io", "0")


async def test_blob_that_is_arriving(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    await mirror.get(manifest("latest"))
    assert origin(await fetch(mirror, blob(LAYER), "HEAD")) == ("miss", "docker.io", None)
    hub.fault("cdn", Hang("body", HALF))
    first = asyncio.create_task(fetch(mirror, blob(LAYER)))
    await until(lambda: partial_size(mirror, LAYER) == HALF)
    joined = ("joined", "docker.io", None)
    assert origin(await fetch(mirror, blob(LAYER), "HEAD")) == joined
    assert origin(await fetch(mirror, blob(LAYER), Range="bytes=0-9")) == joined
    assert origin(await fetch(mirror, blob(LAYER), Range="bytes=0-9,20-29")) == joined
    hub.release()
    assert origin(await first) == ("miss", "docker.io", None)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_was_pushed(mirror: RunningMirror, method: str) -> None:
    await push_image(mirror, IMAGE, "v1")
    for path in (manifest("v1", "team/app"), manifest(IMAGE.digest, "team/app"), blob(LAYER, "team/app")):
        got = await fetch(mirror, path, method)
        assert (got.status, origin(got)) == (200, (None, None, None))
