"""Docker Engine 20.10 against the mirror: every way of pulling, building on what was pulled, and pushing."""

import json
from pathlib import Path

import pytest

from tests.clients.images import PYTHON
from tests.clients.programs import DockerEngine, refused
from tests.clients.servers import Mirror, Registry

pytestmark = pytest.mark.clients


def build_context(folder: Path, base: str) -> Path:
    """A build that uses each of the instructions everybody uses."""
    (folder / "note.txt").write_text("a file of mine\n")
    (folder / "Dockerfile").write_text(
        f"FROM {base}\n"
        "ENV GREETING=hello\n"
        "COPY note.txt /note.txt\n"
        'RUN echo "$GREETING from the build" > /built.txt\n'
        'CMD ["/bin/sh", "-c", "cat /built.txt /note.txt /usr/share/name"]\n'
    )
    return folder


def test_pull_by_short_name(docker: DockerEngine, upstream: Registry) -> None:
    docker("pull", "nginx")
    assert docker.id_of("nginx") == upstream.content("library/nginx", "latest").config
    assert docker.run("nginx") == "this is nginx\n"


@pytest.mark.parametrize("repository", ["library/nginx", "nginx", "docker.io/library/nginx", "docker.io/nginx"])
def test_pull_by_address(docker: DockerEngine, mirror: Mirror, upstream: Registry, repository: str) -> None:
    """All of these are Docker Hub's nginx."""
    image = f"{mirror.address}/{repository}"
    docker("pull", image)
    assert docker.id_of(image) == upstream.content("library/nginx", "latest").config


def test_pull_by_digest(docker: DockerEngine, mirror: Mirror, upstream: Registry) -> None:
    expected = upstream.content("library/nginx", "1.25")
    for image in ("nginx", f"{mirror.address}/nginx"):
        docker("pull", f"{image}@{expected.digest}")
        assert docker.id_of(f"{image}@{expected.digest}") == expected.config


def test_pull_all_tags(docker: DockerEngine, mirror: Mirror) -> None:
    for repository in ("nginx", f"{mirror.address}/library/nginx"):
        docker("pull", "--all-tags", repository)
        assert set(docker("images", "--format", "{{.Tag}}", repository).split()) == {"latest", "1.25"}


def test_pull_of_a_missing_tag(docker: DockerEngine, mirror: Mirror) -> None:
    with refused(saying="not found"):
        docker("pull", f"{mirror.address}/library/nginx:no-such-tag")


def test_manifest_inspect(docker: DockerEngine, mirror: Mirror) -> None:
    """The command line asks for this by itself; this version knows Docker's own media types only."""
    index = json.loads(docker("manifest", "inspect", "--insecure", f"{mirror.address}/library/nginx:1.25"))
    assert {entry["platform"]["architecture"] for entry in index["manifests"]} == {"amd64", "arm64"}


@pytest.mark.parametrize("buildkit", [False, True], ids=["classic", "buildkit"])
def test_build_push_and_pull(docker: DockerEngine, mirror: Mirror, tmp_path: Path, buildkit: bool) -> None:
    """BuildKit asks for the base image by itself, and names the registry with `?ns=`."""
    image = f"{mirror.address}/team/built-{buildkit}:1".lower()
    docker.build(image, build_context(tmp_path, PYTHON), buildkit=buildkit)
    built = docker.id_of(image)
    docker("push", image)
    docker.clear()
    docker("pull", image)
    assert docker.id_of(image) == built
    assert docker.run(image) == "hello from the build\na file of mine\npython\n"


def test_push_of_all_tags(docker: DockerEngine, mirror: Mirror) -> None:
    docker("pull", "nginx")
    for tag in ("one", "two"):
        docker("tag", "nginx", f"{mirror.address}/team/tags:{tag}")
    docker("push", "--all-tags", f"{mirror.address}/team/tags")
    assert json.loads(mirror.get("/v2/team/tags/tags/list"))["tags"] == ["one", "two"]


def test_push_mounts_layers_the_registry_has(docker: DockerEngine, mirror: Mirror, tmp_path: Path) -> None:
    """The second image stands on the first; its lower layers are mounted across repositories, not sent again."""
    first, second = f"{mirror.address}/team/first:1", f"{mirror.address}/team/second:1"
    docker("pull", "nginx")
    docker("tag", "nginx", first)
    docker("push", first)
    docker.build(second, build_context(tmp_path, first))
    assert docker("push", second).count("Mounted from team/first") == 2
    docker.clear()
    docker("pull", second)
    assert docker.run(second).endswith("nginx\n")


@pytest.mark.parametrize("repository", ["library/mine", "docker.io/team/mine", "grafana/grafana"])
def test_push_refused(docker: DockerEngine, mirror: Mirror, repository: str) -> None:
    """Nothing can be pushed over what is Docker Hub's; the user reads why, at once and not after a row of retries."""
    docker("pull", f"{mirror.address}/grafana/grafana:10.0.0")
    image = f"{mirror.address}/{repository}:mine"
    docker("tag", f"{mirror.address}/grafana/grafana:10.0.0", image)
    with refused(saying="cannot be pushed to"):
        docker("push", image)


def test_push_goes_on_after_a_refusal(docker: DockerEngine, mirror: Mirror) -> None:
    """The same name is free to push to as long as it is not Docker Hub's."""
    docker("pull", "grafana/grafana:10.0.0")
    docker("tag", "grafana/grafana:10.0.0", f"{mirror.address}/grafana-of-mine:1")
    docker("push", f"{mirror.address}/grafana-of-mine:1")
    assert docker.id_of("grafana/grafana:10.0.0") == mirror.content("grafana-of-mine", "1").config


def test_search(docker: DockerEngine, mirror: Mirror) -> None:
    """What was pushed here and what was cached here, under names that can be pulled from here."""
    docker("pull", f"{mirror.address}/nginx")
    docker("tag", f"{mirror.address}/nginx", f"{mirror.address}/team/nginx-searched:1")
    docker("push", f"{mirror.address}/team/nginx-searched:1")
    found = docker("search", "--format", "{{.Name}}: {{.Description}}", f"{mirror.address}/nginx")
    assert found.splitlines() == ["nginx: (here)", "team/nginx-searched: (here)"]
    docker.clear()
    for line in found.splitlines():
        docker("pull", "--all-tags", f"{mirror.address}/{line.partition(':')[0]}")
