"""What `mirror wire` writes, as the programs that it is for take it: an image arrives through the mirror."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import NewFolder
from tests.clients.processes import run
from tests.clients.programs import Containerd, DockerEngine, Podman, StorageDriver
from tests.clients.servers import Mirror, Registry

pytestmark = pytest.mark.clients

NGINX = "docker.io/library/nginx:latest"


@pytest.fixture
def etc(new_folder: NewFolder, mirror: Mirror) -> Path:
    """A root's `etc` in which every client is wired to the mirror."""
    root = new_folder("wired")
    root.mkdir()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    for client in ("docker", "containerd", "podman"):
        options = ["--server", mirror.url, "--write", "--root", str(root)]
        run([sys.executable, "-m", "mirror", "wire", client, *options], environment)
    return root / "etc"


@pytest.fixture
def wired_docker(new_folder: NewFolder, storage_driver: StorageDriver, etc: Path) -> Iterator[DockerEngine]:
    engine = DockerEngine(new_folder("docker"), storage_driver, settings=etc / "docker/daemon.json")
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


@pytest.fixture
def wired_podman(new_folder: NewFolder, storage_driver: StorageDriver, etc: Path) -> Iterator[Podman]:
    client = Podman(new_folder("podman"), storage_driver, "", registries=etc / "containers")
    yield client
    client.clear()


def test_docker(wired_docker: DockerEngine, upstream: Registry) -> None:
    wired_docker("pull", "nginx")
    assert wired_docker.id_of("nginx") == upstream.content("library/nginx", "latest").config


def test_containerd(containerd: Containerd, etc: Path) -> None:
    """Docker Hub itself is behind a proxy that is not there."""
    containerd("images", "pull", "--hosts-dir", f"{etc}/containerd/certs.d", NGINX)
    assert containerd("run", "--rm", NGINX, "once") == "this is nginx\n"


def test_podman(wired_podman: Podman, mirror: Mirror, upstream: Registry) -> None:
    """By the registry's own name, and by the mirror's address, which podman would not speak plain HTTP with."""
    for image in (NGINX, f"{mirror.address}/library/nginx:latest".replace("localhost", "127.0.0.1")):
        wired_podman("pull", image)
        found = wired_podman("image", "inspect", "--format", "{{.Id}}", image).strip()
        assert f"sha256:{found}" == upstream.content("library/nginx", "latest").config
        wired_podman.clear()
