import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec import media_types
from tests.ocispec.samples import law


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ""),
        ("a/b", "a/b"),
        ("a/b; charset=utf-8", "a/b"),
        ("a/b;charset=utf-8;x=y", "a/b"),
        ("  A/B ; x", "a/b"),
        ("Application/VND.OCI.Image.Index.v1+JSON", media_types.OCI_INDEX),
        (";", ""),
        ("; a/b", ""),
        ("a/b, c/d", "a/b, c/d"),
        ("a/b\u00a0", "a/b"),
    ],
)
def test_essence__parameters_case_and_blanks_do_not_count(header: str, expected: str) -> None:
    assert media_types.essence(header) == expected


@law
@given(st.text())
def test_essence__of_an_essence_is_itself(header: str) -> None:
    once = media_types.essence(header)
    assert ";" not in once
    assert media_types.essence(once) == once


@pytest.mark.parametrize("media_type", sorted(media_types.MANIFESTS | media_types.NONDISTRIBUTABLE))
def test_media_types__are_written_as_essence_gives_them(media_type: str) -> None:
    assert media_types.essence(media_type) == media_type


def test_manifests__are_images_or_indexes_and_never_both() -> None:
    assert not media_types.IMAGES & media_types.INDEXES
    assert {t: "image" if t in media_types.IMAGES else "index" for t in media_types.MANIFESTS} == {
        "application/vnd.oci.image.manifest.v1+json": "image",
        "application/vnd.docker.distribution.manifest.v2+json": "image",
        "application/vnd.oci.image.index.v1+json": "index",
        "application/vnd.docker.distribution.manifest.list.v2+json": "index",
    }


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ],
)
def test_manifests__schema_1_is_not_among_them(media_type: str) -> None:
    assert media_type not in media_types.MANIFESTS


def test_accept__names_every_manifest_once_and_indexes_first() -> None:
    wanted = media_types.ACCEPT.split(", ")
    assert sorted(wanted) == sorted(media_types.MANIFESTS)
    assert set(wanted[:2]) == media_types.INDEXES


def test_nondistributable__no_ordinary_layer_is_among_them() -> None:
    ordinary = {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.empty.v1+json",
        media_types.OCTET_STREAM,
        "",
    }
    assert not ordinary & media_types.NONDISTRIBUTABLE
