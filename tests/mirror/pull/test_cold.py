"""The first pull asks the upstream once for each thing; the next ones ask nothing."""

import json

import pytest

from tests.conftest import Clock, RunningMirror
from tests.fakes.faults import Status
from tests.fakes.images import Image, digest_of, make_image, make_index
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, cold_blob, cold_manifest, fetch, here, manifest, stored

IMAGE = make_image("cold", [3000, 500])


async def pull(mirror: RunningMirror, tag: str = "latest", name: str = NAME) -> Image:
    """What a client does: manifest by tag, then every blob of it; all bytes checked."""
    answer = await mirror.get(manifest(tag, name))
    assert answer.status == 200
    document = json.loads(answer.body)
    descriptors = [document["config"], *document["layers"]]
    blobs = {}
    for descriptor in descriptors:
        got = await mirror.get(blob(descriptor["digest"], name))
        assert (got.status, digest_of(got.body)) == (200, descriptor["digest"])
        blobs[descriptor["digest"]] = got.body
    layers = tuple(descriptor["digest"] for descriptor in document["layers"])
    return Image(answer.body, answer.headers["Content-Type"], document["config"]["digest"], layers, blobs)


async def test_pull__cold_then_warm(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    assert await pull(mirror) == IMAGE
    expected = cold_manifest("latest")
    for digest in (IMAGE.config, *IMAGE.layers):
        expected += cold_blob(digest)
    assert hub.log() == expected
    await here(mirror, IMAGE.digest, IMAGE.config, *IMAGE.layers)

    hub.clear()
    assert await pull(mirror) == IMAGE
    assert hub.log() == []


async def test_pull__token_request_names_service_scope_and_nobody(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    await pull(mirror)
    (token,) = [seen for seen in hub.requests if seen.server == "token"]
    assert token.query == {"service": "registry.docker.io", "scope": f"repository:{NAME}:pull"}
    assert "Authorization" not in token.headers
    assert all("Authorization" not in seen.headers for seen in hub.requests if seen.server == "cdn")
    assert {seen.headers["Accept-Encoding"] for seen in hub.requests} == {"identity"}


async def test_pull__second_repository_needs_a_token_but_no_second_challenge(
    hub: FakeHub, mirror: RunningMirror
) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image("org/app", "v1", make_image("other", [100]))
    await pull(mirror)
    hub.clear()
    assert (await mirror.get(manifest("v1", "org/app"))).status == 200
    assert hub.log() == ["token GET /token 200", f"registry GET {manifest('v1', 'org/app')} 200"]


async def test_manifest__answer_by_tag_and_by_digest_is_the_same(hub: FakeHub, mirror: RunningMirror) -> None:
    image = make_image("docker", [100], "docker")
    hub.add_image(NAME, "1.0", image)
    by_tag = await mirror.get(manifest("1.0"))
    hub.clear()
    by_digest = await mirror.get(manifest(image.digest))
    head = await mirror.head(manifest("1.0"))
    assert hub.log() == []
    assert by_tag.body == by_digest.body == image.manifest
    for answer in (by_tag, by_digest, head):
        assert answer.headers["Content-Type"] == image.media_type
        assert answer.headers["Docker-Content-Digest"] == image.digest
        assert answer.headers["Content-Length"] == str(len(image.manifest))
    assert head.body == b""


async def test_manifest__by_digest_asks_once_and_then_never_again(
    hub: FakeHub, mirror: RunningMirror, clock: Clock
) -> None:
    hub.add_image(NAME, None, IMAGE)
    assert (await mirror.get(manifest(IMAGE.digest))).body == IMAGE.manifest
    assert hub.log() == cold_manifest(IMAGE.digest)
    hub.clear()
    for days in (1, 365, 3650):
        clock.advance(days * 86_400)
        again = await mirror.get(manifest(IMAGE.digest))
        assert (again.status, again.headers["X-Cache"]) == (200, "hit")
    await hub.stop()
    assert (await mirror.head(manifest(IMAGE.digest))).status == 200
    assert hub.log() == []


async def test_manifest__head_of_an_unknown_tag_fetches_it(hub: FakeHub, mirror: RunningMirror) -> None:
    """A HEAD is what docker and containerd begin with; the GET that follows must cost nothing more."""
    hub.add_image(NAME, "latest", IMAGE)
    head = await mirror.head(manifest("latest"))
    assert (head.status, head.headers["Docker-Content-Digest"]) == (200, IMAGE.digest)
    assert (await mirror.get(manifest(IMAGE.digest))).body == IMAGE.manifest
    assert hub.log() == cold_manifest("latest")


async def test_index__children_are_fetched_when_they_are_asked_for(hub: FakeHub, mirror: RunningMirror) -> None:
    images = [make_image("multi", [300], architecture=architecture) for architecture in ("amd64", "arm64")]
    index = make_index(images)
    hub.add_index(NAME, "multi", index)
    assert (await mirror.get(manifest("multi"))).body == index.manifest
    assert hub.count("registry", "GET", images[0].digest) == 0
    hub.clear()
    assert (await mirror.get(manifest(images[1].digest))).body == images[1].manifest
    assert hub.log() == [f"registry GET {manifest(images[1].digest)} 200"]
    assert stored(mirror) == {index.digest, images[1].digest}


@pytest.mark.parametrize("reference", ["nothing", "sha256:" + "0" * 64])
async def test_manifest__that_the_upstream_has_not(hub: FakeHub, mirror: RunningMirror, reference: str) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    answer = await mirror.get(manifest(reference))
    assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    assert stored(mirror) == set()


async def test_manifest__of_a_repository_that_docker_hub_hides(hub: FakeHub, mirror: RunningMirror) -> None:
    """Hub says 401, token and all, to what does not exist: that must not look like a failure of ours."""
    answer = await mirror.get(manifest("latest", "no/such"))
    assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    path = manifest("latest", "no/such")
    assert hub.log() == [f"registry GET {path} 401", "token GET /token 200", f"registry GET {path} 401"]


async def test_blob__that_the_upstream_has_not(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    missing = digest_of(b"nowhere")
    got = await fetch(mirror, blob(missing))
    assert (got.status, got.complete) == (404, True)
    assert b"BLOB_UNKNOWN" in got.body
    assert stored(mirror) == set()


async def test_blob__without_a_known_manifest(hub: FakeHub, mirror: RunningMirror) -> None:
    """Its length is then what the upstream says; the bytes are checked all the same."""
    data = b"known by its digest only" * 1000
    digest = hub.add_blob(NAME, data)
    got = await fetch(mirror, blob(digest))
    assert got.full_body == data
    assert got.headers["Content-Length"] == str(len(data))
    await here(mirror, digest)


async def test_blob__empty(hub: FakeHub, mirror: RunningMirror) -> None:
    digest = hub.add_blob(NAME, b"")
    assert (await fetch(mirror, blob(digest))).full_body == b""
    await here(mirror, digest)
    again = await fetch(mirror, blob(digest))
    assert (again.status, again.full_body, again.headers["X-Cache"]) == (200, b"", "hit")
    assert hub.count("cdn") == 1


async def test_blob__whose_bytes_are_those_of_a_manifest(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_blob(NAME, IMAGE.manifest)
    assert (await mirror.get(manifest("latest"))).status == 200
    # That a manifest is here does not make it a blob of the repository before the upstream has said so.
    assert (await fetch(mirror, blob(IMAGE.digest))).full_body == IMAGE.manifest
    assert hub.count("registry", path_contains=blob(IMAGE.digest)) >= 1


async def test_blob__from_an_upstream_that_does_not_redirect(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.redirects = False
    digest = hub.add_blob(NAME, b"straight" * 5000)
    assert (await fetch(mirror, blob(digest))).full_body == b"straight" * 5000
    assert hub.log()[-1] == f"registry GET {blob(digest)} 200"
    assert hub.count("cdn") == 0


@pytest.mark.parametrize("reference", ["latest", IMAGE.digest])
async def test_pull__another_manifest_than_the_one_that_is_named(
    hub: FakeHub, mirror: RunningMirror, reference: str
) -> None:
    """It is a good manifest, only not this one: what is asked for, or claimed, by digest has to have that digest."""
    hub.add_image(NAME, "latest", IMAGE)
    other = make_image("another", [10])
    headers = {"Content-Type": other.media_type, "Docker-Content-Digest": IMAGE.digest}
    hub.fault("manifest", Status(200, headers, other.manifest), times=1)
    answer = await mirror.get(manifest(reference))
    assert (answer.status, answer.json()["errors"][0]["code"]) == (502, "UPSTREAM_FAILED")
    assert stored(mirror) == set()
    assert (await mirror.get(manifest(reference))).body == IMAGE.manifest
