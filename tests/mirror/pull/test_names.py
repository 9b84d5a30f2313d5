"""Whose content a name gets: spellings, ns, hosted against cached, and blobs of other repositories."""

import asyncio

import pytest

from tests.conftest import Clock, RunningMirror, Server
from tests.fakes.faults import Hang
from tests.fakes.images import digest_of, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, cdn_path, cold_manifest, fetch, here, manifest, partial_size, stored, until

IMAGE = make_image("names", [2000])
(LAYER,) = IMAGE.layers


@pytest.mark.parametrize("first", ["nginx", "library/nginx"])
async def test_every_spelling_is_one_repository(hub: FakeHub, mirror: RunningMirror, first: str) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    assert (await mirror.get(manifest("latest", first))).body == IMAGE.manifest
    assert hub.log() == cold_manifest("latest")
    hub.clear()
    spellings = ["nginx", NAME, "docker.io/nginx", "docker.io/library/nginx", "index.docker.io/library/nginx"]
    for name in spellings:
        assert (await mirror.get(manifest("latest", name))).body == IMAGE.manifest
    for name in ("nginx", NAME, "docker.io/library/nginx"):
        for ns in ("docker.io", "index.docker.io", "registry-1.docker.io"):
            assert (await mirror.get(manifest("latest", name) + f"?ns={ns}")).body == IMAGE.manifest
    assert hub.log() == []


async def test_unknown_ns(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    for ns in ("quay.io", "evil.example", hub.host, "127.0.0.1", "docker.io%2F..", "", "docker.io:443", "%00"):
        for path in (manifest("latest"), blob(LAYER), f"/v2/{NAME}/tags/list", f"/v2/{NAME}/referrers/{LAYER}"):
            answer = await mirror.get(f"{path}?ns={ns}")
            assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "NAME_UNKNOWN"), (ns, path)
    assert hub.log() == []


async def test_two_upstreams_share_no_names(hub: FakeHub, server: Server) -> None:
    async with FakeHub() as other:
        mirror = await server(
            upstreams={"other": {"host": "ghcr.io", "url": other.url, "token_hosts": [other.token_host]}}
        )
        theirs = make_image("theirs", [10])
        hub.add_image("org/app", "v1", IMAGE)
        other.add_image("org/app", "v1", theirs)
        assert (await mirror.get(manifest("v1", "org/app"))).body == IMAGE.manifest
        assert (await mirror.get(manifest("v1", "ghcr.io/org/app"))).body == theirs.manifest
        assert (await mirror.get(manifest("v1", "org/app") + "?ns=ghcr.io")).body == theirs.manifest
        assert (await mirror.get(manifest("v1", "ghcr.io/org/app") + "?ns=ghcr.io")).body == theirs.manifest
        assert (await mirror.get(manifest("v1", "docker.io/org/app"))).body == IMAGE.manifest
        assert hub.log() == cold_manifest("v1", "org/app")
        assert other.log() == cold_manifest("v1", "org/app")


async def push(mirror: RunningMirror, name: str, tag: str = "v1") -> None:
    for digest, data in IMAGE.blobs.items():
        assert (await mirror.post(f"/v2/{name}/blobs/uploads/?digest={digest}", data=data)).status == 201
    put = await mirror.put(manifest(tag, name), data=IMAGE.manifest, headers={"Content-Type": IMAGE.media_type})
    assert put.status == 201


async def test_hosted_name__never_falls_through(hub: FakeHub, mirror: RunningMirror) -> None:
    theirs = make_image("theirs", [10])
    for tag in ("v1", "v2"):
        hub.add_image("team/app", tag, theirs)
    await push(mirror, "team/app")
    assert (await mirror.get(manifest("v1", "team/app"))).body == IMAGE.manifest
    for path in (manifest("v2", "team/app"), manifest(theirs.digest, "team/app"), blob(theirs.config, "team/app")):
        for method in ("GET", "HEAD"):
            assert (await mirror.request(method, path)).status == 404
    assert (await mirror.get("/v2/team/app/tags/list")).json()["tags"] == ["v1"]
    assert hub.log() == []
    # Whoever means the other one can say so, in two ways.
    assert (await mirror.get(manifest("v1", "docker.io/team/app"))).body == theirs.manifest
    assert (await mirror.get(manifest("v2", "team/app") + "?ns=docker.io")).body == theirs.manifest


async def test_hosted_name__does_not_show_what_is_cached_under_the_same_name(
    hub: FakeHub, mirror: RunningMirror
) -> None:
    """Not even what is fresh and in memory: that would be a second owner of one name."""
    theirs = make_image("theirs", [10])
    hub.add_image("team/app", "v2", theirs)
    await push(mirror, "team/app")
    assert (await mirror.get(manifest("v2", "docker.io/team/app"))).body == theirs.manifest
    assert (await mirror.get(manifest("v2", "docker.io/team/app"))).headers["X-Cache"] == "hit"
    for reference in ("v2", theirs.digest):
        answer = await mirror.get(manifest(reference, "team/app"))
        assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")


async def test_name_that_is_cached__stays_cached(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image("team/app", "v1", IMAGE)
    assert (await mirror.get(manifest("v1", "team/app"))).body == IMAGE.manifest
    refused = await mirror.post("/v2/team/app/blobs/uploads/")
    assert (refused.status, refused.json()["errors"][0]["code"]) == (405, "UNSUPPORTED")


async def test_blob_of_another_repository__is_confirmed_before_it_is_shown(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image("org/fork", "v1", make_image("names", [2000], architecture="arm64"))  # has the same layer
    assert (await fetch(mirror, blob(LAYER))).full_body == IMAGE.blobs[LAYER]
    await here(mirror, LAYER)
    await mirror.get(manifest("v1", "org/fork"))
    hub.clear()
    assert (await fetch(mirror, blob(LAYER, "org/fork"))).full_body == IMAGE.blobs[LAYER]
    assert hub.log() == [f"registry HEAD {blob(LAYER, 'org/fork')} 307", f"cdn HEAD {cdn_path(LAYER)} 200"]
    hub.clear()
    assert (await fetch(mirror, blob(LAYER, "org/fork"))).headers["X-Cache"] == "hit"
    assert hub.log() == []


async def test_blob_of_another_repository__is_not_shown_where_the_upstream_has_it_not(
    hub: FakeHub, mirror: RunningMirror
) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.repository("org/other")
    assert (await fetch(mirror, blob(LAYER))).full_body == IMAGE.blobs[LAYER]
    await here(mirror, LAYER)
    hub.clear()
    for _ in range(2):
        got = await fetch(mirror, blob(LAYER, "org/other"))
        assert (got.status, got.complete) == (404, True)
        assert b"BLOB_UNKNOWN" in got.body
    assert hub.log() == [
        "token GET /token 200",
        f"registry HEAD {blob(LAYER, 'org/other')} 404",
        f"registry HEAD {blob(LAYER, 'org/other')} 404",
    ]


async def test_blob_of_another_repository__that_docker_hub_hides(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image("org/private", "v1", IMAGE)
    hub.private.add("org/private")
    hub.add_image(NAME, "latest", IMAGE)
    assert (await fetch(mirror, blob(LAYER))).full_body == IMAGE.blobs[LAYER]
    await here(mirror, LAYER)
    assert (await fetch(mirror, blob(LAYER, "org/private"))).status == 404
    assert (await fetch(mirror, manifest("v1", "org/private"))).status == 404


async def test_blob_of_another_repository__upstream_down(hub: FakeHub, mirror: RunningMirror) -> None:
    """Without a confirmation there is nothing to show: that the bytes are here proves nothing."""
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image("org/fork", "v1", IMAGE)
    assert (await fetch(mirror, blob(LAYER))).full_body == IMAGE.blobs[LAYER]
    await here(mirror, LAYER)
    await hub.stop()
    got = await fetch(mirror, blob(LAYER, "org/fork"))
    assert (got.status, got.complete) == (502, True)
    await hub.start()
    assert (await fetch(mirror, blob(LAYER, "org/fork"))).full_body == IMAGE.blobs[LAYER]


async def test_blob_of_another_repository__while_it_is_arriving(hub: FakeHub, mirror: RunningMirror) -> None:
    """Joined by whoever has it too, refused to whoever has it not; and linked to both when it is here."""
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image("org/fork", "v1", IMAGE)
    hub.repository("org/other")
    hub.fault("cdn", Hang("body", 1000), match="GET")
    first = asyncio.create_task(fetch(mirror, blob(LAYER)))
    await until(lambda: partial_size(mirror, LAYER) == 1000)
    second = asyncio.create_task(fetch(mirror, blob(LAYER, "org/fork")))
    assert (await fetch(mirror, blob(LAYER, "org/other"))).status == 404
    await until(lambda: hub.count("cdn", "HEAD") == 1)
    assert not second.done()
    hub.release()
    assert (await first).full_body == (await second).full_body == IMAGE.blobs[LAYER]
    assert (await second).headers["X-Cache"] == "joined"
    assert hub.count("cdn", "GET") == 1
    await until(lambda: partial_size(mirror, LAYER) == -1)
    await here(mirror, LAYER)
    hub.clear()
    for name in (NAME, "org/fork"):
        async with asyncio.timeout(10):
            while (await fetch(mirror, blob(LAYER, name), "HEAD")).headers["X-Cache"] != "hit":
                hub.clear()
        assert (await fetch(mirror, blob(LAYER, name))).full_body == IMAGE.blobs[LAYER]
    assert hub.log() == []


async def test_hosted_repository__does_not_see_what_is_cached(hub: FakeHub, mirror: RunningMirror) -> None:
    await push(mirror, "team/app")
    digest = hub.add_blob(NAME, b"cached only")
    assert (await fetch(mirror, blob(digest))).status == 200
    await here(mirror, digest)
    for method in ("GET", "HEAD"):
        assert (await fetch(mirror, blob(digest, "team/app"), method)).status == 404
    assert digest_of(b"cached only") in stored(mirror)


@pytest.mark.parametrize("ns", ["docker.io", "index.docker.io"])
async def test_ns_is_answered_with_the_namespace(hub: FakeHub, mirror: RunningMirror, ns: str) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    for path in (manifest("latest"), manifest("latest"), manifest("latest"), blob(LAYER), f"/v2/{NAME}/tags/list"):
        answer = await mirror.get(f"{path}?ns={ns}")
        assert (answer.status, answer.headers["OCI-Namespace"]) == (200, "docker.io")
        assert "OCI-Namespace" not in (await mirror.get(path)).headers
    assert "OCI-Namespace" not in (await mirror.get("/v2/?ns=anything%0d%0aX:%20y")).headers


async def test_an_answer_says_whose_it_is_and_how_old(hub: FakeHub, mirror: RunningMirror, clock: Clock) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    await mirror.get(manifest("latest"))
    clock.advance(100)
    for _ in range(3):  # from the store, and from memory
        headers = (await mirror.get(manifest("latest"))).headers
        assert (headers["X-Cache"], headers["X-Upstream"], headers["Age"]) == ("hit", "docker.io", "100")
    await push(mirror, "team/app")
    for _ in range(3):
        headers = (await mirror.get(manifest("v1", "team/app"))).headers
        assert "X-Upstream" not in headers
        assert "Age" not in headers
