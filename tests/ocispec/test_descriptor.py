import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.descriptor import Descriptor, annotations_of, check_names, text_of
from ocispec.digest import Digest
from ocispec.errors import ManifestInvalid
from tests.ocispec.samples import HOSTILE, SHA256, SHA512, digest_texts, json_values, law

_LAYER: dict[str, object] = {"mediaType": "a/layer", "digest": SHA256, "size": 5}


def test_descriptor__all_members_are_read() -> None:
    value = {**_LAYER, "artifactType": "a/sbom", "annotations": {"a": "b"}, "urls": ["https://a"], "data": "eA=="}
    assert Descriptor.from_json(value, "config") == Descriptor("a/layer", Digest.parse(SHA256), 5, "a/sbom", {"a": "b"})


def test_descriptor__what_may_be_absent_is_empty() -> None:
    found = Descriptor.from_json({"digest": SHA512, "size": 0}, "config")
    assert found == Descriptor("", Digest.parse(SHA512), 0, None, {})


def test_descriptor__null_counts_as_absent() -> None:
    value = {**_LAYER, "mediaType": None, "artifactType": None, "annotations": None}
    assert Descriptor.from_json(value, "config") == Descriptor("", Digest.parse(SHA256), 5)


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "", SHA256, [], [_LAYER], b"{}"])
def test_descriptor__what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(ManifestInvalid, match=r"layers\[3\]: a descriptor must be an object"):
        Descriptor.from_json(value, "layers[3]")


@pytest.mark.parametrize("size", [0, 1, 2**31, 2**53 + 1, 2**63 - 1])
def test_descriptor__a_size_is_any_file_size(size: int) -> None:
    assert Descriptor.from_json({**_LAYER, "size": size}, "config").size == size


@pytest.mark.parametrize(
    "size",
    [
        *(-1, -(2**63), 2**63, 2**64, 10**30, True, False, None, "5", "", 5.0, 0.0, -0.5, 1e30),
        *(float("inf"), float("nan"), [5], {"size": 5}),
    ],
)
def test_descriptor__a_size_that_is_none_is_refused(size: object) -> None:
    with pytest.raises(ManifestInvalid, match=r"config\.size: must be a whole number of bytes"):
        Descriptor.from_json({**_LAYER, "size": size}, "config")


def test_descriptor__a_missing_size_is_refused() -> None:
    with pytest.raises(ManifestInvalid, match=r"config\.size"):
        Descriptor.from_json({"digest": SHA256}, "config")


@pytest.mark.parametrize("digest", [None, 5, True, ["sha256:"], {"sha256": "a"}, b"sha256:"])
def test_descriptor__a_digest_that_is_no_text_is_refused(digest: object) -> None:
    with pytest.raises(ManifestInvalid, match=r"config\.digest: missing"):
        Descriptor.from_json({**_LAYER, "digest": digest}, "config")


@pytest.mark.parametrize(
    "digest", [*HOSTILE, SHA256 + "\n", SHA256.upper(), "md5:" + "a" * 32], ids=lambda digest: ascii(digest)[:30]
)
def test_descriptor__an_unsafe_digest_is_an_invalid_manifest(digest: str) -> None:
    with pytest.raises(ManifestInvalid, match=r"config\.digest: invalid digest"):
        Descriptor.from_json({**_LAYER, "digest": digest}, "config")


@pytest.mark.parametrize("member", ["mediaType", "artifactType"])
@pytest.mark.parametrize("value", [True, 5, 1.5, ["a/b"], {"a": "b"}, [], {}, 0, False])
def test_descriptor__a_type_that_is_no_text_is_refused(member: str, value: object) -> None:
    with pytest.raises(ManifestInvalid, match=rf"config\.{member}: must be a string"):
        Descriptor.from_json({**_LAYER, member: value}, "config")


@pytest.mark.parametrize(
    "value", [[], [["a", "b"]], "", "a", 0, 1, False, True, {"a": None}, {"a": 1}, {"a": {"b": "c"}}]
)
def test_descriptor__annotations_that_map_no_strings_are_refused(value: object) -> None:
    with pytest.raises(ManifestInvalid, match=r"config\.annotations: must map strings to strings"):
        Descriptor.from_json({**_LAYER, "annotations": value}, "config")


@pytest.mark.parametrize(
    "name",
    [
        *("Digest", "DIGEST", "digesT", "Size", "\u017fize", "MediaType", "mediatype", "Annotations", "ArtifactType"),
        *("URLs", "Platform", "Data"),
    ],
)
def test_descriptor__a_name_in_another_case_is_refused(name: str) -> None:
    with pytest.raises(ManifestInvalid, match=r"layers\[0\]: .* is read differently by different clients"):
        Descriptor.from_json({**_LAYER, name: None}, "layers[0]")


def test_descriptor__unknown_names_are_left_alone() -> None:
    value = {**_LAYER, "x": 1, "X": 2, "urls": [], "platform": {"OS": "linux", "os": "linux"}}
    assert Descriptor.from_json(value, "config") == Descriptor.from_json(_LAYER, "config")


def test_descriptor__the_case_of_an_annotation_is_its_own() -> None:
    annotations = {"size": "1", "Size": "2", "Digest": "3"}
    assert Descriptor.from_json({**_LAYER, "annotations": annotations}, "config").annotations == annotations


def test_descriptor__json_leaves_out_what_is_empty() -> None:
    assert Descriptor.from_json(_LAYER, "config").to_json() == _LAYER
    assert Descriptor("a", Digest.parse(SHA256), 1, "", {}).to_json() == {"mediaType": "a", "digest": SHA256, "size": 1}


def test_descriptor__json_holds_what_there_is() -> None:
    assert Descriptor("a", Digest.parse(SHA256), 1, "t", {"k": "v"}).to_json() == {
        "mediaType": "a",
        "digest": SHA256,
        "size": 1,
        "artifactType": "t",
        "annotations": {"k": "v"},
    }


_descriptors = st.builds(
    Descriptor,
    st.text(),
    digest_texts.map(Digest.parse),
    st.integers(0, 2**63 - 1),
    st.none() | st.text(min_size=1),
    st.dictionaries(st.text(), st.text(), max_size=3),
)


@law
@given(_descriptors)
def test_descriptor__from_json_is_the_inverse_of_to_json(descriptor: Descriptor) -> None:
    assert Descriptor.from_json(json.loads(json.dumps(descriptor.to_json())), "config") == descriptor


_members = st.fixed_dictionaries(
    {},
    optional={
        "mediaType": st.text() | json_values,
        "digest": digest_texts | json_values,
        "size": st.integers() | json_values,
        "artifactType": json_values,
        "annotations": json_values,
        "Size": json_values,
    },
)


@law
@given(_members | json_values)
def test_descriptor__any_json_is_a_descriptor_or_invalid(value: object) -> None:
    try:
        found = Descriptor.from_json(value, "here")
    except ManifestInvalid as error:
        refusal = str(error)
    else:
        assert isinstance(value, dict)
        assert str(found.digest) == value["digest"]
        assert type(found.size) is int
        assert 0 <= found.size < 2**63
        return
    assert refusal.startswith("here")


@pytest.mark.parametrize(("value", "expected"), [({}, None), ({"k": None}, None), ({"k": ""}, ""), ({"k": "v"}, "v")])
def test_text_of__what_is_there(value: dict[str, object], expected: str | None) -> None:
    assert text_of(value, "k", "here") == expected


@pytest.mark.parametrize(("value", "expected"), [({}, {}), ({"annotations": None}, {}), ({"annotations": {}}, {})])
def test_annotations_of__none_is_empty(value: dict[str, object], expected: dict[str, str]) -> None:
    assert annotations_of(value, "here") == expected


def test_check_names__the_names_of_the_specification_pass() -> None:
    check_names(dict.fromkeys(["schemaVersion", "mediaType", "config", "layers", "fsLayers", "other", "OTHER"]), "here")
