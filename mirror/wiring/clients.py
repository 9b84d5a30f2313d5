"""The files of each client. Strings are written as JSON, which is also how TOML and YAML quote them."""

from collections.abc import Callable, Mapping
from json import dumps as quoted

from mirror.errors import ConfigError
from mirror.wiring.docker import docker
from mirror.wiring.files import MARK, File, Wanted, never_replace, replace_ours
from mirror.wiring.server import Server
from ocispec.errors import NameInvalid
from ocispec.names import RepositoryName

_CERTS = "/etc/containerd/certs.d"
_REGISTRIES = "/etc/containers/registries.conf.d/registry-mirror.conf"
_K3S = "/etc/rancher/k3s/registries.yaml"
_BUILDKIT = "/etc/buildkit/buildkitd.toml"

# Docker Hub's API is not where its name says.
_ORIGINS = {"docker.io": "https://registry-1.docker.io"}


def containerd(wanted: Wanted) -> list[File]:
    """One file for each registry; containerd says in `ns` which one it means."""
    then = (
        f"nothing to restart; but Kubernetes needs config_path in containerd's config.toml to be {_CERTS}, "
        f"and ctr its --hosts-dir"
    )
    return [
        File(f"{_CERTS}/{host}/hosts.toml", _hosts_toml(wanted.server, host), then, replace_ours)
        for host in wanted.hosts
    ]


def _hosts_toml(server: Server, host: str) -> str:
    return (
        f"{MARK}server = {quoted(_ORIGINS.get(host, f'https://{host}'))}\n\n"
        f'[host.{quoted(str(server))}]\n  capabilities = ["pull", "resolve"]\n'
    )


def podman(wanted: Wanted) -> list[File]:
    """podman, buildah and skopeo."""
    then = "nothing to restart; podman, buildah and skopeo read it with their next command"
    return [File(_REGISTRIES, _registries_conf(wanted), then, replace_ours)]


def crio(wanted: Wanted) -> list[File]:
    """The same file: CRI-O reads what podman reads, and may be beside it."""
    return [File(_REGISTRIES, _registries_conf(wanted), "restart CRI-O: systemctl restart crio", replace_ours)]


def _registries_conf(wanted: Wanted) -> str:
    """They never send `ns`: the registry goes into the path, or is the one that names without a registry mean."""
    blocks = []
    for host in wanted.hosts:
        if _nameable(host):
            blocks.append(_registry(host, wanted.server, f"{wanted.server.address}/{host}"))
        elif host == wanted.default:
            blocks.append(_registry(host, wanted.server, wanted.server.address))
        else:
            blocks.append(f"# {host} is left out: no path can name it, and this client has no other way to.\n")
    if wanted.server.plain_http:
        # For names that begin with the address; here loopback is no exception.
        blocks += [
            f"[[registry]]\nlocation = {quoted(address)}\ninsecure = true\n" for address in wanted.server.addresses
        ]
    return MARK + "\n".join(blocks)


def _registry(host: str, server: Server, mirror: str) -> str:
    insecure = "insecure = true\n" if server.plain_http else ""
    return (
        f"[[registry]]\nprefix = {quoted(host)}\nlocation = {quoted(host)}\n\n"
        f"[[registry.mirror]]\nlocation = {quoted(mirror)}\n{insecure}"
    )


def _nameable(host: str) -> bool:
    """Whether the host can be the first part of a repository's name. One with a port cannot."""
    try:
        RepositoryName.parse(f"{host}/a")
    except NameInvalid:
        return False
    return True


def k3s(wanted: Wanted) -> list[File]:
    """k3s makes containerd's files from it."""
    mirrors = "".join(
        f"  {quoted(host)}:\n    endpoint:\n      - {quoted(str(wanted.server))}\n" for host in wanted.hosts
    )
    then = "restart k3s: systemctl restart k3s (k3s-agent where it is an agent)"
    return [File(_K3S, f"mirrors:\n{mirrors}", then, never_replace)]


def buildkit(wanted: Wanted) -> list[File]:
    """A builder of its own; the one inside Docker does as Docker does."""
    address = quoted(wanted.server.address)
    blocks = [f"[registry.{quoted(host)}]\n  mirrors = [{address}]\n" for host in wanted.hosts]
    if wanted.server.plain_http:
        blocks += [f"[registry.{quoted(name)}]\n  http = true\n" for name in wanted.server.addresses]
    then = f"restart buildkitd, or make a builder: docker buildx create --use --buildkitd-config {_BUILDKIT}"
    if wanted.server.on_loopback:
        then += "; a builder in a container does not reach this loopback address, give --server another"
    return [File(_BUILDKIT, "\n".join(blocks), then, never_replace)]


CLIENTS: Mapping[str, Callable[[Wanted], list[File]]] = {
    "docker": docker,
    "containerd": containerd,
    "podman": podman,
    "k3s": k3s,
    "crio": crio,
    "buildkit": buildkit,
}


def files_for(client: str, server: Server, upstreams: Mapping[str, bool]) -> list[File]:
    """The files of a client; `upstreams` are hosts, and whether each is the default. Raises ConfigError."""
    if not upstreams:
        raise ConfigError("no upstream is configured: there is nothing to pull through this server")
    default = next((host for host, is_default in upstreams.items() if is_default), None)
    return CLIENTS[client](Wanted(server, tuple(upstreams), default))
