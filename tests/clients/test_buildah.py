"""buildah against the mirror: builds on Docker Hub's images, pushes, and puts several architectures under one tag."""

import json
from pathlib import Path

import pytest

from tests.clients.images import PYTHON, Layout
from tests.clients.programs import Buildah, refused
from tests.clients.servers import Mirror, Registry

pytestmark = pytest.mark.clients


def test_build_push_and_pull(buildah: Buildah, mirror: Mirror, tmp_path: Path) -> None:
    image = f"{mirror.address}/buildah/app:1"
    (tmp_path / "Containerfile").write_text(f"FROM {PYTHON}\nENV NAME=buildah\nRUN echo built by $NAME > /built.txt\n")
    buildah("bud", "--tag", image, str(tmp_path))
    buildah("push", image)
    buildah.clear()
    container = buildah("from", image).strip()
    assert buildah("run", container, "cat", "/built.txt", "/usr/share/name") == "built by buildah\npython\n"


def test_commit_and_push_by_hand(buildah: Buildah, mirror: Mirror) -> None:
    image = f"{mirror.address}/buildah/by-hand:1"
    container = buildah("from", "nginx").strip()
    buildah("run", container, "sh", "-c", "echo changed > /changed.txt")
    buildah("config", "--label", "made=by-hand", container)
    buildah("commit", container, image)
    buildah("push", image)
    content = mirror.content("buildah/by-hand", "1")
    config = json.loads(mirror.get(f"/v2/buildah/by-hand/blobs/{content.config}"))
    assert config["config"]["Labels"]["made"] == "by-hand"
    assert len(content.blobs) == 4, "the two layers of nginx, one more, and the configuration"


def test_pull_inspect_and_remove(buildah: Buildah, mirror: Mirror, upstream: Registry) -> None:
    image = f"{mirror.address}/library/nginx:1.25"
    pulled = buildah("pull", image).strip()
    assert f"sha256:{pulled}" == upstream.content("library/nginx", "1.25").config
    assert json.loads(buildah("inspect", "--type=image", image))["FromImage"] == image
    buildah("rmi", image)
    assert buildah("images", "--quiet") == ""


def test_push_of_several_architectures(buildah: Buildah, mirror: Mirror, images: Layout) -> None:
    buildah("manifest", "create", "several")
    for name in ("nginx-amd64", "nginx-arm64"):
        buildah("manifest", "add", "several", images.reference(name))
    buildah(
        "manifest", "push", "--all", "--tls-verify=false", "several", f"docker://{mirror.address}/buildah/several:1"
    )
    index = json.loads(mirror.get("/v2/buildah/several/manifests/1"))
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    for entry in index["manifests"]:
        assert mirror.content("buildah/several", entry["digest"]).config


def test_push_refused(buildah: Buildah, mirror: Mirror) -> None:
    buildah("pull", "nginx")
    with refused(saying="cannot be pushed to"):
        buildah("push", "nginx", f"docker://{mirror.address}/library/mine:1")
