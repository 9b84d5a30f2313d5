"""oras against the mirror: artifacts that are no images, and what is attached to an image without changing it."""

import json
from collections.abc import Iterator

import pytest

from tests.clients.artifacts import Oras
from tests.clients.conftest import NewFolder
from tests.clients.programs import refused
from tests.clients.servers import Mirror, Registry, Upstream

pytestmark = pytest.mark.clients

NOTE = "application/vnd.example.note"
SBOM = "application/vnd.example.sbom"


@pytest.fixture
def oras(new_folder: NewFolder) -> Oras:
    return Oras(new_folder("oras"))


@pytest.fixture(params=["tags", "referrers"])
def other(request: pytest.FixtureRequest, new_folder: NewFolder) -> Iterator[Registry | Mirror]:
    """An upstream without the referrers API, as Docker Hub is, where clients use tags; and one that has it."""
    server = Registry(new_folder("other")) if request.param == "tags" else Mirror(new_folder("other"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def behind(new_folder: NewFolder, other: Registry | Mirror) -> Iterator[Mirror]:
    """A mirror in front of it."""
    server = Mirror(new_folder("behind"), Upstream(other.url))
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.kill()


def attached(oras: Oras, image: str, *options: str) -> dict[str, str]:
    """The types of what is attached to an image itself, and where each is."""
    listed = oras.json("discover", "--depth=1", *options, image)["referrers"]
    return {entry["artifactType"]: entry["reference"] for entry in listed}


def attach(oras: Oras, image: str) -> None:
    for kind in (NOTE, SBOM):
        oras("attach", f"--artifact-type={kind}", image, oras.file("attached.txt", f"{kind}\n"))


def assert_all_there(oras: Oras, image: str) -> None:
    everything = attached(oras, image)
    assert everything.keys() == {NOTE, SBOM}
    for kind, reference in everything.items():
        assert attached(oras, image, f"--artifact-type={kind}") == {kind: reference}
        assert oras.pulled(reference, "attached.txt") == f"{kind}\n"


def test_push_attach_discover_and_pull(oras: Oras, mirror: Mirror) -> None:
    image = f"{mirror.address}/oras/app:1"
    oras("push", f"--artifact-type={NOTE}", image, oras.file("note.txt", "pushed\n"))
    assert oras.pulled(image, "note.txt") == "pushed\n"
    attach(oras, image)
    assert_all_there(oras, image)
    assert oras("repo", "tags", f"{mirror.address}/oras/app").split() == ["1"], "nothing needed a tag of its own"


def test_copy_with_everything_attached(oras: Oras, mirror: Mirror) -> None:
    image, copy = f"{mirror.address}/oras/original:1", f"{mirror.address}/oras/copy:1"
    oras("push", image, oras.file("note.txt", "copied\n"))
    attach(oras, image)
    oras("copy", "--recursive", image, copy)
    assert_all_there(oras, copy)


def test_pull_through(oras: Oras, other: Registry | Mirror, behind: Mirror) -> None:
    """All of it, from an upstream of either kind; and once more when that is gone."""
    image = f"{other.address}/team/app:1"
    oras("push", image, oras.file("note.txt", "from upstream\n"))
    attach(oras, image)
    mirrored = f"{behind.address}/team/app:1"
    for _ in range(2):
        assert oras.pulled(mirrored, "note.txt") == "from upstream\n"
        assert_all_there(oras, mirrored)
        other.stop()


def test_attach_to_a_cached_image_is_refused(oras: Oras, mirror: Mirror) -> None:
    """It would be a push into what is Docker Hub's."""
    image = f"{mirror.address}/library/nginx:latest"
    with refused(saying="cannot be pushed to"):
        oras("attach", f"--artifact-type={NOTE}", image, oras.file("note.txt", "mine\n"))


def test_manifests_and_blobs_one_by_one(oras: Oras, mirror: Mirror, upstream: Registry) -> None:
    image = f"{mirror.address}/library/nginx"
    content = upstream.content("library/nginx", "latest")
    assert oras("manifest", "fetch", f"{image}:latest").encode() == upstream.get("/v2/library/nginx/manifests/latest")
    config = oras("blob", "fetch", "--output=-", f"{image}@{content.config}")
    assert json.loads(config)["architecture"] == "amd64"
    assert set(oras("repo", "tags", image).split()) == {"latest", "1.25"}
