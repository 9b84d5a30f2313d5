"""Docker's daemon.json: new, and added to one that is there."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import ConfigError
from mirror.wiring.clients import files_for
from mirror.wiring.docker import merge
from mirror.wiring.files import Conflict
from mirror.wiring.server import Server
from tests.mirror.wiring.samples import HERE, HUB, SECURE, THERE, only

_MIRRORS, _INSECURE = "registry-mirrors", "insecure-registries"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_LISTS = st.lists(st.sampled_from([str(HERE), str(THERE), THERE.address, "http://other.example"]), max_size=4)
_SETTINGS = st.builds(
    lambda others, lists: {**others, **lists},
    st.dictionaries(st.text(), _JSON, max_size=4),
    st.fixed_dictionaries({}, optional={_MIRRORS: _LISTS, _INSECURE: _LISTS}),
)


@pytest.mark.parametrize(
    ("server", "settings"),
    [
        (HERE, {_MIRRORS: ["http://127.0.0.1:5000"]}),
        (THERE, {_MIRRORS: ["http://mirror.example.com:5000"], _INSECURE: ["mirror.example.com:5000"]}),
        (SECURE, {_MIRRORS: ["https://mirror.example.com"]}),
    ],
)
def test_new(server: Server, settings: dict[str, list[str]]) -> None:
    file = only("docker", server)
    assert file.path == "/etc/docker/daemon.json"
    assert file.content == json.dumps(settings, indent=2) + "\n"
    assert file.then == "restart Docker: systemctl restart docker"


def test_docker_hub_is_no_upstream() -> None:
    with pytest.raises(ConfigError, match=r"no upstream has the host docker\.io"):
        files_for("docker", THERE, {"ghcr.io": True})


def test_other_default() -> None:
    """Docker asks by name only: it would get the other registry's images for Docker Hub's."""
    with pytest.raises(ConfigError, match=r"ghcr\.io is the default upstream"):
        files_for("docker", THERE, {"docker.io": False, "ghcr.io": True})


def test_no_default() -> None:
    assert "containerd store" in only("docker", THERE, {"docker.io": False}).then
    assert "containerd store" not in only("docker", THERE, HUB).then


def test_other_settings_and_their_order_stay() -> None:
    present = '{"debug": true, "registry-mirrors": ["http://a"], "dns": ["10.0.0.1"]}'
    assert merge(present, only("docker").content) == (
        json.dumps(
            {
                "debug": True,
                _MIRRORS: ["http://a", "http://mirror.example.com:5000"],
                "dns": ["10.0.0.1"],
                _INSECURE: ["mirror.example.com:5000"],
            },
            indent=2,
        )
        + "\n"
    )


@pytest.mark.parametrize("present", ["", " \n", "{}"])
def test_empty(present: str) -> None:
    assert merge(present, only("docker").content) == only("docker").content


@pytest.mark.parametrize(
    "present",
    [
        '{"registry-mirrors":["http://127.0.0.1:5000"],"debug":true}',
        '{ "registry-mirrors" : [ "http://a/", "http://127.0.0.1:5000/" ] }\n\n',
    ],
)
def test_all_there__not_a_byte_changes(present: str) -> None:
    assert merge(present, only("docker", HERE).content) == present


@pytest.mark.parametrize(
    ("present", "reason"),
    [
        ("{", "not valid JSON"),
        ("{} {}", "not valid JSON"),
        ("// mine\n{}", "not valid JSON"),
        ('{"a": NaN}', "not valid JSON"),
        ('{"a": 1e999}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ('{"registry-mirrors": "http://a"}', "registry-mirrors is not a list of strings"),
        ('{"registry-mirrors": null}', "registry-mirrors is not a list of strings"),
        ('{"insecure-registries": [1]}', "insecure-registries is not a list of strings"),
    ],
)
def test_refused(present: str, reason: str) -> None:
    with pytest.raises(Conflict, match=reason) as conflict:
        merge(present, only("docker").content)
    assert "\n" not in str(conflict.value)


@pytest.mark.parametrize(
    ("mirrors", "first"),
    [
        ([], ""),
        ([str(THERE)], ""),
        ([str(THERE), "http://a"], ""),
        (["http://a"], "before this server Docker still asks http://a; remove what is gone"),
        (
            ["http://a/", "http://b", f"{THERE}/"],
            "before this server Docker still asks http://a, http://b; remove what is gone",
        ),
    ],
)
def test_others_that_are_asked_first(mirrors: list[str], first: str) -> None:
    file = only("docker")
    assert file.remark(json.dumps({_MIRRORS: mirrors}), file.content) == first


@given(_SETTINGS, st.sampled_from([None, 1, 4]))
def test_merge(settings: dict[str, Any], indent: int | None) -> None:
    """What was there is there, what was wanted is there once, nothing else is, and a second time changes nothing."""
    added = json.loads(only("docker").content)
    merged = merge(json.dumps(settings, indent=indent), only("docker").content)
    found = json.loads(merged)
    assert found.keys() == settings.keys() | added.keys()
    for key, value in found.items():
        if key not in added:
            assert value == settings[key]
            continue
        before = settings.get(key, [])
        assert value[: len(before)] == before
        assert value[len(before) :] == [entry for entry in added[key] if entry not in before]
    assert merge(merged, only("docker").content) == merged


@given(st.text())
def test_merge__any_text(present: str) -> None:
    """Either refused, or an object that Docker can read."""
    try:
        merged = merge(present, only("docker").content)
    except Conflict:
        return
    assert str(THERE) in json.loads(merged)[_MIRRORS]
