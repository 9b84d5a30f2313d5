import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec import media_types
from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.errors import ManifestInvalid
from ocispec.manifest import MAX_BYTES, Manifest, parse_manifest
from ocispec.media_types import DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX
from tests.ocispec.samples import SHA256, SHA512, digest_texts, json_values, law

_CONFIG: dict[str, object] = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": SHA256, "size": 7}
_LAYER: dict[str, object] = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": SHA512, "size": 9}
_CHILD: dict[str, object] = {"mediaType": OCI_IMAGE, "digest": SHA256, "size": 500}

_IMAGE: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": _CONFIG, "layers": [_LAYER]}
_INDEX: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_CHILD]}
_GONE = object()


def _bytes(base: dict[str, object], **changes: object) -> bytes:
    value = {name: member for name, member in {**base, **changes}.items() if member is not _GONE}
    return json.dumps(value).encode()


def _image(**changes: object) -> bytes:
    return _bytes(_IMAGE, **changes)


def _index(**changes: object) -> bytes:
    return _bytes(_INDEX, **changes)


def _doubled(body: bytes, member: str) -> bytes:
    """The same object with one more member in front."""
    return b"{" + member.encode() + b", " + body[1:]


def _nested(depth: int) -> bytes:
    """An image of exactly this many levels, itself included."""
    return _image(x=1).replace(b'"x": 1', b'"x": ' + b"[" * (depth - 1) + b"]" * (depth - 1))


def _descriptor(value: dict[str, object]) -> Descriptor:
    return Descriptor.from_json(value, "here")


# Body and declared type of what two readers could understand differently, or none at all.
CONFUSED: dict[str, tuple[bytes, str]] = {
    # Not JSON.
    "empty": (b"", OCI_IMAGE),
    "blank": (b" \n", OCI_IMAGE),
    "html": (b"<!DOCTYPE html><title>Login</title>", OCI_IMAGE),
    "cut": (_image()[:-1], OCI_IMAGE),
    "two documents": (_image() + _image(), OCI_IMAGE),
    "zero byte at the end": (_image() + b"\0", OCI_IMAGE),
    "byte order mark": (b"\xef\xbb\xbf" + _image(), OCI_IMAGE),
    "UTF-16": (_image().decode().encode("utf-16"), OCI_IMAGE),
    "UTF-16 without a mark": (_image().decode().encode("utf-16-le"), OCI_IMAGE),
    "UTF-32": (_image().decode().encode("utf-32"), OCI_IMAGE),
    "Latin-1": (_image(annotations={"a": "X"}).replace(b"X", b"\xe9"), OCI_IMAGE),
    "overlong UTF-8": (_image(annotations={"a": "X"}).replace(b"X", b"\xc0\xaf"), OCI_IMAGE),
    "a surrogate in UTF-8": (_image(annotations={"a": "X"}).replace(b"X", b"\xed\xa0\x80"), OCI_IMAGE),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", OCI_IMAGE),
    "comments": (b"/* a */" + _image(), OCI_IMAGE),
    "trailing comma": (_image()[:-1] + b",}", OCI_IMAGE),
    "single quotes": (_image().replace(b'"', b"'"), OCI_IMAGE),
    "line end in a text": (_image(annotations={"a": "X"}).replace(b"X", b"\n"), OCI_IMAGE),
    # JSON, but no object.
    "null": (b"null", OCI_IMAGE),
    "true": (b"true", OCI_IMAGE),
    "number": (b"2", OCI_IMAGE),
    "text": (b'"a"', OCI_IMAGE),
    "list": (b"[" + _image() + b"]", OCI_IMAGE),
    "empty list": (b"[]", OCI_IMAGE),
    "empty object": (b"{}", OCI_IMAGE),
    # Depth.
    "200000 brackets": (b"[" * 200_000, OCI_IMAGE),
    "200000 braces": (b'{"a":' * 200_000, OCI_IMAGE),
    "200000 brackets and their ends": (b"[" * 200_000 + b"]" * 200_000, OCI_IMAGE),
    "40000 brackets": (b"[" * 40_000, OCI_IMAGE),
    "40000 braces": (b'{"a":' * 40_000, OCI_IMAGE),
    "65 levels": (_nested(65), OCI_IMAGE),
    "900 levels": (_nested(900), OCI_IMAGE),
    "a member below brackets": (_image(x=1).replace(b'"x": 1', b'"x": ' + b"[" * 200_000), OCI_IMAGE),
    # Numbers and texts that not all readers have.
    "NaN": (_image(x=float("nan")), OCI_IMAGE),
    "Infinity": (_image(x=float("inf")), OCI_IMAGE),
    "-Infinity": (_image(x=float("-inf")), OCI_IMAGE),
    "1e400": (_image(x=1).replace(b'"x": 1', b'"x": 1e400'), OCI_IMAGE),
    "-1e400 inside": (_image(x=[{"y": 1}]).replace(b'"y": 1', b'"y": -1e400'), OCI_IMAGE),
    "5000 digits": (_image(x=1).replace(b'"x": 1', b'"x": ' + b"9" * 5000), OCI_IMAGE),
    "half a surrogate pair in an annotation": (_image(annotations={"a": "\ud800"}), OCI_IMAGE),
    "half a surrogate pair in a name": (_image(annotations={"\udfff": "a"}), OCI_IMAGE),
    "half a surrogate pair in a type": (_image(artifactType="a/\ud800"), OCI_IMAGE),
    "half a surrogate pair in an unknown list": (_image(x=["\udc00\ud800"]), OCI_IMAGE),
    # Names given twice.
    "layers twice": (_doubled(_image(), '"layers": []'), OCI_IMAGE),
    "layers twice, the same": (_doubled(_image(), f'"layers": {json.dumps([_LAYER])}'), OCI_IMAGE),
    "mediaType twice": (_doubled(_image(), f'"mediaType": "{OCI_INDEX}"'), OCI_IMAGE),
    "schemaVersion twice": (_doubled(_image(), '"schemaVersion": 1'), OCI_IMAGE),
    "an unknown name twice": (_doubled(_image(x=1), '"x": 1'), OCI_IMAGE),
    "a name twice, once escaped": (_doubled(_image(), '"l\\u0061yers": []'), OCI_IMAGE),
    "digest twice in a layer": (_image().replace(b'"size": 9', b'"size": 9, "digest": "a"'), OCI_IMAGE),
    "an annotation twice": (_image(annotations={"a": "b"}).replace(b'"b"', b'"b", "a": "c"'), OCI_IMAGE),
    # Names in another case.
    "Layers beside layers": (_image(Layers=[]), OCI_IMAGE),
    "Layers alone": (_image(layers=_GONE, Layers=[_LAYER]), OCI_IMAGE),
    "MEDIATYPE beside mediaType": (_image(MEDIATYPE=OCI_INDEX), OCI_IMAGE),
    "MediaType alone": (_image(mediaType=_GONE, MediaType=OCI_INDEX), OCI_IMAGE),
    "Manifests in an image": (_image(Manifests=[_CHILD]), OCI_IMAGE),
    "Layers in an index": (_index(Layers=[_LAYER]), OCI_INDEX),
    "CONFIG in an index": (_index(CONFIG=_CONFIG), OCI_INDEX),
    "FSLayers in an index": (_index(FSLayers=[]), OCI_INDEX),
    "a long s in layers": (_bytes({**_INDEX, "layer\u017f": [_LAYER]}), OCI_INDEX),
    "Subject": (_image(Subject=_CHILD), OCI_IMAGE),
    "unknown names that differ in case": (_image(other=1, Other=2), OCI_IMAGE),
    "Digest in a layer": (_image(layers=[{**_LAYER, "Digest": SHA256}]), OCI_IMAGE),
    "Size in the config": (_image(config={**_CONFIG, "Size": 1}), OCI_IMAGE),
    "Digest in a child": (_index(manifests=[{**_CHILD, "Digest": SHA512}]), OCI_INDEX),
    "Digest in the subject": (_index(subject={**_CHILD, "Digest": SHA512}), OCI_INDEX),
    # Both an image and an index.
    "manifests in an image": (_image(manifests=[_CHILD]), OCI_IMAGE),
    "manifests in an image: empty": (_image(manifests=[]), OCI_IMAGE),
    "manifests in an image: null": (_image(manifests=None), OCI_IMAGE),
    "manifests in an image of docker": (_image(mediaType=DOCKER_IMAGE, manifests=[_CHILD]), DOCKER_IMAGE),
    "layers in an index": (_index(layers=[_LAYER]), OCI_INDEX),
    "layers in an index: empty": (_index(layers=[]), OCI_INDEX),
    "layers in an index: null": (_index(layers=None), OCI_INDEX),
    "config in an index": (_index(config=_CONFIG), OCI_INDEX),
    "config in an index: null": (_index(config=None), OCI_INDEX),
    "fsLayers in an index": (_index(fsLayers=[{"blobSum": SHA256}]), OCI_INDEX),
    "everything, and no type": (_bytes({**_IMAGE, **_INDEX}, mediaType=_GONE), OCI_IMAGE),
    "an image declared as an index": (_image(mediaType=_GONE), OCI_INDEX),
    "an index declared as an image": (_index(mediaType=_GONE), OCI_IMAGE),
    # Types that contradict each other, or are none.
    "image in the body, index declared": (_image(), OCI_INDEX),
    "index in the body, image declared": (_index(), OCI_IMAGE),
    "OCI in the body, docker declared": (_image(), DOCKER_IMAGE),
    "docker in the body, OCI declared": (_index(mediaType=DOCKER_LIST), OCI_INDEX),
    "unknown in the body, image declared": (_image(mediaType="text/html"), OCI_IMAGE),
    "another case in the body": (_image(mediaType=OCI_IMAGE.upper()), OCI_IMAGE),
    "a blank after the type": (_image(mediaType=OCI_IMAGE + " "), OCI_IMAGE),
    "a parameter in the body": (_image(mediaType=OCI_IMAGE + ";a=b"), OCI_IMAGE),
    "no type at all": (_image(mediaType=_GONE), ""),
    "an empty type": (_image(mediaType=""), ""),
    "a type of null": (_image(mediaType=None), ""),
    "no type but JSON": (_index(mediaType=_GONE), "application/json"),
    "an unknown type": (_image(mediaType="application/vnd.example+json"), ""),
    "an unknown type declared": (_image(), "application/vnd.example+json"),
    "HTML declared": (_image(), "text/html; charset=utf-8"),
    "a config declared": (_image(), "application/vnd.oci.image.config.v1+json"),
    "two types declared": (_image(), f"{OCI_IMAGE}, {OCI_INDEX}"),
    "a type that is a number": (_image(mediaType=2), OCI_IMAGE),
    "a type that is a list": (_image(mediaType=[OCI_IMAGE]), OCI_IMAGE),
    "a type that is false": (_image(mediaType=False), OCI_IMAGE),
    # Schema 1 and others.
    "schema 1": (
        json.dumps(
            {"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [{"blobSum": SHA256}], "history": []}
        ).encode(),
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ),
    "schema 1 declared as an image": (_image(schemaVersion=1, fsLayers=[]), OCI_IMAGE),
    "schema 1 declared, schema 2 inside": (_image(), "application/vnd.docker.distribution.manifest.v1+json"),
    "schema 3": (_image(schemaVersion=3), OCI_IMAGE),
    "no schema": (_image(schemaVersion=_GONE), OCI_IMAGE),
    "schema of null": (_image(schemaVersion=None), OCI_IMAGE),
    "schema as a text": (_image(schemaVersion="2"), OCI_IMAGE),
    "schema as a fraction": (_image(schemaVersion=2.0), OCI_IMAGE),
    "schema true": (_image(schemaVersion=True), OCI_IMAGE),
    "schema as a list": (_image(schemaVersion=[2]), OCI_IMAGE),
    # Descriptors.
    "size true": (_image(layers=[{**_LAYER, "size": True}]), OCI_IMAGE),
    "size false": (_image(config={**_CONFIG, "size": False}), OCI_IMAGE),
    "size -1": (_image(layers=[{**_LAYER, "size": -1}]), OCI_IMAGE),
    "size beyond any file": (_image(layers=[{**_LAYER, "size": 2**63}]), OCI_IMAGE),
    "size of 30 digits": (_index(manifests=[{**_CHILD, "size": 10**30}]), OCI_INDEX),
    "size 1e400": (_image().replace(b'"size": 9', b'"size": 1e400'), OCI_IMAGE),
    "size as a fraction": (_image(layers=[{**_LAYER, "size": 9.0}]), OCI_IMAGE),
    "size as a text": (_image(layers=[{**_LAYER, "size": "9"}]), OCI_IMAGE),
    "size null": (_image(layers=[{**_LAYER, "size": None}]), OCI_IMAGE),
    "a digest that leads out": (_image(layers=[{**_LAYER, "digest": "sha256:../../../../etc/passwd"}]), OCI_IMAGE),
    "a digest of md5": (_image(config={**_CONFIG, "digest": "md5:" + "a" * 32}), OCI_IMAGE),
    "a digest with a line end": (_index(manifests=[{**_CHILD, "digest": SHA256 + "\n"}]), OCI_INDEX),
    "a subject without a digest": (_image(subject={"mediaType": OCI_IMAGE, "size": 5}), OCI_IMAGE),
    "a subject that is a text": (_image(subject=SHA256), OCI_IMAGE),
    "a subject that is false": (_index(subject=False), OCI_INDEX),
    "an empty subject": (_index(subject={}), OCI_INDEX),
    # Lists and maps.
    "layers null": (_image(layers=None), OCI_IMAGE),
    "layers missing": (_image(layers=_GONE), OCI_IMAGE),
    "layers an object": (_image(layers={"0": _LAYER}), OCI_IMAGE),
    "layers a text": (_image(layers=""), OCI_IMAGE),
    "a layer of null": (_image(layers=[_LAYER, None]), OCI_IMAGE),
    "a layer in a list": (_image(layers=[[_LAYER]]), OCI_IMAGE),
    "manifests null": (_index(manifests=None), OCI_INDEX),
    "manifests missing": (_index(manifests=_GONE), OCI_INDEX),
    "manifests an object": (_index(manifests={}), OCI_INDEX),
    "a child that is a digest": (_index(manifests=[SHA256]), OCI_INDEX),
    "config null": (_image(config=None), OCI_IMAGE),
    "config missing": (_image(config=_GONE), OCI_IMAGE),
    "config a list": (_image(config=[_CONFIG]), OCI_IMAGE),
    "annotations a list": (_image(annotations=[]), OCI_IMAGE),
    "annotations a text": (_index(annotations=""), OCI_INDEX),
    "annotations of numbers": (_image(annotations={"a": 1}), OCI_IMAGE),
    "annotations of null": (_index(annotations={"a": None}), OCI_INDEX),
    "artifactType a number": (_image(artifactType=0), OCI_IMAGE),
    "artifactType of an index a list": (_index(artifactType=["a/b"]), OCI_INDEX),
}


@pytest.mark.parametrize(("body", "content_type"), CONFUSED.values(), ids=CONFUSED)
def test_manifest__a_confused_one_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        parse_manifest(body, content_type)
    assert len(refused.value.envelope()) < 1000


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (_image(x=float("nan")), OCI_IMAGE, "not valid JSON"),
        (b"[" * 200_000, OCI_IMAGE, "too many parts"),
        (b"[" * 40_000, OCI_IMAGE, "nested too deeply"),
        (b'{"a":' * 40_000, OCI_IMAGE, "nested too deeply"),
        (_nested(65), OCI_IMAGE, "nested too deeply"),
        (b"[]", OCI_IMAGE, "must be a JSON object"),
        (_doubled(_image(), '"layers": []'), OCI_IMAGE, "a key is given twice"),
        (_image(other=1, Other=2), OCI_IMAGE, "differ only in case"),
        (_index(Layers=[]), OCI_INDEX, "manifest: 'Layers' is read differently"),
        (_image(schemaVersion=1), OCI_IMAGE, "schemaVersion: must be 2"),
        (_image(manifests=[]), OCI_IMAGE, "an image manifest must not have manifests"),
        (_index(layers=[]), OCI_INDEX, "an image index must not have layers"),
        (_index(config={}), OCI_INDEX, "an image index must not have config"),
        (_index(fsLayers=[]), OCI_INDEX, "an image index must not have fsLayers"),
        (_image(), OCI_INDEX, "contradicts the Content-Type"),
        (_image(), "text/html", "unsupported manifest type 'text/html'"),
        (_image(mediaType="a/b"), "", "unsupported manifest type 'a/b'"),
        (_image(mediaType=_GONE), "", "type is not given"),
        (_image(layers=[_LAYER, {**_LAYER, "size": -1}]), OCI_IMAGE, r"layers\[1\]\.size"),
        (_index(manifests=[_CHILD, {**_CHILD, "digest": "x"}]), OCI_INDEX, r"manifests\[1\]\.digest: invalid digest"),
        (_image(subject=5), OCI_IMAGE, "subject: a descriptor must be an object"),
        (_image(config=None), OCI_IMAGE, "config: a descriptor must be an object"),
        (_image(layers=None), OCI_IMAGE, "layers: must be a list"),
    ],
)
def test_manifest__the_refusal_says_why(body: bytes, content_type: str, reason: str) -> None:
    with pytest.raises(ManifestInvalid, match=reason):
        parse_manifest(body, content_type)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (_image(mediaType="x" * 1_000_000), OCI_IMAGE),
        (_image(mediaType="x" * 1_000_000), ""),
        (_image(), "x" * 1_000_000),
        (_image(layers=[{**_LAYER, "digest": "x" * 1_000_000}]), OCI_IMAGE),
        (_image(**{"x" * 1_000_000: 1, "X" * 1_000_000: 1}), OCI_IMAGE),
        (_doubled(_image(), f'"{"x" * 1_000_000}": 1, "{"x" * 1_000_000}": 1'), OCI_IMAGE),
        (_image(annotations={"x" * 1_000_000: 1}), OCI_IMAGE),
        (_image(annotations={"a": "\ud800" * 100_000}), OCI_IMAGE),
    ],
    ids=range(8),
)
def test_manifest__the_refusal_does_not_repeat_a_long_body(body: bytes, content_type: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        parse_manifest(body, content_type)
    assert len(refused.value.envelope()) < 500


def test_manifest__an_image() -> None:
    assert parse_manifest(_image(), OCI_IMAGE) == Manifest(
        OCI_IMAGE,
        config=_descriptor(_CONFIG),
        layers=(_descriptor(_LAYER),),
        artifact_type="application/vnd.oci.image.config.v1+json",
    )


def test_manifest__an_image_with_everything() -> None:
    body = _image(
        subject=_CHILD, artifactType="a/sbom", annotations={"a": "b"}, x={"unknown": [1, 2.5, None, "\u00e9"]}
    )
    assert parse_manifest(body, OCI_IMAGE) == Manifest(
        OCI_IMAGE,
        config=_descriptor(_CONFIG),
        layers=(_descriptor(_LAYER),),
        subject=_descriptor(_CHILD),
        artifact_type="a/sbom",
        annotations={"a": "b"},
    )


def test_manifest__an_index_with_everything() -> None:
    child = {**_CHILD, "platform": {"os": "linux", "architecture": "arm64"}, "annotations": {"c": "d"}}
    body = _index(manifests=[child, _CHILD], subject=_CHILD, artifactType="a/set", annotations={"a": "b"})
    assert parse_manifest(body, OCI_INDEX) == Manifest(
        OCI_INDEX,
        manifests=(_descriptor(child), _descriptor(_CHILD)),
        subject=_descriptor(_CHILD),
        artifact_type="a/set",
        annotations={"a": "b"},
    )


@pytest.mark.parametrize("media_type", sorted(media_types.MANIFESTS))
@pytest.mark.parametrize(
    "declared", ["", "application/json", "text/plain; charset=utf-8", "application/octet-stream", "same"]
)
def test_manifest__its_type_is_the_declared_one_or_its_own(media_type: str, declared: str) -> None:
    body = (_index if media_type in media_types.INDEXES else _image)(mediaType=media_type)
    manifest = parse_manifest(body, media_type if declared == "same" else declared)
    assert manifest.media_type == media_type
    assert manifest.is_index == (media_type in media_types.INDEXES)


@pytest.mark.parametrize("written", [_GONE, None, ""])
def test_manifest__without_a_type_inside_the_declared_one_counts(written: object) -> None:
    assert parse_manifest(_image(mediaType=written), OCI_IMAGE).media_type == OCI_IMAGE
    assert (
        parse_manifest(_index(mediaType=written), f" {DOCKER_LIST.upper()} ; charset=utf-8").media_type == DOCKER_LIST
    )


def test_manifest__the_declared_type_may_be_left_out() -> None:
    assert parse_manifest(_image()) == parse_manifest(_image(), OCI_IMAGE)


def test_manifest__lists_may_be_empty() -> None:
    assert parse_manifest(_image(layers=[]), OCI_IMAGE).layers == ()
    assert parse_manifest(_index(manifests=[]), OCI_INDEX).manifests == ()


def test_manifest__null_counts_as_absent_where_absence_is_allowed() -> None:
    body = _image(subject=None, annotations=None, artifactType=None)
    assert parse_manifest(body, OCI_IMAGE) == parse_manifest(_image(), OCI_IMAGE)


def test_manifest__64_levels_are_read() -> None:
    assert parse_manifest(_nested(64), OCI_IMAGE) == parse_manifest(_image(), OCI_IMAGE)


def test_manifest__a_whole_surrogate_pair_is_a_character() -> None:
    body = _image(annotations={"a": "\U0001f600"})
    assert b"\\ud83d\\ude00" in body
    assert parse_manifest(body, OCI_IMAGE).annotations == {"a": "\U0001f600"}


def test_manifest__annotations_may_differ_only_in_case() -> None:
    assert parse_manifest(_image(annotations={"a": "1", "A": "2"}), OCI_IMAGE).annotations == {"a": "1", "A": "2"}


def test_manifest__the_largest_that_is_accepted_can_be_read() -> None:
    assert MAX_BYTES == 4 * 1024 * 1024
    text = "x" * (MAX_BYTES - len(_image(annotations={"a": ""})))
    body = _image(annotations={"a": text})
    assert len(body) == MAX_BYTES
    assert parse_manifest(body, OCI_IMAGE).annotations == {"a": text}


def _parts(count: int) -> bytes:
    """An image of exactly this many commas, brackets and braces."""
    body = _image(x=1)
    missing = count - sum(map(body.count, (b",", b"[", b"{")))
    return body.replace(b'"x": 1', b'"x": [' + b"0," * (missing - 1) + b"0]")


def test_manifest__50000_parts_are_read_and_one_more_is_refused() -> None:
    assert parse_manifest(_parts(50_000), OCI_IMAGE) == parse_manifest(_image(), OCI_IMAGE)
    with pytest.raises(ManifestInvalid, match="too many parts"):
        parse_manifest(_parts(50_001), OCI_IMAGE)


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'"",'])
def test_manifest__a_million_parts_of_any_kind_are_refused_unread(piece: bytes) -> None:
    body = _image(x=1).replace(b'"x": 1', b'"x": [' + piece * 1_000_000 + b"0]")
    with pytest.raises(ManifestInvalid, match="too many parts"):
        parse_manifest(body, OCI_IMAGE)


def test_manifest__an_artifact_is_of_its_own_type_and_else_of_its_configs() -> None:
    config = {**_CONFIG, "mediaType": "a/config"}
    assert parse_manifest(_image(config=config, artifactType="a/b"), OCI_IMAGE).artifact_type == "a/b"
    assert parse_manifest(_image(config=config, artifactType=""), OCI_IMAGE).artifact_type == "a/config"
    assert parse_manifest(_image(config=config), OCI_IMAGE).artifact_type == "a/config"
    assert parse_manifest(_index(), OCI_INDEX).artifact_type is None


def test_blobs__are_config_and_layers_in_their_order() -> None:
    manifest = parse_manifest(_image(layers=[_LAYER, _CONFIG, _LAYER]), OCI_IMAGE)
    assert list(manifest.blobs()) == [_descriptor(value) for value in (_CONFIG, _LAYER, _CONFIG, _LAYER)]


def test_blobs__an_index_has_none() -> None:
    assert list(parse_manifest(_index(subject=_CHILD), OCI_INDEX).blobs()) == []


@pytest.mark.parametrize("media_type", sorted(media_types.NONDISTRIBUTABLE))
def test_required_blobs__a_foreign_layer_is_not_among_them(media_type: str) -> None:
    foreign = {**_LAYER, "mediaType": media_type, "urls": ["https://elsewhere.example/layer"]}
    manifest = parse_manifest(_image(layers=[foreign, _LAYER]), OCI_IMAGE)
    assert list(manifest.required_blobs()) == [_descriptor(_CONFIG), _descriptor(_LAYER)]
    assert len(list(manifest.blobs())) == 3


def test_describe__is_the_entry_of_a_referrers_list() -> None:
    body = _image(subject=_CHILD, artifactType="a/sbom", annotations={"a": "b"})
    entry = parse_manifest(body, OCI_IMAGE).describe(Digest.of(body), len(body))
    assert entry.to_json() == {
        "mediaType": OCI_IMAGE,
        "digest": str(Digest.of(body)),
        "size": len(body),
        "artifactType": "a/sbom",
        "annotations": {"a": "b"},
    }


_entries = st.fixed_dictionaries(
    {"mediaType": st.text(max_size=9), "digest": digest_texts, "size": st.integers(0, 2**63 - 1)},
    optional={
        "artifactType": st.none() | st.text(max_size=9),
        "annotations": st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    },
)
_common = {
    "subject": st.none() | _entries,
    "artifactType": st.none() | st.text(max_size=9),
    "annotations": st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    "vnd.example": st.integers() | st.text(max_size=5) | st.lists(st.booleans(), max_size=3),
}
_images = st.fixed_dictionaries(
    {
        "schemaVersion": st.just(2),
        "mediaType": st.sampled_from(sorted(media_types.IMAGES)),
        "config": _entries,
        "layers": st.lists(_entries, max_size=3),
    },
    optional=_common,
)
_indexes = st.fixed_dictionaries(
    {
        "schemaVersion": st.just(2),
        "mediaType": st.sampled_from(sorted(media_types.INDEXES)),
        "manifests": st.lists(_entries, max_size=3),
    },
    optional=_common,
)


def _digests(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [entry["digest"] for entry in entries]


@law
@given(_images | _indexes, st.booleans(), st.sampled_from([None, 2]))
def test_manifest__what_is_written_by_the_rules_is_read(
    value: dict[str, object], escape: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=escape, indent=indent).encode()
    manifest = parse_manifest(body, str(value["mediaType"]))
    assert manifest == parse_manifest(body)
    assert manifest.media_type == value["mediaType"]
    assert manifest.annotations == (value.get("annotations") or {})
    assert (manifest.subject is None) == (value.get("subject") is None)
    if manifest.is_index:
        assert [str(child.digest) for child in manifest.manifests] == _digests(value["manifests"])
        assert (manifest.config, manifest.layers) == (None, ())
    else:
        assert [str(blob.digest) for blob in manifest.blobs()] == _digests([value["config"], *value["layers"]])  # type: ignore[misc]
        assert manifest.manifests == ()


@law
@given(_images, _indexes, st.sampled_from(["", *sorted(media_types.MANIFESTS)]), st.booleans())
def test_manifest__never_both_an_image_and_an_index(
    image: dict[str, object], index: dict[str, object], declared: str, image_first: bool
) -> None:
    both = {**index, **image} if image_first else {**image, **index}
    with pytest.raises(ManifestInvalid):
        parse_manifest(json.dumps(both).encode(), declared)


_broken = st.builds(
    lambda body, at, piece, taken: body[: at % len(body)] + piece + body[at % len(body) + taken :],
    (_images | _indexes).map(lambda value: json.dumps(value).encode()),
    st.integers(0, 2000),
    st.sampled_from([b"", b"\0", b'"', b"{", b"[", b"]", b",", b"\\", b"\xff", b"NaN", b"1e999", b"null", b"\\ud800"])
    | st.binary(),
    st.integers(0, 5),
)
_types = st.sampled_from(["", *sorted(media_types.MANIFESTS), "application/json"]) | st.text(max_size=10)


@law
@given(st.binary() | _broken | json_values.map(lambda value: json.dumps(value).encode()), _types)
def test_manifest__any_bytes_are_a_manifest_or_invalid(body: bytes, content_type: str) -> None:
    try:
        manifest = parse_manifest(body, content_type)
    except ManifestInvalid:
        return
    assert manifest.media_type in media_types.MANIFESTS
    assert (manifest.config is None) == manifest.is_index
    # It can be kept: the index of the store takes UTF-8 and 64 bits.
    for descriptor in (*manifest.blobs(), *manifest.manifests):
        json.dumps(descriptor.to_json(), ensure_ascii=False, allow_nan=False).encode()
        assert 0 <= descriptor.size < 2**63


@law
@given(
    st.fixed_dictionaries(
        {"schemaVersion": st.just(2) | json_values},
        optional={
            "mediaType": st.sampled_from(sorted(media_types.MANIFESTS)) | json_values,
            **dict.fromkeys(["config", "subject"], _entries | json_values),
            **dict.fromkeys(
                ["layers", "manifests", "fsLayers"], st.lists(_entries | json_values, max_size=3) | json_values
            ),
            **dict.fromkeys(["annotations", "artifactType", "Layers"], json_values),
        },
    ),
    _types,
)
def test_manifest__any_json_of_its_members_is_a_manifest_or_invalid(
    value: dict[str, object], content_type: str
) -> None:
    try:
        manifest = parse_manifest(json.dumps(value).encode(), content_type)
    except ManifestInvalid:
        return
    assert ("manifests" in value) == manifest.is_index
    assert ("config" in value) != manifest.is_index
    assert ("layers" in value) != manifest.is_index
    assert "Layers" not in value
