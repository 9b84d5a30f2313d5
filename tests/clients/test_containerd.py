"""containerd 1.6 against the mirror, which a hosts.toml names for docker.io: its requests carry `?ns=docker.io`."""

import pytest

from tests.clients.programs import Containerd, refused
from tests.clients.servers import Mirror, Registry

pytestmark = pytest.mark.clients

NGINX = "docker.io/library/nginx"
GRAFANA = "docker.io/grafana/grafana:10.0.0"


def run_container(containerd: Containerd, image: str) -> str:
    """What a container of the image prints."""
    return containerd("run", "--rm", image, "once")


def test_pull_through_hosts_toml(containerd: Containerd) -> None:
    """The origin in the hosts.toml is a closed port: all of it came from the mirror."""
    containerd.pull(f"{NGINX}:latest")
    assert containerd.images() == [f"{NGINX}:latest"]
    assert run_container(containerd, f"{NGINX}:latest") == "this is nginx\n"


def test_pull_by_digest(containerd: Containerd, upstream: Registry) -> None:
    digest = upstream.content("library/nginx", "1.25").digest
    containerd.pull(f"{NGINX}@{digest}")
    assert run_container(containerd, f"{NGINX}@{digest}") == "this is nginx of old\n"


def test_pull_of_all_platforms(containerd: Containerd) -> None:
    containerd("images", "pull", "--all-platforms", "--hosts-dir", containerd.hosts, f"{NGINX}:latest")
    listed = containerd("images", "check", f"name=={NGINX}:latest")
    assert "complete" in listed
    assert "linux/amd64,linux/arm64" in containerd("images", "list", f"name=={NGINX}:latest")


@pytest.mark.parametrize("repository", ["library/nginx", "nginx", "docker.io/library/nginx"])
def test_pull_by_address(containerd: Containerd, mirror: Mirror, repository: str) -> None:
    image = f"{mirror.address}/{repository}:latest"
    containerd("images", "pull", "--plain-http", image)
    assert run_container(containerd, image) == "this is nginx\n"


def test_push_and_pull(containerd: Containerd, mirror: Mirror) -> None:
    image = f"{mirror.address}/containerd/app:1"
    containerd.pull(GRAFANA)
    containerd("images", "tag", GRAFANA, image)
    containerd("images", "push", "--plain-http", image)
    containerd.clear()
    containerd("images", "pull", "--plain-http", image)
    assert run_container(containerd, image) == "this is grafana\n"


def test_push_refused(containerd: Containerd, mirror: Mirror) -> None:
    """ctr shows only the status of a refusal."""
    containerd.pull(GRAFANA)
    with refused(saying="405 Method Not Allowed"):
        containerd("images", "push", "--plain-http", f"{mirror.address}/library/mine:1", GRAFANA)
