"""What reaches the upstream registry, and what the mirror can do without it. Each test has servers of its own."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.clients.conftest import NewFolder
from tests.clients.images import Layout
from tests.clients.programs import DockerEngine, Skopeo, StorageDriver, refused
from tests.clients.servers import Content, Mirror, Registry, Upstream

pytestmark = pytest.mark.clients

NGINX = "library/nginx"


@pytest.fixture
def upstream(new_folder: NewFolder, seed: Path) -> Iterator[Registry]:
    registry = Registry(new_folder("upstream"), seed)
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()


@pytest.fixture
def mirror(new_folder: NewFolder, upstream: Registry) -> Iterator[Mirror]:
    server = Mirror(new_folder("mirror"), Upstream(upstream.url))
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.kill()


@pytest.fixture
def nginx(upstream: Registry) -> Content:
    """What a pull of nginx consists of; looking it up does not count."""
    content = upstream.content(NGINX, "latest")
    upstream.forget()
    return content


@pytest.fixture
def image(mirror: Mirror) -> str:
    return f"docker://{mirror.address}/{NGINX}:latest"


def assert_everything_once(upstream: Registry, content: Content) -> None:
    asked = Counter((request.method, request.path) for request in upstream.requests())
    assert set(asked.values()) == {1}, asked
    fetched = [path for method, path in asked if method == "GET"]
    assert sorted(path for path in fetched if "/blobs/" in path) == sorted(
        f"/v2/{NGINX}/blobs/{digest}" for digest in content.blobs
    )
    manifests = [path for path in fetched if "/manifests/" in path]
    assert len(manifests) == len(content.manifests), manifests


def test_each_object_once(skopeo: Skopeo, upstream: Registry, nginx: Content, image: str) -> None:
    skopeo.pull(image)
    assert_everything_once(upstream, nginx)
    upstream.forget()
    skopeo.pull(image)
    assert upstream.requests() == []


def test_each_object_once_for_docker(
    new_folder: NewFolder, storage_driver: StorageDriver, mirror: Mirror, upstream: Registry, nginx: Content
) -> None:
    """Docker asks with HEAD first, then by digest, and for several blobs at a time."""
    docker = DockerEngine(new_folder("docker"), storage_driver, mirror.url)
    try:
        docker.start()
        docker("pull", "nginx")
        assert_everything_once(upstream, nginx)
        upstream.forget()
        docker.clear()
        docker("pull", "nginx")
        assert upstream.requests() == []
    finally:
        docker.stop()


def test_each_object_once_for_many(new_folder: NewFolder, upstream: Registry, nginx: Content, image: str) -> None:
    """Six clients that start together share one download of everything."""
    clients = [Skopeo(new_folder("skopeo")) for _ in range(6)]
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(lambda client: client.pull(image), clients))
    assert_everything_once(upstream, nginx)


def test_served_after_a_crash_without_upstream(skopeo: Skopeo, mirror: Mirror, upstream: Registry, image: str) -> None:
    skopeo.pull(image)
    mirror.kill()
    upstream.stop()
    mirror.start()
    skopeo.pull(image)


def test_pushed_image_survives_a_crash(skopeo: Skopeo, mirror: Mirror, images: Layout) -> None:
    """What a client was told is stored, is stored."""
    pushed = f"docker://{mirror.address}/team/app:1"
    skopeo.copy(images.reference("python"), pushed)
    mirror.kill()
    mirror.start()
    skopeo.pull(pushed)


def test_works_again_when_the_upstream_does(skopeo: Skopeo, upstream: Registry, image: str) -> None:
    upstream.stop()
    with refused(saying="unexpected HTTP status: 50", within=30):
        skopeo.pull(image)
    upstream.start()
    skopeo.pull(image)
