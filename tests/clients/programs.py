"""The clients of the tests, each with a home, a store and (where it has one) a daemon of its own."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.clients.processes import CommandFailed, Daemon, fence, find, run, with_own_mounts

StorageDriver = Literal["overlay", "vfs"]
Environment = dict[str, str]
_NO_WAY_OUT: Environment = {}

_REGISTRIES = """\
unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "{mirror}"
insecure = true
[[registry]]
location = "{mirror}"
insecure = true
"""

_CONTAINERD = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/socket"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
"""

_HOSTS = """\
server = "http://127.0.0.1:9"
[host."{mirror}"]
capabilities = ["pull", "resolve"]
"""


def best_storage_driver(folder: Path) -> StorageDriver:
    """overlay where the kernel can mount one below this folder (not on top of another overlay), else vfs."""
    for name in ("lower", "upper", "work", "merged"):
        (folder / name).mkdir(parents=True)
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    try:
        run(with_own_mounts("mount", "-t", "overlay", "overlay", "-o", options, f"{folder}/merged"), fence(folder))
    except CommandFailed:
        return "vfs"
    return "overlay"


@contextmanager
def refused(saying: str, within: float = 15) -> Iterator[None]:
    """The command inside must fail, soon, and with a text that tells its user why.

    podman, buildah and skopeo try three times more whatever the answer was, so they need some seconds.
    """
    started = time.monotonic()
    with pytest.raises(CommandFailed) as failure:
        yield
    took = time.monotonic() - started
    assert saying.lower() in failure.value.output.lower(), failure.value.output
    assert took < within, f"refused only after {took:.0f} s\n{failure.value.output}"


class DockerEngine:
    """A dockerd, and the docker command line that talks to it; with `mirror_url` it pulls Docker Hub's images there.

    `settings` is a daemon.json, which may say the same. `way_out` is what of the environment leads elsewhere.
    """

    def __init__(
        self,
        folder: Path,
        driver: StorageDriver,
        mirror_url: str = "",
        settings: Path | None = None,
        way_out: Environment = _NO_WAY_OUT,
    ) -> None:
        folder.mkdir(parents=True)
        self._env = fence(folder / "home") | way_out
        self._socket = f"unix://{folder}/socket"
        options = {
            "--data-root": f"{folder}/data",
            "--exec-root": f"{folder}/exec",
            "--host": self._socket,
            "--pidfile": f"{folder}/pid",
            "--bridge": "none",
            "--iptables": "false",
            "--ip6tables": "false",
            "--insecure-registry": "127.0.0.0/8",
            "--storage-driver": "overlay2" if driver == "overlay" else "vfs",
        }
        if mirror_url:
            options["--registry-mirror"] = mirror_url
        if settings is not None:
            options["--config-file"] = str(settings)
        argv = with_own_mounts("dockerd", *(f"{name}={value}" for name, value in options.items()))
        self._daemon = Daemon("dockerd", folder, argv, self._env)

    def start(self) -> None:
        self._daemon.start(self._ready, timeout=40)

    def stop(self) -> None:
        self._daemon.stop()

    def __call__(self, *args: str, stdin: str = "", buildkit: bool = False, timeout: float = 60) -> str:
        """`docker ARGS`; the classic builder unless told otherwise."""
        env = self._env | {"DOCKER_BUILDKIT": "1" if buildkit else "0"}
        return run([find("docker"), "--host", self._socket, *args], env, stdin=stdin, timeout=timeout)

    def build(self, tag: str, context: Path, *, buildkit: bool = False) -> None:
        self("build", "--network=none", "--tag", tag, str(context), buildkit=buildkit)

    def run(self, image: str, *command: str) -> str:
        """What a container of the image prints."""
        return self("run", "--rm", "--network=none", image, *command)

    def id_of(self, image: str) -> str:
        """The image's ID, which is the digest of its configuration."""
        return self("image", "inspect", "--format", "{{.Id}}", image).strip()

    def clear(self) -> None:
        """No containers, no images, no build cache."""
        if containers := self("ps", "--all", "--quiet").split():
            self("rm", "--force", *containers)
        self("image", "prune", "--all", "--force")
        self("builder", "prune", "--all", "--force")

    def _ready(self) -> bool:
        try:
            self("version")
        except CommandFailed:
            return False
        return True


class Podman:
    """podman with a store of its own, asking the mirror for Docker Hub's images.

    `registries` is a folder with registries.conf.d, which is then what sends it there.
    """

    def __init__(
        self,
        folder: Path,
        driver: StorageDriver,
        mirror_address: str,
        registries: Path | None = None,
        way_out: Environment = _NO_WAY_OUT,
    ) -> None:
        self._prefix = with_own_mounts(
            "podman",
            *_container_store(folder, driver),
            f"--tmpdir={folder}/tmp",
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
        )
        self._env = _with_registries(folder, mirror_address, registries) | way_out

    def __call__(self, *args: str) -> str:
        return run([*self._prefix, *args], self._env)

    def clear(self) -> None:
        self("rmi", "--all", "--force")

    def file(self, image: str, path: str, folder: Path) -> bytes:
        """A file of the image. (Debian's crun cannot start containers everywhere; unpacking works all the same.)"""
        container = self("create", image).strip()
        target = folder / "file"
        self("cp", f"{container}:{path}", str(target))
        self("rm", container)
        return target.read_bytes()


class Buildah:
    """buildah with a store of its own, asking the mirror for Docker Hub's images. `registries` as with podman."""

    def __init__(
        self, folder: Path, driver: StorageDriver, mirror_address: str, registries: Path | None = None
    ) -> None:
        self._prefix = with_own_mounts("buildah", *_container_store(folder, driver))
        self._env = _with_registries(folder, mirror_address, registries) | {"BUILDAH_ISOLATION": "chroot"}

    def __call__(self, *args: str) -> str:
        return run([*self._prefix, *args], self._env)

    def clear(self) -> None:
        self("rm", "--all")
        self("rmi", "--all", "--force")


class Skopeo:
    """skopeo, trusting loopback registries without TLS."""

    def __init__(self, folder: Path) -> None:
        self._env = fence(folder / "home")
        self._folder = folder

    def __call__(self, *args: str) -> str:
        return run([find("skopeo"), "--insecure-policy", *args], self._env)

    def copy(self, source: str, target: str, *options: str) -> None:
        self("copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", *options, source, target)

    def delete(self, image: str) -> None:
        self("delete", "--tls-verify=false", image)

    def inspect(self, image: str, *options: str) -> str:
        return self("inspect", "--tls-verify=false", *options, image)

    def tags(self, repository: str) -> str:
        return self("list-tags", "--tls-verify=false", repository)

    def pull(self, image: str) -> None:
        """Fetches the whole image for this platform, into a folder that is thrown away."""
        target = self._folder / "pulled"
        try:
            self.copy(image, f"dir:{target}")
        finally:
            shutil.rmtree(target, ignore_errors=True)


class Containerd:
    """A containerd, and the ctr that talks to it; a hosts.toml sends it to the mirror for Docker Hub's images.

    `hosts` is a folder of such files to use instead.
    """

    def __init__(
        self, folder: Path, mirror_url: str, hosts: Path | None = None, way_out: Environment = _NO_WAY_OUT
    ) -> None:
        self.hosts = str(hosts or folder / "hosts")
        (folder / "hosts/docker.io").mkdir(parents=True)
        (folder / "hosts/docker.io/hosts.toml").write_text(_HOSTS.format(mirror=mirror_url))
        (folder / "config.toml").write_text(_CONTAINERD.format(folder=folder))
        self._env = fence(folder / "home") | way_out
        self._ctr = [find("ctr"), "--address", f"{folder}/socket"]
        argv = with_own_mounts("containerd", "--config", f"{folder}/config.toml")
        self._daemon = Daemon("containerd", folder, argv, self._env)

    def start(self) -> None:
        self._daemon.start(self._ready)

    def stop(self) -> None:
        self._daemon.stop()

    def __call__(self, *args: str) -> str:
        return run([*self._ctr, *args], self._env)

    def pull(self, image: str) -> None:
        """Through the mirror."""
        self("images", "pull", "--hosts-dir", self.hosts, image)

    def images(self) -> list[str]:
        return self("images", "list", "--quiet").split()

    def clear(self) -> None:
        if images := self.images():
            self("images", "rm", "--sync", *images)

    def _ready(self) -> bool:
        try:
            self("--connect-timeout", "200ms", "version")
        except CommandFailed:
            return False
        return True


class K3s:
    """What of k3s reads its registries.yaml, and pulls an image by it. k3s itself cannot run here."""

    def __init__(self, folder: Path, settings: Path) -> None:
        self._env = fence(folder / "home")
        self._settings = settings

    def pull(self, image: str) -> str:
        """The image's ID; every blob of it has been read and verified."""
        return run([find("k3s-pull"), str(self._settings), image], self._env).strip()


def _container_store(folder: Path, driver: StorageDriver) -> list[str]:
    return [f"--root={folder}/store", f"--runroot={folder}/run", f"--storage-driver={driver}"]


def _with_registries(folder: Path, mirror_address: str, registries: Path | None) -> dict[str, str]:
    env = fence(folder / "home")
    if registries is not None:
        (folder / "home/.config").mkdir()
        (folder / "home/.config/containers").symlink_to(registries)
        return env
    (folder / "registries.conf").write_text(_REGISTRIES.format(mirror=mirror_address))
    return env | {"CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf")}
