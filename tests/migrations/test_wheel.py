"""What is installed from a wheel has its migrations inside, and makes an index far from any checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mirror import __version__
from storage.index.migrate import HEAD
from tests.migrations.test_migrations import version

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages as the wheel has them."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def mirror(installed: Path, folder: Path, *arguments: str) -> str:
    """Run the installed command; the packages of the checkout come after it on the path, and are not used."""
    command = [sys.executable, "-c", "import mirror.__main__ as m; print(m.__file__); m.main()", *arguments]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(installed),
        "MIRROR_STORAGE__ROOT": str(folder / "data"),
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    file, _, output = done.stdout.partition("\n")
    assert Path(file) == installed / "mirror" / "__main__.py"
    return output


def test_an_installed_server_makes_its_index(installed: Path, tmp_path: Path) -> None:
    assert "up to date now" in mirror(installed, tmp_path, "migrate")
    assert version(tmp_path / "data" / "index.sqlite") == HEAD
    assert "was up to date" in mirror(installed, tmp_path, "migrate")


def test_the_version_comes_from_one_place(installed: Path, tmp_path: Path) -> None:
    assert mirror(installed, tmp_path, "--version") == f"registry-mirror {__version__}\n"
    (metadata,) = installed.glob("*.dist-info/METADATA")
    text = metadata.read_text()
    assert f"\nName: registry-mirror\nVersion: {__version__}\n" in text
    assert "\nLicense-Expression: Apache-2.0\n" in text
    assert "\nRequires-Python: >=3.11\n" in text


def test_nothing_but_the_packages(installed: Path) -> None:
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {
        "mirror",
        "ocispec",
        "storage",
    }
