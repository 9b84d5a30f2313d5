"""Clients against a registry that has very much: lists that come in many pages are put together again."""

import json
from collections.abc import Iterator

import pytest

from bench.crowded import BIG, BIG_CACHED, Crowd, fill
from tests.clients.artifacts import Crane
from tests.clients.conftest import NewFolder
from tests.clients.images import Layout
from tests.clients.programs import Podman, Skopeo, StorageDriver
from tests.clients.servers import Mirror, Upstream

pytestmark = pytest.mark.clients

CROWD = Crowd(repositories=3000, tags_each=1, tags=5000, labels=100, blobs=3000)
TAGS = [f"v{n:06}" for n in range(CROWD.tags)]


@pytest.fixture(scope="module")
def crowded(new_folder: NewFolder, skopeo: Skopeo, images: Layout) -> Iterator[Mirror]:
    """Its upstream is down: what is cached of it is listed from the cache."""
    server = Mirror(new_folder("crowded"), Upstream("http://127.0.0.1:9"))
    server.start()
    try:
        skopeo.copy(images.reference("python"), f"docker://{server.address}/team/app:1")
        digest = server.content("team/app", "1").digest
        server.stop()
        fill(server.root, digest, CROWD)
        server.start()
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("repository", [BIG, BIG_CACHED])
def test_skopeo_lists_tags(skopeo: Skopeo, crowded: Mirror, repository: str) -> None:
    assert json.loads(skopeo.tags(f"docker://{crowded.address}/{repository}"))["Tags"] == TAGS


def test_podman_lists_tags(new_folder: NewFolder, storage_driver: StorageDriver, crowded: Mirror) -> None:
    podman = Podman(new_folder("podman"), storage_driver, crowded.address)
    command = ("search", "--list-tags", "--limit=10000", "--format=json", f"{crowded.address}/{BIG}")
    assert json.loads(podman(*command))[0]["Tags"] == TAGS


def test_podman_searches(new_folder: NewFolder, storage_driver: StorageDriver, crowded: Mirror) -> None:
    podman = Podman(new_folder("podman"), storage_driver, crowded.address)
    names = podman("search", "--limit=100", "--format={{.Name}}", f"{crowded.address}/nginx").split()
    assert len(names) == len(set(names)) == 100
    assert all("nginx" in name for name in names)


@pytest.mark.parametrize("repository", [BIG, BIG_CACHED])
def test_crane_lists_tags(new_folder: NewFolder, crowded: Mirror, repository: str) -> None:
    crane = Crane(new_folder("crane"))
    assert crane("ls", f"{crowded.address}/{repository}").split() == TAGS


def test_crane_lists_repositories(new_folder: NewFolder, crowded: Mirror) -> None:
    names = Crane(new_folder("crane"))("catalog", crowded.address).split()
    assert names == sorted(set(names))
    assert {BIG, BIG_CACHED, "team/app"} <= set(names)
    assert len(names) == CROWD.repositories + 3


def test_a_tag_of_many_is_pulled(skopeo: Skopeo, crowded: Mirror) -> None:
    skopeo.pull(f"docker://{crowded.address}/{BIG}:v004321")
