"""What becomes of a pull when something fails: the upstream, or the mirror (docs/clients.md, "When the mirror fails").

Each client is wired by `mirror wire`. Behind the mirror is a Docker Hub that fails as told; a second one, with the same
image, is where clients get to without the mirror. Which of the two was asked for what is the outcome.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.conftest import NewFolder
from tests.clients.hub import Background, Hub, Internet
from tests.clients.processes import CommandFailed
from tests.clients.programs import Containerd, DockerEngine, Podman, StorageDriver
from tests.clients.servers import Mirror
from tests.clients.wiring import wire
from tests.fakes.faults import CutAt, Fault, Status, Where, WrongBytes
from tests.fakes.images import Image, make_image

pytestmark = pytest.mark.clients

NAME, TAG = "library/app", "1"
NAMED = f"docker.io/{NAME}:{TAG}"
ALL = ("docker", "containerd", "podman")


@dataclass(frozen=True)
class Client:
    """One of the three. `inspect` has the image's digest, or that of its configuration, in it."""

    name: str
    pull: Callable[[], object]
    inspect: Callable[[], str]
    clear: Callable[[], None]


@pytest.fixture
def image() -> Image:
    return make_image("app", [1_000_000, 3_000_000])


@pytest.fixture
def background() -> Iterator[Background]:
    loop = Background()
    yield loop
    loop.close()


@pytest.fixture
def hub(background: Background, image: Image) -> Iterator[Hub]:
    """What the mirror has as its upstream."""
    yield from _started(Hub(background), image)


@pytest.fixture
def direct(background: Background, image: Image) -> Iterator[Hub]:
    """What clients reach without the mirror."""
    hub = Hub(background)
    hub.fake.authentication = hub.fake.redirects = False
    yield from _started(hub, image)


def _started(hub: Hub, image: Image) -> Iterator[Hub]:
    hub.start()
    hub.add(NAME, TAG, image)
    try:
        yield hub
    finally:
        hub.close()


@pytest.fixture
def way_out(background: Background, new_folder: NewFolder, direct: Hub) -> Iterator[dict[str, str]]:
    internet = Internet(background, new_folder("internet"), direct)
    internet.start()
    yield internet.environment
    internet.close()


@pytest.fixture
def mirror(new_folder: NewFolder, hub: Hub) -> Iterator[Mirror]:
    server = Mirror(new_folder("mirror"), hub.upstream)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.kill()


@pytest.fixture
def client(
    request: pytest.FixtureRequest,
    new_folder: NewFolder,
    storage_driver: StorageDriver,
    mirror: Mirror,
    way_out: dict[str, str],
) -> Iterator[Client]:
    name: str = request.param
    make = {"docker": _docker, "containerd": _containerd, "podman": _podman}[name]
    yield from make(new_folder(name), wire(new_folder("wired"), mirror, name), storage_driver, way_out)


def _docker(folder: Path, etc: Path, driver: StorageDriver, way_out: dict[str, str]) -> Iterator[Client]:
    engine = DockerEngine(folder, driver, settings=etc / "docker/daemon.json", way_out=way_out)
    try:
        engine.start()
        yield Client(
            "docker",
            lambda: engine("pull", NAMED, timeout=110),
            lambda: engine("image", "inspect", NAMED),
            engine.clear,
        )
    finally:
        engine.stop()


def _containerd(folder: Path, etc: Path, _driver: StorageDriver, way_out: dict[str, str]) -> Iterator[Client]:
    daemon = Containerd(folder, "", hosts=etc / "containerd/certs.d", way_out=way_out)
    try:
        daemon.start()
        yield Client(
            "containerd",
            lambda: daemon.pull(NAMED),
            lambda: daemon("images", "check", f"name=={NAMED}"),
            daemon.clear,
        )
    finally:
        daemon.stop()


def _podman(folder: Path, etc: Path, driver: StorageDriver, way_out: dict[str, str]) -> Iterator[Client]:
    podman = Podman(folder, driver, "", registries=etc / "containers", way_out=way_out)
    yield Client("podman", lambda: podman("pull", NAMED), lambda: podman("image", "inspect", NAMED), podman.clear)
    podman.clear()


def clients(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("client", names, indirect=True)


def assert_pulled(client: Client, image: Image) -> None:
    client.pull()
    described = client.inspect()
    assert image.digest in described or image.config in described
    assert client.name != "containerd" or "complete" in described


def blobs(asked: list[str]) -> set[str]:
    """The digests of blobs in requests of a registry."""
    return {line.split()[2].rpartition("/")[2] for line in asked if "/blobs/" in line}


@clients(*ALL)
@pytest.mark.parametrize(
    ("where", "fault", "times"),
    [
        ("manifest", Status(500), 2),
        ("blob", Status(429, {"Retry-After": "1"}), 1),
        ("blob", Status(500), 2),
        ("cdn", CutAt(900_000, reset=True), 3),
    ],
    ids=["manifest 500", "blob 429", "blob 500", "reset in the middle of a blob"],
)
def test_upstream_fails_for_a_moment(
    client: Client, hub: Hub, direct: Hub, image: Image, where: Where, fault: Fault, times: int
) -> None:
    """The client sees nothing of it, and has no reason to go elsewhere."""
    hub.fault(where, fault, times)
    assert_pulled(client, image)
    assert direct.asked() == []


@clients(*ALL)
def test_upstream_is_down(client: Client, hub: Hub, direct: Hub, image: Image) -> None:
    """What is here is served, though nobody can be asked where the tag points now."""
    assert_pulled(client, image)
    client.clear()
    hub.stop()
    assert_pulled(client, image)
    assert direct.asked() == []


@clients(*ALL)
def test_mirror_is_down(client: Client, mirror: Mirror, hub: Hub, direct: Hub, image: Image) -> None:
    mirror.kill()
    assert_pulled(client, image)
    assert hub.asked() == []
    assert blobs(direct.asked()) == set(image.blobs)


@clients(*ALL)
def test_manifest_fails(client: Client, hub: Hub, direct: Hub, image: Image) -> None:
    """containerd turns away for this request alone: blobs it asks of the mirror again."""
    hub.fault("manifest", Status(500))
    assert_pulled(client, image)
    assert blobs(direct.asked()) == (set() if client.name == "containerd" else set(image.blobs))


@clients("docker", "containerd")
def test_blob_is_missing(client: Client, hub: Hub, direct: Hub, image: Image) -> None:
    """Docker begins the whole pull again without the mirror, containerd asks elsewhere for this one blob."""
    hub.fault("blob", Status(404), match=image.layers[1])
    assert_pulled(client, image)
    assert image.layers[1] in blobs(direct.asked())
    if client.name == "containerd":
        assert blobs(direct.asked()) == {image.layers[1]}


@clients("containerd")
def test_blob_fails(client: Client, hub: Hub, direct: Hub, image: Image) -> None:
    """The same. (Docker tries for more than a minute before it goes elsewhere.)"""
    hub.fault("blob", Status(500), match=image.layers[1])
    assert_pulled(client, image)
    assert blobs(direct.asked()) == {image.layers[1]}


@clients("podman")
@pytest.mark.parametrize("status", [404, 500])
def test_blob_fails_for_podman(client: Client, hub: Hub, direct: Hub, image: Image, status: int) -> None:
    """It has chosen the mirror with the manifest, and stays with it."""
    hub.fault("blob", Status(status), match=image.layers[1])
    with pytest.raises(CommandFailed, match="blob"):
        client.pull()
    assert blobs(direct.asked()) == set()


@clients("docker", "containerd")
def test_wrong_bytes(client: Client, hub: Hub, direct: Hub, image: Image) -> None:
    """An answer with them is cut before its last byte, the wrong one; both go on from there, and get the right one."""
    hub.fault("cdn", WrongBytes(at=-1), times=1, match=image.layers[1].removeprefix("sha256:"))
    assert_pulled(client, image)
    assert direct.asked() == []


@clients("containerd", "podman")
def test_wrong_bytes_before_the_last_one(client: Client, hub: Hub, image: Image) -> None:
    """Nobody takes them for an image. containerd keeps them, goes on from there in later attempts, and finds out at the
    end of each: what no server can mend. So all that can be asked of it is that what it does take is right."""
    hub.fault("cdn", WrongBytes(at=100), match=image.layers[1].removeprefix("sha256:"))
    with pytest.raises(CommandFailed):
        client.pull()
    hub.behave()
    kept = suppress(CommandFailed) if client.name == "containerd" else nullcontext()
    for _ in range(3):
        with kept:
            assert_pulled(client, image)
