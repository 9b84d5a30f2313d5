"""Configs of images: what can be understood is, and the rest is left out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.image_config import MAX_BYTES, ImageConfig, Step, parse_image_config
from ocispec.platform import Platform

NAMES = [
    "os",
    "architecture",
    "variant",
    "created",
    "author",
    "config",
    "history",
    "Labels",
    "Env",
    "Cmd",
    "created_by",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(NAMES), inner),
    max_leaves=30,
)


def test_a_usual_one() -> None:
    value = {
        "os": "linux",
        "architecture": "arm64",
        "variant": "v8",
        "created": "2026-01-02T03:04:05Z",
        "author": "me",
        "config": {
            "Labels": {"a": "b", "c": 7},
            "User": "app",
            "WorkingDir": "/srv",
            "Entrypoint": ["/run"],
            "Cmd": None,
            "Env": ["A=b"],
            "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/data": {}},
        },
        "history": [{"created_by": "RUN x"}, {"created_by": "ENV y", "empty_layer": True}, "nonsense"],
    }
    assert parse_image_config(json.dumps(value).encode()) == ImageConfig(
        platform=Platform("linux", "arm64", "v8"),
        created="2026-01-02T03:04:05Z",
        author="me",
        labels={"a": "b"},
        history=(Step("RUN x"), Step("ENV y", is_empty=True)),
        user="app",
        working_dir="/srv",
        entrypoint=("/run",),
        environment=("A=b",),
        ports=("80/tcp",),
        volumes=("/data",),
    )


@given(value=JSON)
def test_whatever_is_in_it(value: object) -> None:
    config = parse_image_config(json.dumps(value).encode())
    assert (config is None) == (not isinstance(value, dict))


@given(body=st.binary())
def test_whatever_it_is(body: bytes) -> None:
    parse_image_config(body)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 10**5, b'{"a": "\\ud800"}', b" " * MAX_BYTES + b"{}", b"1" * 10**5])
def test_what_is_none(body: bytes) -> None:
    assert parse_image_config(body) is None
