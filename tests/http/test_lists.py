"""What is there: tags of cached repositories, and what refers to a manifest, here and upstream."""

import json

import pytest

from ocispec.media_types import OCI_INDEX
from tests.conftest import RunningMirror, Server
from tests.fakes.faults import Drop, Fault, GarbageJson, Hang, Html200, Json200, Status
from tests.fakes.images import SBOM, digest_of, make_artifact, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_image
from tests.mirror.wire import NAME, fetch, manifest

IMAGE = make_image("lists", [10])
TAGS = f"/v2/{NAME}/tags/list"
SIGNATURE = "application/vnd.example.signature"


async def test_tags__are_always_the_upstreams(hub: FakeHub, mirror: RunningMirror) -> None:
    for tag in ("b", "a"):
        hub.add_image(NAME, tag, IMAGE)
    assert (await mirror.get(TAGS)).json() == {"name": NAME, "tags": ["a", "b"]}
    assert hub.log() == [f"registry GET {TAGS} 401", "token GET /token 200", f"registry GET {TAGS} 200"]
    hub.add_image(NAME, "c", IMAGE)
    assert (await mirror.get(TAGS)).json()["tags"] == ["a", "b", "c"]
    assert hub.log()[3:] == [f"registry GET {TAGS} 200"]


async def test_tags__keep_the_name_that_was_asked_for(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "v1", IMAGE)
    for name in ("nginx", "docker.io/library/nginx"):
        answer = await mirror.get(f"/v2/{name}/tags/list?n=1")
        assert answer.json() == {"name": name, "tags": ["v1"]}


async def test_tags__cached_ones_that_the_upstream_deleted_are_shown_too(hub: FakeHub, mirror: RunningMirror) -> None:
    """They can still be pulled while they are fresh."""
    hub.add_image(NAME, "old", IMAGE)
    hub.add_image(NAME, "new", IMAGE)
    await fetch(mirror, manifest("old"))
    hub.delete_tag(NAME, "old")
    assert (await mirror.get(TAGS)).json()["tags"] == ["new", "old"]


@pytest.mark.parametrize("fault", [Status(500), Status(429), Status(401), Drop(), GarbageJson(), Html200()], ids=str)
async def test_tags__cached_ones_alone_while_the_upstream_fails(
    hub: FakeHub, mirror: RunningMirror, fault: Fault
) -> None:
    for tag in ("a", "b", "c"):
        hub.add_image(NAME, tag, IMAGE)
    await fetch(mirror, manifest("b"))
    hub.fault("tags", fault)
    answer = await mirror.get(TAGS)
    assert (answer.status, answer.json()["tags"], answer.headers["X-Cache"]) == (200, ["b"], "stale")
    hub.clear_faults()
    answer = await mirror.get(TAGS)
    assert answer.json()["tags"] == ["a", "b", "c"]
    assert "X-Cache" not in answer.headers


async def test_tags__upstream_down(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "a", IMAGE)
    await fetch(mirror, manifest("a"))
    await hub.stop()
    assert (await mirror.get(TAGS)).json()["tags"] == ["a"]
    unknown = await mirror.get("/v2/org/unknown/tags/list")
    assert (unknown.status, unknown.json()["errors"][0]["code"]) == (502, "UPSTREAM_FAILED")


@pytest.mark.parametrize("hides", [True, False])
async def test_tags__of_a_repository_that_the_upstream_has_not(
    hub: FakeHub, mirror: RunningMirror, hides: bool
) -> None:
    hub.hides_missing = hides
    for method in ("GET", "HEAD"):
        assert (await fetch(mirror, "/v2/no/such/tags/list", method)).status == 404
    assert (await mirror.get("/v2/no/such/tags/list")).json()["errors"][0]["code"] == "NAME_UNKNOWN"


async def test_tags__hosted(hub: FakeHub, mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "v1")
    hub.add_image("team/app", "theirs", IMAGE)
    assert (await mirror.get("/v2/team/app/tags/list")).json() == {"name": "team/app", "tags": ["v1"]}
    assert (await mirror.delete(manifest("v1", "team/app"))).status == 202
    assert (await mirror.get("/v2/team/app/tags/list")).json()["tags"] == []
    assert hub.log() == []


async def test_referrers__hosted(hub: FakeHub, mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "v1")
    sbom, signature = make_artifact("sbom", IMAGE), make_artifact("signature", IMAGE, SIGNATURE)
    for artifact in (sbom, signature):
        await push_image(mirror, artifact, artifact.digest)
    answer = await mirror.get(f"/v2/team/app/referrers/{IMAGE.digest}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, OCI_INDEX)
    assert "OCI-Filters-Applied" not in answer.headers
    index = answer.json()
    assert (index["schemaVersion"], index["mediaType"]) == (2, OCI_INDEX)
    assert {entry["digest"]: entry["artifactType"] for entry in index["manifests"]} == {
        sbom.digest: SBOM,
        signature.digest: SIGNATURE,
    }
    assert {entry["size"] for entry in index["manifests"]} == {len(sbom.manifest), len(signature.manifest)}

    filtered = await mirror.get(f"/v2/team/app/referrers/{IMAGE.digest}?artifactType={SBOM}")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert [entry["digest"] for entry in filtered.json()["manifests"]] == [sbom.digest]

    for subject in (digest_of(b"unknown"), sbom.digest):
        empty = await mirror.get(f"/v2/team/app/referrers/{subject}")
        assert (empty.status, empty.json()["manifests"]) == (200, [])
    await mirror.delete(manifest(sbom.digest, "team/app"))
    left = await mirror.get(f"/v2/team/app/referrers/{IMAGE.digest}")
    assert [entry["digest"] for entry in left.json()["manifests"]] == [signature.digest]
    assert hub.log() == []


async def test_referrers__of_an_upstream_that_keeps_none(hub: FakeHub, mirror: RunningMirror) -> None:
    """Never an empty list of our own: clients would believe it, and not look for the tag that has the signatures."""
    hub.add_image(NAME, "v1", IMAGE)
    artifact = make_artifact("sbom", IMAGE)
    hub.add_image(NAME, f"sha256-{IMAGE.digest[7:]}", artifact)
    await fetch(mirror, manifest("v1"))
    await fetch(mirror, manifest(artifact.digest))
    answer = await mirror.get(f"/v2/{NAME}/referrers/{IMAGE.digest}")
    assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    assert (await fetch(mirror, manifest(f"sha256-{IMAGE.digest[7:]}"))).full_body == artifact.manifest


async def test_referrers__of_an_upstream_that_keeps_them(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.referrers = True
    hub.add_image(NAME, "v1", IMAGE)
    sbom, signature = make_artifact("sbom", IMAGE), make_artifact("signature", IMAGE, SIGNATURE)
    for artifact in (sbom, signature):
        hub.add_image(NAME, None, artifact)
    answer = await mirror.get(f"/v2/{NAME}/referrers/{IMAGE.digest}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, OCI_INDEX)
    assert answer.body == hub.repositories[NAME].referrers(IMAGE.digest)
    filtered = await mirror.get(f"/v2/{NAME}/referrers/{IMAGE.digest}", params={"artifactType": SBOM})
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert [entry["digest"] for entry in filtered.json()["manifests"]] == [sbom.digest]
    assert hub.requests[-1].query == {"artifactType": SBOM}


async def test_referrers__filter_that_the_upstream_did_not_apply(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.referrers = True
    hub.add_image(NAME, "v1", IMAGE)
    hub.add_image(NAME, None, make_artifact("signature", IMAGE, SIGNATURE))
    sbom = make_artifact("sbom", IMAGE)
    hub.add_image(NAME, None, sbom)
    everything = hub.repositories[NAME].referrers(IMAGE.digest)
    assert len(json.loads(everything)["manifests"]) == 2
    hub.fault("referrers", Status(200, {"Content-Type": OCI_INDEX}, everything))
    answer = await mirror.get(f"/v2/{NAME}/referrers/{IMAGE.digest}", params={"artifactType": SBOM})
    assert [entry["digest"] for entry in answer.json()["manifests"]] == [sbom.digest]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Status(500), 502), (Status(429), 503), (Status(401), 404), (Html200(), 502), (Json200(), 502), (Hang(), 504)],
    ids=str,
)
async def test_referrers__upstream_that_fails(hub: FakeHub, server: Server, fault: Fault, status: int) -> None:
    mirror = await server(upstream={"read_timeout": 1, "connect_timeout": 1})
    hub.referrers = True
    hub.add_image(NAME, "v1", IMAGE)
    hub.fault("referrers", fault)
    assert (await fetch(mirror, f"/v2/{NAME}/referrers/{IMAGE.digest}")).status == status


async def signed(hub: FakeHub, mirror: RunningMirror) -> tuple[str, str]:
    """An image with an SBOM, which has been pulled, and a signature, which has not."""
    hub.add_image(NAME, "v1", IMAGE)
    sbom, signature = make_artifact("sbom", IMAGE), make_artifact("signature", IMAGE, SIGNATURE)
    for artifact in (sbom, signature):
        hub.add_image(NAME, None, artifact)
    for reference in ("v1", sbom.digest):
        assert (await fetch(mirror, manifest(reference))).status == 200
    return sbom.digest, f"/v2/{NAME}/referrers/{IMAGE.digest}"


@pytest.mark.parametrize("fault", [None, Status(500), Status(429), Drop(), Html200(), Json200()], ids=str)
async def test_referrers__cached_ones_while_the_upstream_fails(
    hub: FakeHub, mirror: RunningMirror, fault: Fault | None
) -> None:
    """That is some of them, and is said to be; where it is none of them, that is no answer."""
    hub.referrers = True
    sbom, path = await signed(hub, mirror)
    answer = await mirror.get(path)
    assert len(answer.json()["manifests"]) == 2
    assert "X-Cache" not in answer.headers
    if fault is None:
        await hub.stop()
    else:
        hub.fault("referrers", fault)
    for query in ({}, {"artifactType": SBOM}):
        answer = await mirror.get(path, params=query)
        assert (answer.status, answer.headers["X-Cache"]) == (200, "stale")
        assert [entry["digest"] for entry in answer.json()["manifests"]] == [sbom]
        assert ("OCI-Filters-Applied" in answer.headers) == bool(query)
    assert (await mirror.get(path, params={"artifactType": SIGNATURE})).status in (502, 503)
    assert (await mirror.get(f"/v2/{NAME}/referrers/{sbom}")).status in (502, 503)


async def test_referrers__empty_list_of_the_upstreams(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.referrers = True
    hub.add_image(NAME, "v1", IMAGE)
    answer = await mirror.get(f"/v2/{NAME}/referrers/{IMAGE.digest}")
    assert (answer.status, answer.json()["manifests"]) == (200, [])


@pytest.mark.parametrize("name", ["quay.example/org/app", "ours/app"])
async def test_referrers__of_what_is_not_here(server: Server, name: str) -> None:
    """Another registry's name, one that is ours and was never pushed: no manifest of them is to be had, and their list
    is empty. (Of what the rules hide there is none.)"""
    mirror = await server(upstream={"deny": ["bad/*"]}, hosted={"allow": ["ours/*"]})
    assert (await mirror.get(f"/v2/bad/app/referrers/{IMAGE.digest}")).status == 404
    answer = await mirror.get(f"/v2/{name}/referrers/{IMAGE.digest}")
    assert (answer.status, answer.json()["manifests"]) == (200, [])
    assert (await mirror.get(f"/v2/{name}/manifests/{IMAGE.digest}")).status == 404


async def test_referrers__refused_while_some_are_cached(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.referrers = True
    _, path = await signed(hub, mirror)
    hub.fault("referrers", Status(403))
    assert (await mirror.get(path)).status == 404


async def test_referrers__kept_under_a_tag_while_the_upstream_is_down(hub: FakeHub, mirror: RunningMirror) -> None:
    """The tag has them all, as of last time; a list of those that were pulled would keep clients from it."""
    _, path = await signed(hub, mirror)
    fallback = f"sha256-{IMAGE.digest[7:]}"
    hub.add_image(NAME, fallback, make_image("list of referrers", []))
    assert (await mirror.get(path)).status == 404
    assert (await fetch(mirror, manifest(fallback))).status == 200
    await hub.stop()
    answer = await mirror.get(path)
    assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    assert (await fetch(mirror, manifest(fallback))).status == 200
