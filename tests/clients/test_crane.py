"""crane against the mirror: it looks at images, copies them and takes them apart, without a container engine."""

import json
import tarfile
from pathlib import Path

import pytest

from tests.clients.artifacts import Crane
from tests.clients.conftest import NewFolder
from tests.clients.programs import Skopeo, refused
from tests.clients.servers import Mirror, Registry

pytestmark = pytest.mark.clients


@pytest.fixture
def crane(new_folder: NewFolder) -> Crane:
    return Crane(new_folder("crane"))


@pytest.fixture
def nginx(mirror: Mirror) -> str:
    return f"{mirror.address}/library/nginx:latest"


def test_look_at_an_image(crane: Crane, nginx: str, mirror: Mirror, upstream: Registry) -> None:
    content = upstream.content("library/nginx", "latest")
    assert crane("digest", nginx).strip() == content.digest
    assert crane("manifest", nginx).encode() == upstream.get("/v2/library/nginx/manifests/latest")
    config = crane("config", "--platform=linux/amd64", nginx)
    assert config.encode() == upstream.get(f"/v2/library/nginx/blobs/{content.config}")
    assert set(crane("ls", f"{mirror.address}/library/nginx").split()) == {"latest", "1.25"}


def test_pull(crane: Crane, nginx: str, tmp_path: Path) -> None:
    crane("pull", "--platform=linux/amd64", nginx, str(tmp_path / "nginx.tar"))
    with tarfile.open(tmp_path / "nginx.tar") as archive:
        entry = json.load(archive.extractfile("manifest.json") or pytest.fail("no manifest.json"))[0]
        assert set(entry["Layers"]) <= set(archive.getnames())


def test_validate(crane: Crane, nginx: str) -> None:
    """Every blob is read, and compared with its digest, its size, and what the configuration says of it."""
    assert "PASS" in crane("validate", "--remote", nginx)


def test_copy_and_delete(crane: Crane, nginx: str, mirror: Mirror, upstream: Registry, skopeo: Skopeo) -> None:
    """A copy into a repository of one's own, all platforms; layers are mounted, as they are here already."""
    mine = f"{mirror.address}/crane/nginx:1"
    crane("copy", nginx, mine)
    assert mirror.content("crane/nginx", "1") == upstream.content("library/nginx", "latest")
    assert "crane/nginx" in crane("catalog", mirror.address).split()
    crane("tag", mine, "2")
    assert crane("ls", f"{mirror.address}/crane/nginx").split() == ["1", "2"]
    crane("delete", mine)
    assert crane("ls", f"{mirror.address}/crane/nginx").split() == ["2"]
    skopeo.pull(f"docker://{mirror.address}/crane/nginx:2")


def test_append_and_push(crane: Crane, nginx: str, mirror: Mirror, tmp_path: Path) -> None:
    """A layer more on top of Docker Hub's image."""
    (tmp_path / "note.txt").write_text("a file of mine\n")
    with tarfile.open(tmp_path / "layer.tar", "w") as archive:
        archive.add(tmp_path / "note.txt", "note.txt")
    mine = f"{mirror.address}/crane/app:1"
    crane(
        "append", "--platform=linux/amd64", f"--base={nginx}", f"--new_tag={mine}", f"--new_layer={tmp_path}/layer.tar"
    )
    crane("export", mine, str(tmp_path / "root.tar"))
    with tarfile.open(tmp_path / "root.tar") as archive:
        assert {"note.txt", "usr/share/name"} <= set(archive.getnames())


def test_push_refused(crane: Crane, nginx: str, mirror: Mirror) -> None:
    with refused(saying="cannot be pushed to"):
        crane("copy", nginx, f"{mirror.address}/library/mine:1")
