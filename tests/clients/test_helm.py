"""Helm against the mirror: charts pushed, pulled, and pulled through from an upstream."""

import pytest

from tests.clients.artifacts import Helm
from tests.clients.conftest import NewFolder
from tests.clients.programs import refused
from tests.clients.servers import Mirror, Registry

pytestmark = pytest.mark.clients


@pytest.fixture
def helm(new_folder: NewFolder) -> Helm:
    return Helm(new_folder("helm"))


def test_push_and_pull(helm: Helm, mirror: Mirror) -> None:
    """`+` of a version is `_` in its tag."""
    for version in ("1.0.0", "1.1.0+build.7"):
        helm.push(helm.package("demo", version), f"{mirror.address}/charts")
    demo = f"{mirror.address}/charts/demo"
    assert "chart: demo 1.0.0\n" in helm.template(demo, "--version=1.0.0")
    assert "chart: demo 1.1.0+build.7\n" in helm.template(demo), "without a version it is the newest, found by tags"
    assert "chart: demo 1.0.0\n" in helm.template(demo, "--version=<1.1.0"), "a range, too"


def test_push_refused(helm: Helm, mirror: Mirror) -> None:
    with refused(saying="cannot be pushed to"):
        helm.push(helm.package("demo", "1.0.0"), f"{mirror.address}/docker.io/charts")


def test_pull_through(helm: Helm, mirror: Mirror, upstream: Registry) -> None:
    """From the upstream the first time, and from here once it is gone: by version, or as the newest there was."""
    for version in ("1.0.0", "2.0.0"):
        helm.push(helm.package("demo", version), f"{upstream.address}/bitnami")
    demo = f"{mirror.address}/bitnami/demo"
    for _ in range(2):
        assert "chart: demo 1.0.0\n" in helm.template(demo, "--version=1.0.0")
        assert "chart: demo 2.0.0\n" in helm.template(demo)
        upstream.stop()
