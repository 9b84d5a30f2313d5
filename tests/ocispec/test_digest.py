import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.digest import Digest, new_hasher
from ocispec.errors import DigestInvalid
from tests.ocispec.samples import HOSTILE, SHA256, SHA512, SLOW, digest_texts, law, named, near

_HEX = "0123456789abcdef" * 4

ODD = (
    # Lengths: of another algorithm, one off, none at all.
    *("sha256:", "sha512:", f"sha256:{_HEX[1:]}", f"sha256:{_HEX}0", f"sha512:{_HEX}", f"sha256:{_HEX}{_HEX}"),
    *(f"sha512:{_HEX * 2}0", f"sha512:{_HEX}{_HEX[1:]}", "sha256:e3b0c442", "sha256:" + "a" * 100_000),
    # Algorithms: not registered, too weak, registered but optional, spelled another way.
    *(f"md5:{'a' * 32}", f"sha1:{'a' * 40}", f"sha224:{'a' * 56}", f"sha384:{'a' * 96}", f"blake3:{_HEX}"),
    *(f"md5:{_HEX}", f"sha1:{_HEX}", f"sha384:{_HEX}", f"sha512-256:{_HEX}", f"none:{_HEX}", f"md5:{_HEX}{_HEX}"),
    *(f"sha3-256:{_HEX}", f"SHA256:{_HEX}", f"Sha256:{_HEX}", f"sha-256:{_HEX}", f"sha256+b64u:{_HEX}"),
    f"sha25:{_HEX}",
    *(f"sha2566:{_HEX}", f"xsha256:{_HEX}", f":{_HEX}", _HEX, f"sha256{_HEX}", f"tarsum.v1+sha256:{_HEX}"),
    # Separators.
    *(f"sha256-{_HEX}", f"sha256={_HEX}", f"sha256/{_HEX}", f"sha256::{_HEX}", f"sha256: {_HEX}", f"sha256%3a{_HEX}"),
    *(f"sha256:sha256:{_HEX}", f"sha256:{_HEX}:{_HEX}", f"sha256\uff1a{_HEX}", f"sha256:0x{_HEX[2:]}"),
    # Digits that are none, or not in lower case.
    *(f"sha256:{_HEX.upper()}", f"sha256:{_HEX[1:]}A", f"sha256:{_HEX[1:]}g", f"sha256:{_HEX[1:]} "),
    f"sha256:{_HEX[1:]}\n",
    *(f"sha256:{_HEX[1:]}\u0661", f"sha256:{_HEX[1:]}\uff11", f"sha256:{_HEX[1:]}\uff41", f"sha256:{_HEX[1:]}\u0430"),
    *(f"sha256:{_HEX[1:]}_", f"sha256:+{_HEX[1:]}", f"sha256:-{_HEX[1:]}", f"sha256:{_HEX[1:]}\0"),
    f"sha256:{_HEX[1:]}.",
    # Something before or after.
    *(f"{SHA256}\n", f"{SHA256}\r\n", f"{SHA256} ", f" {SHA256}", f"\n{SHA256}", f"{SHA256}\0", f"{SHA256}/.."),
    f"{SHA256}\u2028",
    *(f"../{SHA256}", f"{SHA256},{SHA256}", f'"{SHA256}"', f"W/{SHA256}", f"@{SHA256}", f"\ufeff{SHA256}"),
    f"{SHA512}\n",
    # Ways out, as long as a digest is.
    *(f"sha256:{'../' * 21}a", f"sha256:{'/' * 64}", f"sha256:{'.' * 64}", f"sha256:../../../{'a' * 55}"),
    f"../../:{_HEX}",
    *(f"sha256:{'%2e' * 21}a", f"sha256:..\\{_HEX[3:]}", f"sha256:{_HEX[2:]}/.", f"sha256:{_HEX[3:]}\0.."),
)


def test_digest__sha256_is_read() -> None:
    digest = Digest.parse(SHA256)
    assert (digest.algorithm, digest.hex) == ("sha256", SHA256[7:])


def test_digest__sha512_is_read() -> None:
    digest = Digest.parse(SHA512)
    assert (digest.algorithm, digest.hex) == ("sha512", SHA512[7:])


@pytest.mark.parametrize("text", ODD, ids=named(ODD))
def test_digest__an_odd_spelling_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


@pytest.mark.parametrize("text", HOSTILE + SLOW, ids=named(HOSTILE + SLOW))
def test_digest__a_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


def test_digest__the_refusal_says_what_is_expected_and_does_not_repeat_the_text() -> None:
    with pytest.raises(DigestInvalid, match="expected sha256: and 64") as refused:
        Digest.parse("sha256:" + "<script>" * 8)
    assert b"script" not in refused.value.envelope()


@law
@given(digest_texts)
def test_digest__parse_is_the_inverse_of_str(text: str) -> None:
    digest = Digest.parse(text)
    assert str(digest) == text
    assert Digest.parse(str(digest)) == digest


def _is_digest(text: str) -> bool:
    """The grammar once more, in other words."""
    lengths = {"sha256": 64, "sha512": 128}
    algorithm, _, digits = text.partition(":")
    return lengths.get(algorithm) == len(digits) and set(digits) <= set("0123456789abcdef")


@law
@given(near(digest_texts) | near(near(digest_texts)) | st.text())
def test_digest__any_text_is_a_digest_or_invalid(text: str) -> None:
    if _is_digest(text):
        assert str(Digest.parse(text)) == text
    else:
        with pytest.raises(DigestInvalid):
            Digest.parse(text)


@law
@given(digest_texts)
def test_digest__its_parts_are_safe_in_a_path(text: str) -> None:
    digest = Digest.parse(text)
    assert digest.algorithm in ("sha256", "sha512")
    assert digest.hex.isascii()
    assert digest.hex.isalnum()


@law
@given(digest_texts, digest_texts)
def test_digest__order_and_equality_are_those_of_its_text(one: str, other: str) -> None:
    assert (Digest.parse(one) < Digest.parse(other)) == (one < other)
    assert (Digest.parse(one) == Digest.parse(other)) == (one == other)
    assert len({Digest.parse(one), Digest.parse(other)}) == len({one, other})


def test_digest__it_cannot_be_changed_after_the_check() -> None:
    digest = Digest.parse(SHA256)
    with pytest.raises(AttributeError):
        digest.hex = "../../etc/passwd"  # type: ignore[misc]


def test_digest__its_entity_tag_is_strong_and_quoted() -> None:
    assert Digest.parse(SHA256).etag == f'"{SHA256}"'


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"{}", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    ],
)
def test_digest_of__known_content(data: bytes, expected: str) -> None:
    assert str(Digest.of(data)) == expected


@law
@given(st.binary(max_size=200))
def test_digest_of__is_what_hashlib_says_and_can_be_read_back(data: bytes) -> None:
    assert Digest.of(data).hex == hashlib.sha256(data).hexdigest()
    assert Digest.of(data, "sha512").hex == hashlib.sha512(data).hexdigest()
    for digest in (Digest.of(data), Digest.of(data, "sha512")):
        assert Digest.parse(str(digest)) == digest


@law
@given(st.lists(st.binary(max_size=50), max_size=5), st.sampled_from(["sha256", "sha512"]))
def test_hasher__pieces_give_the_digest_of_the_whole(pieces: list[bytes], algorithm: str) -> None:
    hasher = new_hasher(algorithm)
    for piece in pieces:
        hasher.update(piece)
    assert Digest(algorithm, hasher.hexdigest()) == Digest.of(b"".join(pieces), algorithm)
