"""podman 4 against the mirror, which registries.conf names as the mirror of docker.io."""

import json
from pathlib import Path

import pytest

from tests.clients.programs import Podman, refused
from tests.clients.servers import Mirror, Registry

pytestmark = pytest.mark.clients


def id_of(podman: Podman, image: str) -> str:
    return "sha256:" + podman("image", "inspect", "--format", "{{.Id}}", image).strip()


def test_pull_by_short_name(podman: Podman, upstream: Registry, tmp_path: Path) -> None:
    """`[[registry.mirror]]`: the origin cannot be reached, so the image came from the mirror."""
    podman("pull", "nginx")
    assert id_of(podman, "docker.io/library/nginx") == upstream.content("library/nginx", "latest").config
    assert podman.file("nginx", "/usr/share/name", tmp_path) == b"nginx\n"


@pytest.mark.parametrize("repository", ["library/nginx", "nginx", "docker.io/library/nginx"])
def test_pull_by_address(podman: Podman, mirror: Mirror, upstream: Registry, repository: str) -> None:
    image = f"{mirror.address}/{repository}"
    podman("pull", image)
    assert id_of(podman, image) == upstream.content("library/nginx", "latest").config


def test_pull_by_digest(podman: Podman, upstream: Registry) -> None:
    expected = upstream.content("library/nginx", "1.25")
    podman("pull", f"docker.io/library/nginx@{expected.digest}")
    assert id_of(podman, f"docker.io/library/nginx@{expected.digest}") == expected.config


def test_pull_all_tags(podman: Podman, mirror: Mirror) -> None:
    podman("pull", "--all-tags", f"{mirror.address}/library/nginx")
    assert set(podman("images", "--format", "{{.Tag}}").split()) == {"latest", "1.25"}


def test_list_tags(podman: Podman, mirror: Mirror) -> None:
    listed = json.loads(podman("search", "--list-tags", "--format=json", f"{mirror.address}/library/nginx"))
    assert set(listed[0]["Tags"]) == {"1.25", "latest"}


def test_push_and_pull(podman: Podman, mirror: Mirror, tmp_path: Path) -> None:
    image = f"{mirror.address}/podman/app:1"
    podman("pull", "nginx")
    podman("push", "nginx", image)
    podman.clear()
    podman("pull", image)
    assert podman.file(image, "/usr/share/name", tmp_path) == b"nginx\n"


def test_search(podman: Podman, mirror: Mirror) -> None:
    """Finds what was pushed here and what was cached here, under names that can be pulled."""
    podman("pull", "nginx")
    podman("push", "nginx", f"{mirror.address}/podman/searched:latest")
    for term, found in (("searched", "podman/searched"), ("ngin", "nginx")):
        names = podman("search", "--format={{.Name}}", f"{mirror.address}/{term}").split()
        assert f"{mirror.address}/{found}" in names
        podman("pull", f"{mirror.address}/{found}")


def test_push_refused(podman: Podman, mirror: Mirror) -> None:
    podman("pull", "nginx")
    with refused(saying="cannot be pushed to"):
        podman("push", "nginx", f"{mirror.address}/library/mine:1")
