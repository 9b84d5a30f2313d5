"""HEAD of a blob: from here if it is here, from upstream if the name is known, and else from nobody."""

import asyncio

import pytest

from tests.conftest import RunningMirror
from tests.fakes.faults import Hang, HeadGetDisagree, NoLength, Status
from tests.fakes.images import digest_of, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, cdn_path, fetch, here, manifest, partial_size, stored, until

IMAGE = make_image("head", [50_000])
(LAYER,) = IMAGE.layers


@pytest.fixture
async def known(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    """A server that knows the repository, and none of its blobs."""
    hub.add_image(NAME, "latest", IMAGE)
    assert (await mirror.get(manifest("latest"))).status == 200
    hub.clear()
    return mirror


async def test_uncached_blob__is_asked_for_and_not_downloaded(hub: FakeHub, known: RunningMirror) -> None:
    got = await fetch(known, blob(LAYER), "HEAD")
    assert (got.status, got.body, got.headers["Content-Length"]) == (200, b"", str(len(IMAGE.blobs[LAYER])))
    assert (got.headers["Docker-Content-Digest"], got.headers["X-Cache"]) == (LAYER, "miss")
    assert hub.log() == [f"registry HEAD {blob(LAYER)} 307", f"cdn HEAD {cdn_path(LAYER)} 200"]
    assert stored(known) == {IMAGE.digest}


async def test_cached_blob__asks_nobody(hub: FakeHub, known: RunningMirror) -> None:
    await fetch(known, blob(LAYER))
    await here(known, LAYER)
    hub.clear()
    got = await fetch(known, blob(LAYER), "HEAD")
    assert (got.status, got.headers["Content-Length"]) == (200, str(len(IMAGE.blobs[LAYER])))
    assert (got.headers["X-Cache"], got.headers["Content-Type"]) == ("hit", "application/octet-stream")
    assert hub.log() == []


@pytest.mark.parametrize("name", ["team/secret", "docker.io/team/secret", "library/other"])
async def test_blob_of_an_unknown_name__asks_nobody(hub: FakeHub, known: RunningMirror, name: str) -> None:
    """That is a client about to push: which blobs it has is nobody else's business."""
    got = await fetch(known, blob(LAYER, name), "HEAD")
    assert (got.status, got.body) == (404, b"")
    assert hub.log() == []


async def test_blob_that_the_upstream_has_not(hub: FakeHub, known: RunningMirror) -> None:
    missing = digest_of(b"nowhere")
    got = await fetch(known, blob(missing), "HEAD")
    assert (got.status, got.body) == (404, b"")
    assert hub.log() == [f"registry HEAD {blob(missing)} 404"]


async def test_length_that_the_upstream_does_not_say_comes_from_the_manifest(
    hub: FakeHub, known: RunningMirror
) -> None:
    hub.fault("cdn", NoLength())
    got = await fetch(known, blob(LAYER), "HEAD")
    assert (got.status, got.headers["Content-Length"]) == (200, str(len(IMAGE.blobs[LAYER])))


async def test_length_that_nobody_knows(hub: FakeHub, known: RunningMirror) -> None:
    digest = hub.add_blob(NAME, b"in no manifest")
    hub.fault("cdn", NoLength())
    assert (await fetch(known, blob(digest), "HEAD")).status == 502


async def test_length_that_the_upstream_has_wrong(hub: FakeHub, known: RunningMirror) -> None:
    """The manifest was verified; an upstream that says something else of its blob is not to be believed."""
    hub.fault("cdn", HeadGetDisagree())
    assert (await fetch(known, blob(LAYER), "HEAD")).status == 502


async def test_blob_that_is_arriving(hub: FakeHub, known: RunningMirror) -> None:
    hub.fault("cdn", Hang("body", 1000), match="GET")
    task = asyncio.create_task(fetch(known, blob(LAYER)))
    await until(lambda: partial_size(known, LAYER) == 1000)
    got = await fetch(known, blob(LAYER), "HEAD")
    assert (got.status, got.headers["Content-Length"]) == (200, str(len(IMAGE.blobs[LAYER])))
    hub.release()
    assert (await task).full_body == IMAGE.blobs[LAYER]


@pytest.mark.parametrize(("code", "status"), [(401, 404), (403, 404), (429, 503), (500, 502)])
async def test_upstream_that_cannot_say(hub: FakeHub, known: RunningMirror, code: int, status: int) -> None:
    hub.fault("blob", Status(code))
    got = await fetch(known, blob(LAYER), "HEAD")
    assert (got.status, got.body) == (status, b"")
    hub.clear_faults()
    assert (await fetch(known, blob(LAYER), "HEAD")).status == 200
