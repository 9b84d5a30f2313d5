from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec import endpoints
from ocispec.digest import Digest
from ocispec.names import Tag, parse_reference
from tests.ocispec.samples import SHA256, digest_texts, law, name_texts, tag_texts

_DIGEST = Digest.parse(SHA256)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (endpoints.manifest("a/b", Tag.parse("latest")), "/v2/a/b/manifests/latest"),
        (endpoints.manifest("a/b", _DIGEST), f"/v2/a/b/manifests/{SHA256}"),
        (endpoints.blob("a/b", _DIGEST), f"/v2/a/b/blobs/{SHA256}"),
        (endpoints.upload("a/b", "0f-1"), "/v2/a/b/blobs/uploads/0f-1"),
        (endpoints.tags("a/b"), "/v2/a/b/tags/list"),
        (endpoints.referrers("a/b", _DIGEST), f"/v2/a/b/referrers/{SHA256}"),
        (endpoints.referrers("a/b", _DIGEST, ""), f"/v2/a/b/referrers/{SHA256}"),
        (endpoints.referrers("a/b", _DIGEST, "a/b+c"), f"/v2/a/b/referrers/{SHA256}?artifactType=a%2Fb%2Bc"),
        (endpoints.catalog(), "/v2/_catalog"),
    ],
)
def test_endpoint__as_the_specification_has_it(path: str, expected: str) -> None:
    assert path == expected


@law
@given(name_texts, tag_texts | digest_texts)
def test_endpoint__of_checked_words_needs_no_encoding(name: str, reference: str) -> None:
    path = endpoints.manifest(name, parse_reference(reference))
    parts = urlsplit(path)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
    assert unquote(parts.path) == path == f"/v2/{name}/manifests/{reference}"


@law
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_endpoint__an_artifact_type_is_one_parameter_whatever_it_holds(artifact_type: str) -> None:
    path = endpoints.referrers("a", _DIGEST, artifact_type)
    assert path.isascii()
    assert path.isprintable()
    parts = urlsplit(path)
    assert parts.path == f"/v2/a/referrers/{SHA256}"
    assert parts.fragment == ""
    assert parse_qsl(parts.query, strict_parsing=True) == [("artifactType", artifact_type)]
