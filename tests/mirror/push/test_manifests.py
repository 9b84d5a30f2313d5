"""Manifests that are pushed: kept byte for byte, with every tag at once, and only if what they need is here."""

import hashlib
import json
from typing import Any

import pytest

from ocispec.media_types import DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX
from tests.conftest import RunningMirror, Server
from tests.fakes.images import digest_of, make_artifact, make_image, make_index
from tests.mirror.push.pushing import REPOSITORY, code, push_blob, push_image, put_manifest
from tests.mirror.wire import manifest, stored

IMAGE = make_image("manifests", [100, 50])
OTHER = make_image("manifests/other", [10])
INDEX = make_index([IMAGE, OTHER])


@pytest.mark.parametrize("media", ["oci", "docker"])
async def test_push(mirror: RunningMirror, media: Any) -> None:
    image = make_image("manifests", [100], media)
    answer = await push_image(mirror, image, "v1")
    assert (answer.status, answer.body) == (201, b"")
    assert answer.headers["Location"] == manifest(image.digest, REPOSITORY)
    assert answer.headers["Docker-Content-Digest"] == image.digest
    assert "OCI-Subject" not in answer.headers
    for reference in ("v1", image.digest):
        got = await mirror.get(manifest(reference, REPOSITORY))
        assert (got.body, got.headers["Content-Type"]) == (image.manifest, image.media_type)
        assert got.headers["Docker-Content-Digest"] == image.digest


async def test_push__bytes_are_kept_as_they_are(mirror: RunningMirror) -> None:
    """Odd spacing, escapes and members that nobody knows: another form would have another digest."""
    await push_image(mirror, IMAGE, "v1")
    document = json.loads(IMAGE.manifest)
    odd = json.dumps({"x-unknown": [1.5, "\u00e9", None], **document}, indent=7).replace("v1", "v\\u0031").encode()
    assert (await put_manifest(mirror, "odd", odd + b"\n \n")).status == 201
    assert (await mirror.get(manifest("odd", REPOSITORY))).body == odd + b"\n \n"


async def test_push__by_digest(mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "v1")
    assert (await put_manifest(mirror, IMAGE.digest, IMAGE.manifest)).status == 201
    wrong = await put_manifest(mirror, digest_of(b"x"), IMAGE.manifest)
    assert code(wrong) == (400, "DIGEST_INVALID")
    assert wrong.json()["errors"][0]["detail"] == {"expected": digest_of(b"x"), "received": IMAGE.digest}


async def test_push__sha512(mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "v1")
    digest = f"sha512:{hashlib.sha512(IMAGE.manifest).hexdigest()}"
    answer = await put_manifest(mirror, digest, IMAGE.manifest)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    for reference in (digest, IMAGE.digest):
        assert (await mirror.get(manifest(reference, REPOSITORY))).body == IMAGE.manifest


async def test_tag__moves(mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "latest")
    assert (await mirror.get(manifest("latest", REPOSITORY))).body == IMAGE.manifest
    await push_image(mirror, OTHER, "latest")
    assert (await mirror.get(manifest("latest", REPOSITORY))).body == OTHER.manifest
    assert (await mirror.get(manifest(IMAGE.digest, REPOSITORY))).body == IMAGE.manifest


async def test_tags_in_the_query(mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "v1")
    body, headers = IMAGE.manifest, {"Content-Type": IMAGE.media_type}
    path = manifest(IMAGE.digest, REPOSITORY)
    answer = await mirror.put(f"{path}?tag=1&tag=1.0&tag=1.0.0", data=body, headers=headers)
    assert answer.status == 201
    assert answer.headers.getall("OCI-Tag") == ["1", "1.0", "1.0.0"]
    assert (await mirror.get(f"/v2/{REPOSITORY}/tags/list")).json()["tags"] == ["1", "1.0", "1.0.0", "v1"]
    bad = await mirror.put(f"{path}?tag=2&tag=.bad", data=body, headers=headers)
    assert code(bad) == (400, "TAG_INVALID")
    assert (await mirror.get(manifest("2", REPOSITORY))).status == 404  # all of them or none


async def test_subject(mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "v1")
    artifact = make_artifact("signature", IMAGE)
    answer = await push_image(mirror, artifact, artifact.digest)
    assert (answer.status, answer.headers["OCI-Subject"]) == (201, IMAGE.digest)
    orphan = make_artifact("orphan", OTHER)  # its subject may come later, or never
    answer = await push_image(mirror, orphan, orphan.digest)
    assert (answer.status, answer.headers["OCI-Subject"]) == (201, OTHER.digest)


async def test_missing_blobs(mirror: RunningMirror) -> None:
    await push_blob(mirror, IMAGE.blobs[IMAGE.config])
    answer = await put_manifest(mirror, "v1", IMAGE.manifest)
    assert code(answer) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert answer.json()["errors"][0]["detail"] == [{"digest": layer} for layer in IMAGE.layers]
    assert (await mirror.get(manifest("v1", REPOSITORY))).status == 404
    assert stored(mirror) == {IMAGE.config}


async def test_missing_blobs__that_another_repository_has(mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "v1", "team/other")
    assert code(await put_manifest(mirror, "v1", IMAGE.manifest)) == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_missing_blobs__that_need_not_be_here(mirror: RunningMirror) -> None:
    """Foreign layers: their bytes come from elsewhere, and are never fetched by us."""
    document = json.loads(IMAGE.manifest)
    foreign = {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "size": 5}
    document["layers"] = [{**foreign, "digest": digest_of(b"far away"), "urls": ["http://127.0.0.1:9/x"]}]
    await push_blob(mirror, IMAGE.blobs[IMAGE.config])
    assert (await put_manifest(mirror, "v1", json.dumps(document).encode())).status == 201


@pytest.mark.parametrize(("sparse", "image", "index"), [("index", 404, 201), ("all", 201, 201), ("none", 404, 404)])
async def test_sparse(server: Server, sparse: str, image: int, index: int) -> None:
    mirror = await server(registry={"sparse_manifests": sparse})
    assert (await put_manifest(mirror, "image", IMAGE.manifest)).status == image
    assert (await put_manifest(mirror, "index", INDEX.manifest, INDEX.media_type)).status == index


async def test_index__complete(server: Server) -> None:
    mirror = await server(registry={"sparse_manifests": "none"})
    for child in (IMAGE, OTHER):
        missing = await put_manifest(mirror, "multi", INDEX.manifest, INDEX.media_type)
        assert code(missing) == (404, "MANIFEST_BLOB_UNKNOWN")
        await push_image(mirror, child, child.digest)
    assert (await put_manifest(mirror, "multi", INDEX.manifest, INDEX.media_type)).status == 201
    assert (await mirror.get(manifest("multi", REPOSITORY))).body == INDEX.manifest


def changed(**members: Any) -> bytes:
    return json.dumps({**json.loads(IMAGE.manifest), **members}).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(IMAGE.manifest).items() if key != name}).encode()


DESCRIPTOR = json.loads(IMAGE.manifest)["config"]
CONFUSED: list[tuple[str, bytes]] = [
    (OCI_IMAGE, b""),
    (OCI_IMAGE, b"{"),
    (OCI_IMAGE, b"null"),
    (OCI_IMAGE, b"[]"),
    (OCI_IMAGE, b"{}"),
    (OCI_IMAGE, b"\xff\xfe"),
    (OCI_IMAGE, b"\xef\xbb\xbf" + IMAGE.manifest),
    (OCI_IMAGE, b"[" * 100_000 + b"]" * 100_000),
    (OCI_IMAGE, IMAGE.manifest[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}"),
    (OCI_IMAGE, changed(manifests=[])),
    (OCI_IMAGE, changed(manifests=None)),
    (OCI_IMAGE, changed(Manifests=[])),
    (OCI_IMAGE, changed(Layers=[])),
    (OCI_IMAGE, changed(CONFIG=DESCRIPTOR)),
    (OCI_IMAGE, IMAGE.manifest[:-1] + b',"layers":[]}'),
    (OCI_IMAGE, IMAGE.manifest[:-1] + b',"mediaType":"application/vnd.oci.image.index.v1+json"}'),
    (OCI_IMAGE, IMAGE.manifest[:-1] + b',"x":{"a":1,"a":2}}'),
    (OCI_IMAGE, IMAGE.manifest[:-1] + b',"x":NaN}'),
    (OCI_IMAGE, IMAGE.manifest[:-1] + b',"x":1e999}'),
    (OCI_IMAGE, IMAGE.manifest[:-1] + b',"x":"\\ud800"}'),
    (OCI_IMAGE, changed(mediaType=DOCKER_IMAGE)),
    (OCI_IMAGE, changed(mediaType=OCI_INDEX)),
    (OCI_IMAGE, changed(mediaType=1)),
    (OCI_IMAGE, changed(schemaVersion=1)),
    (OCI_IMAGE, changed(schemaVersion="2")),
    (OCI_IMAGE, changed(schemaVersion=True)),
    (OCI_IMAGE, without("schemaVersion")),
    (OCI_IMAGE, without("config")),
    (OCI_IMAGE, without("layers")),
    (OCI_IMAGE, changed(layers={})),
    (OCI_IMAGE, changed(layers=[DESCRIPTOR["digest"]])),
    (OCI_IMAGE, changed(config={**DESCRIPTOR, "size": -1})),
    (OCI_IMAGE, changed(config={**DESCRIPTOR, "size": "2"})),
    (OCI_IMAGE, changed(config={**DESCRIPTOR, "size": 2**63})),
    (OCI_IMAGE, changed(config={**DESCRIPTOR, "digest": "sha256:../../etc"})),
    (OCI_IMAGE, changed(config={**DESCRIPTOR, "digest": DESCRIPTOR["digest"].upper()})),
    (OCI_IMAGE, changed(config={"mediaType": "x", "size": 2})),
    (OCI_IMAGE, changed(subject={"digest": "x"})),
    (OCI_IMAGE, changed(annotations={"a": 1})),
    (OCI_IMAGE, changed(artifactType=[])),
    (OCI_INDEX, IMAGE.manifest),
    (OCI_INDEX, json.dumps({"schemaVersion": 2, "manifests": [], "layers": []}).encode()),
    (OCI_INDEX, json.dumps({"schemaVersion": 2, "manifests": [], "config": DESCRIPTOR}).encode()),
    (OCI_INDEX, json.dumps({"schemaVersion": 2}).encode()),
    (DOCKER_LIST, INDEX.manifest),
    ("text/html", IMAGE.manifest),
    ("application/vnd.docker.distribution.manifest.v1+json", b'{"schemaVersion":1,"fsLayers":[]}'),
    ("application/json", without("mediaType")),
]


async def test_confused(mirror: RunningMirror) -> None:
    for data in IMAGE.blobs.values():
        await push_blob(mirror, data)
    for media_type, body in CONFUSED:
        answer = await put_manifest(mirror, "v1", body, media_type)
        assert code(answer) == (400, "MANIFEST_INVALID"), (media_type, body[:500])
    assert (await mirror.get(manifest("v1", REPOSITORY))).status == 404
    assert stored(mirror) == set(IMAGE.blobs)


@pytest.mark.parametrize(
    "media_type", ["", "application/json", "application/octet-stream", f"{OCI_IMAGE}; charset=utf-8"]
)
async def test_type_that_only_the_manifest_names(mirror: RunningMirror, media_type: str) -> None:
    for data in IMAGE.blobs.values():
        await push_blob(mirror, data)
    assert (await put_manifest(mirror, "v1", IMAGE.manifest, media_type)).status == 201
    assert (await mirror.get(manifest("v1", REPOSITORY))).headers["Content-Type"] == OCI_IMAGE
