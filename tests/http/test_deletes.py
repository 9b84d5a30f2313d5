"""What a user removes is gone at once; of what is cached only our copy goes."""

import pytest

from tests.conftest import RunningMirror
from tests.fakes.images import digest_of, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import code, push_blob, push_image, put_manifest
from tests.mirror.wire import NAME, blob, cold_blob, fetch, here, manifest, stored

IMAGE = make_image("deletes", [2000])
(LAYER,) = IMAGE.layers


async def test_tag__leaves_the_manifest(mirror: RunningMirror) -> None:
    for tag in ("v1", "v2"):
        await push_image(mirror, IMAGE, tag)
    assert (await mirror.delete(manifest("v1", "team/app"))).status == 202
    assert code(await mirror.get(manifest("v1", "team/app"))) == (404, "MANIFEST_UNKNOWN")
    for reference in ("v2", IMAGE.digest):
        assert (await mirror.get(manifest(reference, "team/app"))).body == IMAGE.manifest
    assert (await mirror.get("/v2/team/app/tags/list")).json()["tags"] == ["v2"]


async def test_manifest__takes_its_tags_along(mirror: RunningMirror) -> None:
    for tag in ("v1", "v2"):
        await push_image(mirror, IMAGE, tag)
    other = make_image("deletes/other", [])
    await push_image(mirror, other, "v3")
    assert (await mirror.delete(manifest(IMAGE.digest, "team/app"))).status == 202
    for reference in ("v1", "v2", IMAGE.digest):
        assert code(await mirror.get(manifest(reference, "team/app"))) == (404, "MANIFEST_UNKNOWN")
    assert (await mirror.get("/v2/team/app/tags/list")).json()["tags"] == ["v3"]
    assert IMAGE.digest not in stored(mirror)
    assert (await put_manifest(mirror, "v1", IMAGE.manifest)).status == 201  # its blobs are still there


async def test_blob__goes_with_its_last_repository(mirror: RunningMirror) -> None:
    for name in ("team/one", "team/two"):
        await push_blob(mirror, b"shared", name)
    digest = digest_of(b"shared")
    assert (await mirror.delete(blob(digest, "team/one"))).status == 202
    for method in ("GET", "HEAD"):
        assert (await fetch(mirror, blob(digest, "team/one"), method)).status == 404
    assert (await mirror.get(blob(digest, "team/two"))).body == b"shared"
    assert (await mirror.delete(blob(digest, "team/two"))).status == 202
    assert stored(mirror) == set()


async def test_cached__comes_back_from_the_upstream(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest"))
    await fetch(mirror, blob(LAYER))
    await here(mirror, LAYER)
    hub.clear()
    for path in (blob(LAYER), manifest("latest"), manifest(IMAGE.digest)):
        assert (await mirror.delete(path)).status == 202
    assert stored(mirror) == set()
    assert hub.log() == []
    assert (await fetch(mirror, manifest("latest"))).full_body == IMAGE.manifest
    assert (await fetch(mirror, blob(LAYER))).full_body == IMAGE.blobs[LAYER]
    assert hub.log() == [f"registry GET {manifest('latest')} 200", *cold_blob(LAYER)]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (manifest("v9", "team/app"), "MANIFEST_UNKNOWN"),
        (manifest(digest_of(b"x"), "team/app"), "MANIFEST_UNKNOWN"),
        (blob(digest_of(b"x"), "team/app"), "BLOB_UNKNOWN"),
        (manifest("v1", "team/none"), "NAME_UNKNOWN"),
        (blob(LAYER, "team/none"), "NAME_UNKNOWN"),
        (manifest("v1", "docker.io/team/app"), "NAME_UNKNOWN"),
        (blob(LAYER, "library/app"), "NAME_UNKNOWN"),
    ],
)
async def test_what_is_not_here(hub: FakeHub, mirror: RunningMirror, path: str, expected: str) -> None:
    await push_image(mirror, IMAGE, "v1")
    assert code(await mirror.delete(path)) == (404, expected)
    assert (await mirror.get(manifest("v1", "team/app"))).status == 200
    assert hub.log() == []
