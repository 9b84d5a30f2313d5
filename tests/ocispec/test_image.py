import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.digest import Digest
from ocispec.errors import RegistryError
from ocispec.image import ImageName, listed_images
from tests.ocispec.samples import HOSTILE, SHA256, SLOW, digest_texts, law, name_texts, named, near, tag_texts

registry_texts = st.sampled_from(["localhost:5000", "127.0.0.1:1", "[::1]:5000", "registry.example:443"])
image_texts = st.builds(
    lambda registry, name, tag, digest: registry + name + tag + digest,
    registry_texts.map("{}/".format) | st.just(""),
    name_texts,
    tag_texts.map(":{}".format) | st.just(""),
    digest_texts.map("@{}".format) | st.just(""),
)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1.27", "nginx:1.27"),
        ("library/nginx", "library/nginx:latest"),
        ("ghcr.io/org/app:tag", "ghcr.io/org/app:tag"),
        (f"repo@{SHA256}", f"repo@{SHA256}"),
        (f"repo:1@{SHA256}", f"repo@{SHA256}"),
        ("127.0.0.1:5001/app", "127.0.0.1:5001/app:latest"),
        ("[::1]:5001/app:1", "[::1]:5001/app:1"),
        ("localhost:5000", "localhost:5000"),  # a tag, since nothing follows
    ],
)
def test_what_is_meant(text: str, whole: str) -> None:
    assert str(ImageName.parse(text)) == whole


def test_a_host_with_a_port_is_no_part_of_the_name() -> None:
    image = ImageName.parse("127.0.0.1:5001/org/app:1")
    assert (image.registry, image.repository, image.reference) == ("127.0.0.1:5001", "org/app", "1")
    assert ImageName.parse("ghcr.io/app").registry is None


ODD = (
    *("nginx:", "nginx@", ":1", "@", "nginx:1:2", "nginx@sha256:0", "nginx:a b@" + SHA256, "a:b/c", "A/b", "a:1/B:2"),
    *("https://ghcr.io/app", "docker://nginx", "a:123456/b", ":1/b", "a" * 300 + ":1/b", "\u0661:1/b", "nginx\n"),
)


@pytest.mark.parametrize("text", ODD, ids=named(ODD))
def test_odd_ones_are_refused(text: str) -> None:
    with pytest.raises(RegistryError):
        ImageName.parse(text)


@pytest.mark.parametrize("text", HOSTILE + SLOW, ids=named(HOSTILE + SLOW))
def test_hostile_ones_are_refused_or_harmless(text: str) -> None:
    said = ""
    try:
        said = str(ImageName.parse(text))
    except RegistryError as error:
        said = error.envelope().decode()
    assert said.isascii()
    assert len(said) < 2000


@law
@given(image_texts)
def test_parse_is_the_inverse_of_str(text: str) -> None:
    image = ImageName.parse(text)
    assert ImageName.parse(str(image)) == image
    assert isinstance(image.reference, Digest) == ("@" in text)


@law
@given(near(image_texts) | near(near(image_texts)))
def test_any_text_is_an_image_or_invalid(text: str) -> None:
    try:
        image = ImageName.parse(text)
    except RegistryError:
        return
    assert str(image).isprintable()
    assert ImageName.parse(str(image)) == image


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("", []),
        ("\n \n# nothing\n", []),
        (
            "nginx\n  alpine:3 # the small one\r\n\nrepo@sha256:0\n",
            [(1, "nginx"), (2, "alpine:3"), (4, "repo@sha256:0")],
        ),
        ("a b", [(1, "a b")]),
    ],
)
def test_listed(text: str, images: list[tuple[int, str]]) -> None:
    assert listed_images(text) == images
