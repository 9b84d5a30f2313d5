import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.errors import RequestInvalid
from ocispec.manifest import parse_manifest
from ocispec.platform import Platform
from tests.fakes.images import make_image, make_index
from tests.ocispec.samples import HOSTILE, json_values, law, named

_words = st.text("abcxyz0189", min_size=1, max_size=8)
platforms = st.builds(Platform, _words, _words, _words | st.just(""))


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm/v7", "windows/amd64", "unknown/unknown"])
def test_parse(text: str) -> None:
    assert str(Platform.parse(text)) == text


def test_other_names_of_processors() -> None:
    assert Platform.parse("linux/x86_64") == Platform.parse("linux/amd64")
    assert Platform.parse("linux/aarch64") == Platform.parse("linux/arm64")


ODD = ("linux", "linux/", "/amd64", "linux/arm/v7/x", "Linux/amd64", "linux/amd64\n", "linux/\u0661", "linux//v7")


@pytest.mark.parametrize("text", ODD + HOSTILE, ids=named(ODD + HOSTILE))
def test_odd_ones_are_refused(text: str) -> None:
    if text in ("a/b", "..;/a"):
        return  # nobody has such a machine, but it could be
    with pytest.raises(RequestInvalid) as refused:
        Platform.parse(text)
    assert len(refused.value.envelope()) < 1000


@pytest.mark.parametrize(
    ("has", "wanted", "fits"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64", False),
        ("windows/amd64", "linux/amd64", False),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm/v6", "linux/arm", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm", "linux/arm/v7", True),
    ],
)
def test_which_one_is_meant(has: str, wanted: str, fits: bool) -> None:
    assert Platform.parse(has).is_one_of([Platform.parse(wanted)]) is fits
    assert Platform.parse(has).is_one_of([])


@law
@given(platforms)
def test_json_and_back(platform: Platform) -> None:
    written = Platform.parse(str(platform))
    assert Platform.from_json(written.to_json()) == written
    assert written.is_one_of([written])


@law
@given(json_values | st.fixed_dictionaries({}, optional=dict.fromkeys(("os", "architecture", "variant"), json_values)))
def test_any_json_is_a_platform_or_none(value: object) -> None:
    found = Platform.from_json(value)
    assert found is None or str(found).isprintable()


def test_entries_of_an_index() -> None:
    images = [make_image("p", [10], architecture=name) for name in ("amd64", "arm64")]
    index = parse_manifest(make_index(images).manifest)
    amd64, s390x = Platform.parse("linux/amd64"), Platform.parse("linux/s390x")
    assert [str(entry.digest) for entry in index.entries([])] == [image.digest for image in images]
    assert [str(entry.digest) for entry in index.entries([amd64])] == [images[0].digest]
    assert list(index.lacks([amd64, s390x])) == [s390x]
    assert list(parse_manifest(images[0].manifest).lacks([s390x])) == []
