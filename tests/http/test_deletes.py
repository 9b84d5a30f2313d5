"""What a user removes is gone at once; of what is cached only our copy goes."""

from pathlib import Path

import pytest

from tests.conftest import Clock, RunningMirror, config_for, running
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


@pytest.mark.parametrize("name", ["library/nginx", "nginx", "docker.io/library/nginx"])
async def test_what_a_new_rule_hides(hub: FakeHub, tmp_path: Path, clock: Clock, name: str) -> None:
    """Listed to nobody and served to nobody, but whoever made the rule can still get rid of it."""
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image("org/app", "v1", IMAGE)
    async with running(config_for(hub, tmp_path / "store"), clock) as mirror:
        for path in (manifest("latest"), blob(LAYER), manifest("v1", "org/app")):
            assert (await fetch(mirror, path)).status == 200
        await here(mirror, LAYER)
        assert (await mirror.get("/v2/_catalog")).json()["repositories"] == [
            "docker.io/library/nginx",
            "docker.io/org/app",
        ]
    hub.clear()
    async with running(config_for(hub, tmp_path / "store", upstream={"deny": ["nginx"]}), clock) as mirror:
        assert (await mirror.get("/v2/_catalog")).json()["repositories"] == ["docker.io/org/app"]
        assert (await mirror.get("/v2/_catalog?n=1")).headers.get("Link") is None
        hidden = [manifest("latest", name), manifest(IMAGE.digest, name), blob(LAYER, name)]
        hidden += [f"/v2/{name}/tags/list", f"/v2/{name}/referrers/{IMAGE.digest}"]
        for path in hidden:
            assert (await mirror.get(path)).status == 404
            assert code(await mirror.get(f"{path}?ns=docker.io")) == (404, "NAME_UNKNOWN")
        for path in (blob(LAYER, name), manifest("latest", name), manifest(IMAGE.digest, name)):
            assert (await mirror.delete(path)).status == 202
            assert (await mirror.delete(path)).status == 404
        assert LAYER not in stored(mirror)
        assert (await fetch(mirror, manifest("v1", "org/app"))).full_body == IMAGE.manifest
    assert hub.log() == []


async def test_what_a_new_rule_hides__is_not_in_the_way_of_what_was_pushed(
    hub: FakeHub, tmp_path: Path, clock: Clock
) -> None:
    hub.add_image("team/app", "theirs", IMAGE)
    async with running(config_for(hub, tmp_path / "store"), clock) as mirror:
        assert (await fetch(mirror, manifest("theirs", "team/app"))).status == 200
    async with running(config_for(hub, tmp_path / "store", upstream={"deny": ["team/*"]}), clock) as mirror:
        await push_image(mirror, IMAGE, "ours")
        assert code(await mirror.delete(manifest("theirs", "team/app"))) == (404, "MANIFEST_UNKNOWN")
        assert (await mirror.delete(manifest("theirs", "docker.io/team/app"))).status == 202
        assert (await fetch(mirror, manifest("ours", "team/app"))).full_body == IMAGE.manifest
