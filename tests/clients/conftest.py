"""Servers and clients for the tests, one set to a module, every one of them ended and removed afterwards."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.clients.images import PYTHON, Layout, busybox_images
from tests.clients.programs import (
    Buildah,
    Containerd,
    DockerEngine,
    Podman,
    Skopeo,
    StorageDriver,
    best_storage_driver,
)
from tests.clients.servers import Mirror, Registry, Upstream

NewFolder = Callable[[str], Path]

# Docker Hub holds both families of media types, as images and as lists of images.
_SEED = (
    ("nginx", "library/nginx:latest", "oci"),
    ("nginx-old", "library/nginx:1.25", "v2s2"),
    ("python", f"library/{PYTHON}", "v2s2"),
    ("grafana", "grafana/grafana:10.0.0", "oci"),
)


@pytest.fixture(scope="session")
def new_folder() -> Iterator[NewFolder]:
    """Gives out folders with short names (sockets live in them); all are removed at the end."""
    top = Path(tempfile.mkdtemp(prefix="clients-"))
    numbers = count(1)
    try:
        yield lambda name: top / f"{name}-{next(numbers)}"
    finally:
        shutil.rmtree(top)


@pytest.fixture(scope="session")
def storage_driver(new_folder: NewFolder) -> StorageDriver:
    return best_storage_driver(new_folder("probe"))


@pytest.fixture(scope="session")
def skopeo(new_folder: NewFolder) -> Skopeo:
    return Skopeo(new_folder("skopeo"))


@pytest.fixture(scope="session")
def images(new_folder: NewFolder) -> Layout:
    return busybox_images(new_folder("images"))


@pytest.fixture(scope="session")
def seed(new_folder: NewFolder, images: Layout, skopeo: Skopeo) -> Path:
    """The store of an upstream registry that has the images, for every upstream to start from."""
    registry = Registry(new_folder("seed"))
    try:
        registry.start()
        for name, target, family in _SEED:
            skopeo.copy(images.reference(name), f"docker://{registry.address}/{target}", "--all", f"--format={family}")
    finally:
        registry.stop()
    return registry.root


@pytest.fixture(scope="module")
def upstream(new_folder: NewFolder, seed: Path) -> Iterator[Registry]:
    registry = Registry(new_folder("upstream"), seed)
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()


@pytest.fixture(scope="module")
def mirror(new_folder: NewFolder, upstream: Registry) -> Iterator[Mirror]:
    """The server under test with an empty store. It must have ended properly by the end of the module."""
    server = Mirror(new_folder("mirror"), Upstream(upstream.url))
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def engine(new_folder: NewFolder, storage_driver: StorageDriver, mirror: Mirror) -> Iterator[DockerEngine]:
    """A Docker Engine with the mirror as its registry mirror."""
    docker = DockerEngine(new_folder("docker"), storage_driver, mirror.url)
    try:
        docker.start()
        yield docker
    finally:
        docker.stop()


@pytest.fixture
def docker(engine: DockerEngine) -> Iterator[DockerEngine]:
    """The engine, without a single image."""
    engine.clear()
    yield engine
    engine.clear()


@pytest.fixture
def podman(new_folder: NewFolder, storage_driver: StorageDriver, mirror: Mirror) -> Iterator[Podman]:
    client = Podman(new_folder("podman"), storage_driver, mirror.address)
    yield client
    client.clear()


@pytest.fixture
def buildah(new_folder: NewFolder, storage_driver: StorageDriver, mirror: Mirror) -> Iterator[Buildah]:
    client = Buildah(new_folder("buildah"), storage_driver, mirror.address)
    yield client
    client.clear()


@pytest.fixture(scope="module")
def containerd_daemon(new_folder: NewFolder, mirror: Mirror) -> Iterator[Containerd]:
    client = Containerd(new_folder("containerd"), mirror.url)
    try:
        client.start()
        yield client
    finally:
        client.stop()


@pytest.fixture
def containerd(containerd_daemon: Containerd) -> Iterator[Containerd]:
    """containerd, without a single image."""
    containerd_daemon.clear()
    yield containerd_daemon
    containerd_daemon.clear()
