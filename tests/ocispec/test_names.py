import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.digest import Digest
from ocispec.errors import DigestInvalid, NameInvalid, TagInvalid
from ocispec.names import MAX_NAME, RepositoryName, Tag, is_tag, parse_reference
from tests.ocispec.samples import (
    HOSTILE,
    SHA256,
    SHA512,
    SLOW,
    digest_texts,
    law,
    name_texts,
    named,
    near,
    tag_texts,
)

NAMES = (
    *("a", "0", "nginx", "library/nginx", "a/b/c/d/e/f", "0/1", "a.b", "a_b", "a__b", "a-b", "a--b"),
    "a" + "-" * 50 + "b",
    *("a.b_c__d-e---f/0.1_2__3-4", "docker.io/library/nginx", "localhost", "v2", "blobs/uploads", "_catalog"[1:]),
    *("a" * MAX_NAME, "/".join("a" * 128), "manifests/latest"),
)

ODD_NAMES = (
    *("A", "Nginx", "library/Nginx", "nginX", "a_", "_a", "_", "__", "_catalog", "a__", "a___b", "a..b", "a._b"),
    "a_.b",
    *("a.-b", "a-.b", "a_-b", "a-_b", "a.", "a-", "a--", "a/-b", "a/_b", "a/b-", "a/b_", "a/b.", "a-/b", "a_/b"),
    "a./b",
    *("a/B", "a/ b", "a/\u00e9", "a/\n", "library/nginx\n", "library/nginx:latest", "library/nginx@" + SHA256, SHA256),
    *("a/../../b", "a/..%2f", "a/%2e%2e", "a/...", "localhost:5000/a", "[::1]/a", "a/b//c", "a/b\0c", "a/\u0661"),
    *("/".join("a" * 129), "a" * (MAX_NAME + 1), "a/" + "b" * (MAX_NAME - 1)),
)

TAGS = (
    *("latest", "1", "1.2.3", "v1.0-rc.1", "_", "__", "_a", "A", "LATEST", "a..b", "a.", "a-", "a_", "a--b", "0."),
    "_.-",
    *("sha256-" + "a" * 64 + ".sig", "a" * 128, "_" * 128, "2024.01.01-x86_64"),
)

ODD_TAGS = (
    *(".", "..", ".a", "-", "-a", "--", "...", "a/b", "a/", "/a", "a:b", ":a", "latest\n", "latest\r", "latest "),
    " latest",
    *("latest\0", "la\ntest", "a+b", "1.0+build", "a~b", "a@b", SHA256, "a" * 129, "_" * 129, "a" * 128 + "\n"),
    *("\u0661", "1.\u0662", "\uff56\uff11", "a\u00e9", "a\u212a", "v1,v2", "v1;v2", "%76", "a%", "*", "a*", "\u00aa"),
)


@pytest.mark.parametrize("text", NAMES)
def test_name__a_valid_one_is_itself(text: str) -> None:
    name = RepositoryName.parse(text)
    assert name == text
    assert type(name) is RepositoryName


@pytest.mark.parametrize("text", ODD_NAMES, ids=named(ODD_NAMES))
def test_name__an_odd_spelling_is_refused(text: str) -> None:
    with pytest.raises(NameInvalid):
        RepositoryName.parse(text)


@pytest.mark.parametrize("text", HOSTILE + SLOW, ids=named(HOSTILE + SLOW))
def test_name__a_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(NameInvalid):
        RepositoryName.parse(text)


def test_name__the_limit_is_that_of_host_and_name_together() -> None:
    assert MAX_NAME == 255
    assert len(RepositoryName.parse("a" * 255)) == 255
    with pytest.raises(NameInvalid):
        RepositoryName.parse("a" * 256)


def test_name__the_refusal_repeats_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(NameInvalid) as refused:
        RepositoryName.parse("A" * 100_000)
    assert refused.value.detail == {"name": "A" * MAX_NAME}
    assert len(refused.value.envelope()) < 1000


@law
@given(name_texts)
def test_name__parse_is_the_inverse_of_str(text: str) -> None:
    assert str(RepositoryName.parse(text)) == text
    assert RepositoryName.parse(RepositoryName.parse(text)) == text


def _is_component(text: str) -> bool:
    """The grammar once more, in other words: letters and digits, kept apart by one separator at a time."""
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789")
    if not text or text[0] not in letters or text[-1] not in letters:
        return False
    separators = "".join(" " if letter in letters else letter for letter in text).split()
    return all(separator in (".", "_", "__") or set(separator) == {"-"} for separator in separators)


def _is_name(text: str) -> bool:
    # str.split() above would take a blank for a letter.
    no_blank = not any(letter.isspace() for letter in text)
    return no_blank and len(text) <= 255 and all(_is_component(part) for part in text.split("/"))


@law
@given(near(name_texts) | near(near(name_texts)) | st.text("ab0._-/", max_size=12) | st.text())
def test_name__any_text_is_a_name_or_invalid(text: str) -> None:
    if _is_name(text):
        assert RepositoryName.parse(text) == text
    else:
        with pytest.raises(NameInvalid):
            RepositoryName.parse(text)


@law
@given(near(name_texts))
def test_name__what_is_accepted_stays_below_its_directory(text: str) -> None:
    try:
        name = RepositoryName.parse(text)
    except NameInvalid:
        return
    assert name.isascii()
    assert name.isprintable()
    for component in name.split("/"):
        assert component[:1].isalnum()
        assert ".." not in component


@pytest.mark.parametrize("text", TAGS)
def test_tag__a_valid_one_is_itself(text: str) -> None:
    tag = Tag.parse(text)
    assert tag == text
    assert type(tag) is Tag


@pytest.mark.parametrize("text", ODD_TAGS, ids=named(ODD_TAGS))
def test_tag__an_odd_spelling_is_refused(text: str) -> None:
    with pytest.raises(TagInvalid):
        Tag.parse(text)


@pytest.mark.parametrize("text", HOSTILE, ids=named(HOSTILE))
def test_tag__a_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(TagInvalid):
        Tag.parse(text)


def test_tag__the_refusal_repeats_only_the_beginning_of_a_long_text() -> None:
    with pytest.raises(TagInvalid) as refused:
        Tag.parse("a" * 100_000)
    assert refused.value.detail == {"tag": "a" * 128}


@law
@given(tag_texts)
def test_tag__parse_is_the_inverse_of_str(text: str) -> None:
    assert str(Tag.parse(text)) == text
    assert Tag.parse(Tag.parse(text)) == text


@law
@given(near(tag_texts) | st.text("aA0_.-:/", max_size=6) | st.text())
def test_tag__any_text_is_a_tag_or_invalid(text: str) -> None:
    letters = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
    if 0 < len(text) <= 128 and text[0] in letters and set(text) <= letters | {".", "-"}:
        assert Tag.parse(text) == text
        assert is_tag(text)
    else:
        assert not is_tag(text)
        with pytest.raises(TagInvalid):
            Tag.parse(text)


@pytest.mark.parametrize("text", TAGS)
def test_is_tag__a_valid_one(text: str) -> None:
    assert is_tag(text)


@pytest.mark.parametrize("text", ODD_TAGS + HOSTILE, ids=named(ODD_TAGS + HOSTILE))
def test_is_tag__neither_odd_nor_hostile(text: str) -> None:
    assert not is_tag(text)


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_reference__with_a_colon_is_a_digest(text: str) -> None:
    assert parse_reference(text) == Digest.parse(text)


@pytest.mark.parametrize("text", TAGS)
def test_reference__without_a_colon_is_a_tag(text: str) -> None:
    reference = parse_reference(text)
    assert type(reference) is Tag
    assert reference == text


def test_reference__the_hexadecimal_digits_alone_are_a_tag() -> None:
    assert type(parse_reference(SHA256.removeprefix("sha256:"))) is Tag


@pytest.mark.parametrize("text", HOSTILE, ids=named(HOSTILE))
def test_reference__a_hostile_text_is_refused_by_the_error_of_its_kind(text: str) -> None:
    with pytest.raises(DigestInvalid if ":" in text else TagInvalid):
        parse_reference(text)


@law
@given(st.one_of(tag_texts, digest_texts, near(tag_texts), near(digest_texts), st.text()))
def test_reference__any_text_is_itself_or_refused_by_name(text: str) -> None:
    try:
        reference = parse_reference(text)
    except (TagInvalid, DigestInvalid):
        return
    assert str(reference) == text
