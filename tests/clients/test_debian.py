"""A real distribution through the mirror: Debian, made by debootstrap, pulled, verified, built upon and pushed."""

from pathlib import Path

import pytest

from tests.clients.conftest import NewFolder
from tests.clients.images import debian_image
from tests.clients.programs import DockerEngine, Skopeo
from tests.clients.servers import Mirror, Registry

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]


@pytest.fixture(scope="session")
def debian(new_folder: NewFolder) -> str:
    """Some 60 MB compressed, 6,000 files; the reference skopeo finds it by."""
    return debian_image(new_folder("debian")).reference("debian")


@pytest.fixture
def upstream_with_debian(upstream: Registry, skopeo: Skopeo, debian: str) -> Registry:
    skopeo.copy(debian, f"docker://{upstream.address}/library/debian:bookworm")
    return upstream


def test_debian(docker: DockerEngine, mirror: Mirror, upstream_with_debian: Registry, tmp_path: Path) -> None:
    docker("pull", "debian:bookworm", timeout=120)
    assert docker.id_of("debian:bookworm") == upstream_with_debian.content("library/debian", "bookworm").config
    assert docker.run("debian:bookworm", "sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME") == "bookworm\n"
    # Debian knows the checksum of every file it installed.
    assert docker.run("debian:bookworm", "dpkg", "--verify") == ""

    (tmp_path / "Dockerfile").write_text("FROM debian:bookworm\nRUN dpkg-query --show > /packages.txt\n")
    image = f"{mirror.address}/team/debian:1"
    docker.build(image, tmp_path)
    docker("push", image)
    upstream_with_debian.stop()
    docker.clear()
    docker("pull", image, timeout=120)
    assert "base-files" in docker.run(image, "cat", "/packages.txt")
