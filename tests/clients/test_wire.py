"""Two upstreams at once, which have different images under the same name, through what `mirror wire` writes.

Docker Hub is the default one, and `quay.io` the other. Each client says in its own way which one it means, and neither
is ever asked for what the other one has. The registries themselves are behind a proxy that is not there.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.buildkit import BuildKit
from tests.clients.conftest import NewFolder
from tests.clients.images import Layout
from tests.clients.programs import Buildah, Containerd, DockerEngine, K3s, Podman, Skopeo, StorageDriver, refused
from tests.clients.servers import Mirror, Registry, Upstream
from tests.clients.wiring import wire

pytestmark = pytest.mark.clients

HUB, QUAY = "docker.io", "quay.io"
NAME, TAG = "library/nginx", "latest"


@pytest.fixture(scope="module")
def quay(new_folder: NewFolder, skopeo: Skopeo, images: Layout) -> Iterator[Registry]:
    """Has grafana where Docker Hub has nginx; the lowest layer is in both."""
    registry = Registry(new_folder("quay"))
    try:
        registry.start()
        skopeo.copy(images.reference("grafana"), f"docker://{registry.address}/{NAME}:{TAG}")
        yield registry
    finally:
        registry.stop()


@pytest.fixture(scope="module")
def mirror(new_folder: NewFolder, upstream: Registry, quay: Registry) -> Iterator[Mirror]:
    server = Mirror(new_folder("mirror"), Upstream(upstream.url, HUB), Upstream(quay.url, QUAY))
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def etc(new_folder: NewFolder, mirror: Mirror) -> Path:
    """Every client is wired to the mirror."""
    return wire(new_folder("wired"), mirror, "docker", "containerd", "podman", "k3s", "buildkit")


@pytest.fixture
def ids(upstream: Registry, quay: Registry) -> Iterator[dict[str, str]]:
    """The IDs of the images by registry. Afterwards: neither was asked for a blob that only the other one has."""
    contents = {HUB: upstream.content(NAME, TAG), QUAY: quay.content(NAME, TAG)}
    upstream.forget()
    quay.forget()
    yield {host: content.config for host, content in contents.items()}
    for registry, host in ((upstream, HUB), (quay, QUAY)):
        own = {f"/v2/{NAME}/blobs/{digest}" for digest in contents[host].blobs}
        assert {request.path for request in registry.requests() if "/blobs/" in request.path} <= own


@pytest.fixture(scope="module")
def wired_docker(new_folder: NewFolder, storage_driver: StorageDriver, etc: Path) -> Iterator[DockerEngine]:
    engine = DockerEngine(new_folder("docker"), storage_driver, settings=etc / "docker/daemon.json")
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="module")
def wired_buildkit(new_folder: NewFolder, storage_driver: StorageDriver, etc: Path) -> Iterator[BuildKit]:
    daemon = BuildKit(new_folder("buildkit"), storage_driver, etc / "buildkit/buildkitd.toml")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture
def wired_podman(new_folder: NewFolder, storage_driver: StorageDriver, etc: Path) -> Iterator[Podman]:
    client = Podman(new_folder("podman"), storage_driver, "", registries=etc / "containers")
    yield client
    client.clear()


def test_docker(wired_docker: DockerEngine, mirror: Mirror, ids: dict[str, str]) -> None:
    """Its mirrors are for Docker Hub alone; the other registry goes into the path, behind the mirror's address."""
    wired_docker("pull", "nginx")
    assert wired_docker.id_of("nginx") == ids[HUB]
    wired_docker("pull", f"{mirror.address}/{QUAY}/{NAME}:{TAG}")
    assert wired_docker.id_of(f"{mirror.address}/{QUAY}/{NAME}:{TAG}") == ids[QUAY]
    wired_docker("pull", f"{mirror.address}/{HUB}/{NAME}:{TAG}")
    assert wired_docker.id_of(f"{mirror.address}/{HUB}/{NAME}:{TAG}") == ids[HUB]


@pytest.mark.parametrize(("host", "prints"), [(HUB, "this is nginx\n"), (QUAY, "this is grafana\n")])
@pytest.mark.usefixtures("ids")
def test_containerd(containerd: Containerd, etc: Path, host: str, prints: str) -> None:
    """`?ns=`"""
    image = f"{host}/{NAME}:{TAG}"
    containerd("images", "pull", "--hosts-dir", f"{etc}/containerd/certs.d", image)
    assert containerd("run", "--rm", image, "once") == prints


def test_podman(wired_podman: Podman, mirror: Mirror, ids: dict[str, str]) -> None:
    """By the registry's own name, and by the mirror's address, which podman would not speak plain HTTP with."""
    port = mirror.address.rpartition(":")[2]
    address = f"127.0.0.1:{port}"
    for image, host in (
        (f"{HUB}/{NAME}", HUB),
        (f"{QUAY}/{NAME}", QUAY),
        (f"{address}/{NAME}", HUB),
        (f"{address}/{QUAY}/{NAME}", QUAY),
        (f"localhost:{port}/{NAME}", HUB),
    ):
        wired_podman("pull", f"{image}:{TAG}")
        found = wired_podman("image", "inspect", "--format", "{{.Id}}", f"{image}:{TAG}").strip()
        assert f"sha256:{found}" == ids[host]
        wired_podman.clear()


@pytest.mark.parametrize("client", ["podman", "crio"])
@pytest.mark.parametrize("host", [HUB, QUAY])
def test_skopeo(
    new_folder: NewFolder, skopeo: Skopeo, mirror: Mirror, ids: dict[str, str], client: str, host: str, tmp_path: Path
) -> None:
    """It reads registries.conf with the same library as CRI-O, which cannot run here."""
    file = wire(new_folder("wired"), mirror, client) / "containers/registries.conf.d/registry-mirror.conf"
    skopeo("--registries-conf", str(file), "copy", f"docker://{host}/{NAME}:{TAG}", f"dir:{tmp_path}")
    assert ids[host].removeprefix("sha256:") in {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("host", [HUB, QUAY])
def test_buildah(
    new_folder: NewFolder, storage_driver: StorageDriver, etc: Path, ids: dict[str, str], host: str
) -> None:
    client = Buildah(new_folder("buildah"), storage_driver, "", registries=etc / "containers")
    try:
        assert f"sha256:{client('pull', f'{host}/{NAME}:{TAG}').strip()}" == ids[host]
    finally:
        client.clear()


@pytest.mark.parametrize("host", [HUB, QUAY])
def test_k3s(new_folder: NewFolder, etc: Path, ids: dict[str, str], host: str) -> None:
    client = K3s(new_folder("k3s"), etc / "rancher/k3s/registries.yaml")
    assert client.pull(f"{host}/{NAME}:{TAG}") == ids[host]


@pytest.mark.parametrize(("host", "name"), [(HUB, "nginx"), (QUAY, "grafana")])
@pytest.mark.usefixtures("ids")
def test_buildkit(wired_buildkit: BuildKit, tmp_path: Path, host: str, name: str) -> None:
    """`?ns=`"""
    (tmp_path / "Dockerfile").write_text(f"FROM {host}/{NAME}:{TAG}\nRUN grep -qx '{name}' /usr/share/name\n")
    wired_buildkit.build(tmp_path)


def test_one_of_them_is_down(skopeo: Skopeo, mirror: Mirror, quay: Registry, ids: dict[str, str]) -> None:
    """That is no reason to ask the other one: not for what is here, and not for what only the other one has."""
    for down in (False, True):
        for host in (HUB, QUAY):
            assert mirror.content(f"{host}/{NAME}", TAG).config == ids[host]
        if not down:
            quay.stop()
    with refused(saying="unexpected HTTP status: 50", within=30):
        skopeo.inspect(f"docker://{mirror.address}/{QUAY}/{NAME}:1.25")
    quay.start()
