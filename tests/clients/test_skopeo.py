"""skopeo against the mirror: copy, inspect, list, sync and delete, without a container engine."""

import json
from pathlib import Path

import pytest

from tests.clients.images import Layout
from tests.clients.programs import Skopeo, refused
from tests.clients.servers import Mirror, Registry

pytestmark = pytest.mark.clients


@pytest.fixture
def at(mirror: Mirror) -> str:
    return f"docker://{mirror.address}"


def test_copy_out_with_all_architectures(skopeo: Skopeo, at: str, upstream: Registry, tmp_path: Path) -> None:
    skopeo.copy(f"{at}/library/nginx:latest", f"oci:{tmp_path}/layout:nginx", "--all")
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert index["manifests"][0]["digest"] == upstream.content("library/nginx", "latest").digest
    blobs = (tmp_path / "layout/blobs/sha256").iterdir()
    assert len(list(blobs)) == 8, "an index, two images with a configuration and a layer each, a layer they share"


def test_copy_in_and_out(skopeo: Skopeo, at: str, mirror: Mirror, images: Layout, tmp_path: Path) -> None:
    skopeo.copy(images.reference("nginx"), f"{at}/skopeo/nginx:1", "--all")
    skopeo.copy(f"{at}/skopeo/nginx:1", f"oci:{tmp_path}/layout:nginx", "--all")
    copied = json.loads((tmp_path / "layout/index.json").read_text())["manifests"][0]
    assert copied["digest"] == mirror.content("skopeo/nginx", "1").digest


def test_copy_between_repositories(skopeo: Skopeo, at: str, mirror: Mirror, upstream: Registry) -> None:
    """Docker Hub's image under a name of our own: the bytes are the mirror's already, and stay the same."""
    skopeo.copy(f"{at}/library/nginx:latest", f"{at}/skopeo/mine:1", "--all")
    assert mirror.content("skopeo/mine", "1") == upstream.content("library/nginx", "latest")


def test_copy_with_zstd(skopeo: Skopeo, at: str, mirror: Mirror, images: Layout) -> None:
    options = ("--format=oci", "--dest-compress-format=zstd", "--dest-compress")
    skopeo.copy(images.reference("grafana"), f"{at}/skopeo/zstd:1", *options)
    skopeo.pull(f"{at}/skopeo/zstd:1")
    assert json.loads(mirror.get("/v2/skopeo/zstd/manifests/1"))["layers"]


def test_inspect(skopeo: Skopeo, at: str, upstream: Registry) -> None:
    expected = upstream.content("library/nginx", "latest")
    inspected = json.loads(skopeo.inspect(f"{at}/library/nginx:latest"))
    assert inspected["Digest"] == expected.digest
    assert set(inspected["RepoTags"]) == {"1.25", "latest"}
    raw = skopeo.inspect(f"{at}/library/nginx:latest", "--raw")
    assert raw.encode() == upstream.get("/v2/library/nginx/manifests/latest")
    config = skopeo.inspect(f"{at}/library/nginx:latest", "--config", "--raw")
    assert config.encode() == upstream.get(f"/v2/library/nginx/blobs/{expected.config}")


def test_list_tags(skopeo: Skopeo, at: str, images: Layout) -> None:
    assert set(json.loads(skopeo.tags(f"{at}/library/nginx"))["Tags"]) == {"1.25", "latest"}
    for tag in ("b", "a"):
        skopeo.copy(images.reference("python"), f"{at}/skopeo/tags:{tag}")
    assert json.loads(skopeo.tags(f"{at}/skopeo/tags"))["Tags"] == ["a", "b"]


def test_sync(skopeo: Skopeo, mirror: Mirror, tmp_path: Path) -> None:
    """Every tag of a repository in one go."""
    skopeo(
        "sync", "--src-tls-verify=false", "--src=docker", "--dest=dir", f"{mirror.address}/library/nginx", f"{tmp_path}"
    )
    assert {folder.name for folder in tmp_path.iterdir()} == {"nginx:latest", "nginx:1.25"}


def test_delete(skopeo: Skopeo, at: str, images: Layout) -> None:
    """skopeo deletes by digest: the tag is gone, another image in the same repository is not."""
    skopeo.copy(images.reference("nginx-old"), f"{at}/skopeo/gone:1", "--all")
    skopeo.copy(images.reference("python"), f"{at}/skopeo/gone:2")
    skopeo.delete(f"{at}/skopeo/gone:1")
    with refused(saying="manifest unknown"):
        skopeo.inspect(f"{at}/skopeo/gone:1", "--raw")
    skopeo.pull(f"{at}/skopeo/gone:2")
    assert json.loads(skopeo.tags(f"{at}/skopeo/gone"))["Tags"] == ["2"]


@pytest.mark.parametrize("repository", ["library/mine", "docker.io/team/mine", "grafana/grafana"])
def test_copy_refused(skopeo: Skopeo, at: str, images: Layout, repository: str) -> None:
    skopeo.inspect(f"{at}/grafana/grafana:10.0.0")
    with refused(saying="cannot be pushed to"):
        skopeo.copy(images.reference("python"), f"{at}/{repository}:mine")
