"""A BuildKit of its own against the mirror, wired by `mirror wire buildkit`: builds, pushes, and caches of builds."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.buildkit import BuildKit
from tests.clients.conftest import NewFolder
from tests.clients.images import PYTHON
from tests.clients.programs import Skopeo, StorageDriver, refused
from tests.clients.servers import Mirror, Registry
from tests.clients.wiring import wire

pytestmark = pytest.mark.clients

_CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"


@pytest.fixture(scope="module")
def builder(new_folder: NewFolder, storage_driver: StorageDriver, mirror: Mirror) -> Iterator[BuildKit]:
    etc = wire(new_folder("wired"), mirror, "buildkit")
    daemon = BuildKit(new_folder("buildkit"), storage_driver, etc / "buildkit/buildkitd.toml")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture
def buildkit(builder: BuildKit) -> BuildKit:
    """The builder, with nothing built or pulled yet."""
    builder.clear()
    return builder


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {PYTHON}\nCOPY note.txt /note.txt\nRUN sha256sum /note.txt /bin/busybox > /built.txt\n"
        "RUN cat /proc/sys/kernel/random/uuid > /unique.txt\n"
    )
    (tmp_path / "note.txt").write_text("a file of mine\n")
    return tmp_path


def pushed(image: str) -> str:
    return f"--output=type=image,name={image},push=true"


def test_build_on_an_image_of_docker_hub(buildkit: BuildKit, mirror: Mirror, upstream: Registry, context: Path) -> None:
    """Docker Hub itself is behind a proxy that is not there: the base image came through the mirror."""
    buildkit.build(context, pushed(f"{mirror.address}/buildkit/app:1"))
    built, base = mirror.content("buildkit/app", "1"), upstream.content("library/python", PYTHON.split(":")[1])
    assert len(built.blobs.keys() & base.blobs.keys()) == len(base.blobs) - 1, "all layers of the base image"


def test_build_with_an_attestation(buildkit: BuildKit, mirror: Mirror, skopeo: Skopeo, context: Path) -> None:
    """The provenance is a second manifest in an index, for the platform unknown/unknown."""
    image = f"{mirror.address}/buildkit/attested:1"
    buildkit.build(context, pushed(image), "--opt=attest:provenance=mode=max")
    index = json.loads(mirror.get("/v2/buildkit/attested/manifests/1"))
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "unknown"]
    skopeo.copy(f"docker://{image}", f"oci:{context}/layout", "--all")


def test_build_on_an_image_pushed_here(buildkit: BuildKit, mirror: Mirror, context: Path) -> None:
    buildkit.build(context, pushed(f"{mirror.address}/buildkit/base:1"))
    buildkit.clear()
    (context / "Dockerfile").write_text(f"FROM {mirror.address}/buildkit/base:1\nRUN test -s /unique.txt\n")
    buildkit.build(context, pushed(f"{mirror.address}/buildkit/derived:1"))


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("image_manifest", ["true", "false"], ids=["manifest", "index"])
def test_cache_in_the_registry(
    buildkit: BuildKit, mirror: Mirror, context: Path, mode: str, image_manifest: str
) -> None:
    """Another builder repeats nothing: it gets the very layers, one of which is different every time it is made.

    The cache is a manifest whose configuration is BuildKit's own, or an index that lists layers as if they were images.
    """
    name = f"buildkit/cache-{mode}-{image_manifest}"
    ref, image = f"{mirror.address}/{name}:cache", f"{mirror.address}/{name}:image"
    export = f"--export-cache=type=registry,ref={ref},mode={mode},image-manifest={image_manifest},oci-mediatypes=true"
    buildkit.build(context, pushed(image), export)
    first = mirror.content(name, "image")

    cache = json.loads(mirror.get(f"/v2/{name}/manifests/cache"))
    if image_manifest == "true":
        assert cache["config"]["mediaType"] == _CACHE_CONFIG
    else:
        assert _CACHE_CONFIG in [entry["mediaType"] for entry in cache["manifests"]]

    buildkit.clear()
    buildkit.build(context, pushed(image), f"--import-cache=type=registry,ref={ref}")
    assert mirror.content(name, "image").blobs.keys() - {mirror.content(name, "image").config} == (
        first.blobs.keys() - {first.config}
    )


def test_cache_that_is_not_there(buildkit: BuildKit, mirror: Mirror, context: Path) -> None:
    """As in every first build."""
    missing = f"--import-cache=type=registry,ref={mirror.address}/buildkit/no-such-cache:1"
    buildkit.build(context, pushed(f"{mirror.address}/buildkit/uncached:1"), missing)


def test_push_refused(buildkit: BuildKit, mirror: Mirror, context: Path) -> None:
    with refused(saying="cannot be pushed to"):
        buildkit.build(context, pushed(f"{mirror.address}/library/mine:1"))
