"""Every file as its client reads it."""

import json
import tomllib
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror import __main__ as command
from mirror.errors import ConfigError
from mirror.wiring.clients import CLIENTS, files_for
from mirror.wiring.files import MARK, Conflict, File
from mirror.wiring.server import Server
from tests.mirror.wiring.samples import HERE, HUB, SECURE, THERE, TWO, contents, only

_CERTS = "/etc/containerd/certs.d"
_WORDS = st.from_regex(r"[a-z0-9](?:[a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
_HOSTS = st.one_of(_WORDS, st.builds("{}:{}".format, _WORDS, st.integers(1, 65535)), st.just("[2001:db8::1]:5000"))
_UPSTREAMS = st.lists(_HOSTS, min_size=1, max_size=4, unique=True).map(
    lambda hosts: {host: not place for place, host in enumerate(hosts)}
)


def test_containerd() -> None:
    assert contents(files_for("containerd", THERE, TWO)) == {
        f"{_CERTS}/docker.io/hosts.toml": MARK + 'server = "https://registry-1.docker.io"\n\n'
        '[host."http://mirror.example.com:5000"]\n  capabilities = ["pull", "resolve"]\n',
        f"{_CERTS}/ghcr.io/hosts.toml": MARK + 'server = "https://ghcr.io"\n\n'
        '[host."http://mirror.example.com:5000"]\n  capabilities = ["pull", "resolve"]\n',
    }


def test_containerd__https_and_ports() -> None:
    (file,) = files_for("containerd", SECURE, {"lab.example:5001": False})
    assert file.path == f"{_CERTS}/lab.example:5001/hosts.toml"
    assert tomllib.loads(file.content) == {
        "server": "https://lab.example:5001",
        "host": {"https://mirror.example.com": {"capabilities": ["pull", "resolve"]}},
    }


@pytest.mark.parametrize("client", ["podman", "crio"])
def test_podman_and_crio(client: str) -> None:
    file = only(client)
    assert file.path == "/etc/containers/registries.conf.d/registry-mirror.conf"
    assert file.content == MARK + (
        '[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n\n'
        '[[registry.mirror]]\nlocation = "mirror.example.com:5000/docker.io"\ninsecure = true\n\n'
        '[[registry]]\nprefix = "ghcr.io"\nlocation = "ghcr.io"\n\n'
        '[[registry.mirror]]\nlocation = "mirror.example.com:5000/ghcr.io"\ninsecure = true\n\n'
        '[[registry]]\nlocation = "mirror.example.com:5000"\ninsecure = true\n'
    )


def test_podman__loopback_is_no_exception() -> None:
    assert 'location = "127.0.0.1:5000/docker.io"\ninsecure = true\n' in only("podman", HERE).content


@pytest.mark.parametrize("server", [HERE, Server("http", "localhost:5000")])
def test_loopback_has_two_names(server: Server) -> None:
    """Whichever the server goes by, people write the other one, too."""
    podman = tomllib.loads(only("podman", server, HUB).content)["registry"]
    assert {entry["location"] for entry in podman if entry.get("insecure")} == {"localhost:5000", "127.0.0.1:5000"}
    buildkit = tomllib.loads(only("buildkit", server, HUB).content)["registry"]
    assert {name for name, entry in buildkit.items() if entry.get("http")} == {"localhost:5000", "127.0.0.1:5000"}


def test_podman__https() -> None:
    assert tomllib.loads(only("podman", SECURE, HUB).content) == {
        "registry": [
            {"prefix": "docker.io", "location": "docker.io", "mirror": [{"location": "mirror.example.com/docker.io"}]}
        ]
    }


def test_podman__host_with_a_port() -> None:
    """A path cannot have it; names without a registry mean the default upstream."""
    found = tomllib.loads(only("podman", THERE, {"a.example:1": True, "b.example": False}).content)
    mirrors = {entry["prefix"]: entry["mirror"][0]["location"] for entry in found["registry"] if "prefix" in entry}
    assert mirrors == {
        "a.example:1": "mirror.example.com:5000",
        "b.example": "mirror.example.com:5000/b.example",
    }
    left_out = only("podman", THERE, {"a.example:1": False, "b.example": False}).content
    assert "# a.example:1 is left out: " in left_out
    assert [entry.get("prefix") for entry in tomllib.loads(left_out)["registry"]] == ["b.example", None]


def test_crio_and_podman_beside_each_other() -> None:
    assert only("crio")[:2] == only("podman")[:2]
    assert "crio" in only("crio").then


def test_k3s() -> None:
    file = only("k3s")
    assert file.path == "/etc/rancher/k3s/registries.yaml"
    assert file.content == (
        'mirrors:\n  "docker.io":\n    endpoint:\n      - "http://mirror.example.com:5000"\n'
        '  "ghcr.io":\n    endpoint:\n      - "http://mirror.example.com:5000"\n'
    )


def test_buildkit() -> None:
    file = only("buildkit")
    assert file.path == "/etc/buildkit/buildkitd.toml"
    assert file.content == (
        '[registry."docker.io"]\n  mirrors = ["mirror.example.com:5000"]\n\n'
        '[registry."ghcr.io"]\n  mirrors = ["mirror.example.com:5000"]\n\n'
        '[registry."mirror.example.com:5000"]\n  http = true\n'
    )


def test_buildkit__https() -> None:
    assert tomllib.loads(only("buildkit", SECURE, HUB).content) == {
        "registry": {"docker.io": {"mirrors": ["mirror.example.com"]}}
    }


def test_buildkit__loopback_is_another_one_in_a_container() -> None:
    assert "loopback" in only("buildkit", HERE).then
    assert "loopback" not in only("buildkit", THERE).then


def test_no_upstream() -> None:
    for client in CLIENTS:
        with pytest.raises(ConfigError, match="no upstream is configured"):
            files_for(client, THERE, {})


def test_command_has_every_client() -> None:
    """The command lists them itself, so that its help needs no import."""
    assert get_args(get_type_hints(command.wire)["client"]) == tuple(CLIENTS)


@given(_UPSTREAMS, st.sampled_from([HERE, THERE, SECURE]))
def test_every_upstream_is_in_what_can_be_parsed(upstreams: dict[str, bool], server: Server) -> None:
    origins = {
        file.path.split("/")[4]: tomllib.loads(file.content) for file in files_for("containerd", server, upstreams)
    }
    assert origins.keys() == upstreams.keys()
    assert all(list(origin["host"]) == [str(server)] for origin in origins.values())
    builders = tomllib.loads(only("buildkit", server, upstreams).content)["registry"]
    assert all(builders[host]["mirrors"] == [server.address] for host in upstreams)
    entries = tomllib.loads(only("podman", server, upstreams).content).get("registry", [])
    assert next(iter(upstreams)) in [entry.get("prefix") for entry in entries]
    lines = only("k3s", server, upstreams).content.splitlines()
    assert [json.loads(line.strip(" :-")) for line in lines[1::3]] == list(upstreams)


@pytest.mark.parametrize("client", ["containerd", "podman", "crio"])
def test_what_was_made_here_is_replaced(client: str) -> None:
    old, new = only(client, HERE, HUB), only(client, THERE, HUB)
    assert new.onto(old.content) == new.content
    with pytest.raises(Conflict, match="there already, and not made by"):
        new.onto(old.content.removeprefix(MARK))


@pytest.mark.parametrize("client", ["k3s", "buildkit"])
def test_what_has_other_settings_too_is_not_replaced(client: str) -> None:
    old, new = only(client, HERE, HUB), only(client, THERE, HUB)
    with pytest.raises(Conflict, match="there already, and different"):
        new.onto(old.content)


@pytest.mark.parametrize("client", CLIENTS)
def test_twice_is_once(client: str) -> None:
    files: list[File] = files_for(client, THERE, TWO)
    assert files
    for file in files:
        assert file.onto(file.content) == file.content
        assert file.then
