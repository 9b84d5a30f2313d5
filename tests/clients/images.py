"""The images of the tests: small ones around busybox, named like the real thing, and a real Debian."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.clients.processes import SEARCH_PATH, CommandFailed, fence, find, run, with_own_mounts

PYTHON = "python:3.11.3-alpine3.18"
_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_APPLETS = ("cat", "echo", "id", "ls", "mkdir", "sh", "sha256sum", "sleep", "test", "wc")
_FILLER = 2_000_000

# In memory: dpkg waits for the disk after every file.
_MAKE_DEBIAN = """\
set -e
mount -t tmpfs tmpfs "$1"
debootstrap --variant=minbase bookworm "$1"
rm -f "$1"/var/cache/apt/archives/*.deb
tar --create --directory="$1" --file="$2" .
"""


class Layout:
    """An OCI layout on disk, filled by umoci."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "layout"
        self._folder = folder
        self._env = fence(folder / "home")
        self._umoci("init", "--layout", str(self.path))

    def empty(self, name: str) -> None:
        self._umoci("new", "--image", self._image(name))

    def add(self, name: str, source: Path, target: str = "/") -> None:
        """A layer with the folder's content."""
        self._umoci("insert", "--image", self._image(name), str(source), target)

    def add_archive(self, name: str, archive: Path) -> None:
        """A layer that is this tar archive."""
        self._umoci("raw", "add-layer", "--image", self._image(name), str(archive))

    def configure(self, name: str, command: str, architecture: str = "amd64") -> None:
        arguments = [f"--config.cmd={word}" for word in ("/bin/sh", "-c", command)]
        self._umoci("config", "--image", self._image(name), f"--architecture={architecture}", "--os=linux", *arguments)

    def derive(self, name: str, base: str, files: Mapping[str, bytes], command: str) -> None:
        """Another image on top of the layers of `base`."""
        self._umoci("tag", "--image", self._image(base), name)
        source = self._folder / name
        for path, data in files.items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_bytes(data)
        self.add(name, source)
        self.configure(name, command)

    def index(self, name: str, architectures: Mapping[str, str]) -> None:
        """An image index over images of the layout; the mapping gives the image of each architecture."""
        document = self._document()
        known = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry for entry in document["manifests"]}
        entries = [_entry(known[image], architecture) for architecture, image in architectures.items()]
        raw = json.dumps({"schemaVersion": 2, "mediaType": _OCI_INDEX, "manifests": entries}).encode()
        digest = hashlib.sha256(raw).hexdigest()
        (self.path / "blobs" / "sha256" / digest).write_bytes(raw)
        document["manifests"].append(
            {
                "mediaType": _OCI_INDEX,
                "digest": f"sha256:{digest}",
                "size": len(raw),
                "annotations": {"org.opencontainers.image.ref.name": name},
            }
        )
        (self.path / "index.json").write_text(json.dumps(document))

    def reference(self, name: str) -> str:
        """The image as skopeo wants to hear it."""
        return f"oci:{self.path}:{name}"

    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.path / "index.json").read_text())
        return document

    def _image(self, name: str) -> str:
        return f"{self.path}:{name}"

    def _umoci(self, *args: str) -> None:
        run([find("umoci"), *args], self._env)


def busybox_images(folder: Path) -> Layout:
    """`nginx` and `nginx-old` for two architectures, `python` and `grafana`; all stand on the same first layer."""
    layout = Layout(folder)
    layout.empty("busybox")
    layout.add("busybox", _busybox_root(folder / "root"))
    layout.configure("busybox", "echo busybox")
    layout.derive("nginx-amd64", "busybox", _filled("nginx"), "echo this is nginx")
    layout.derive("nginx-arm64", "busybox", _filled("nginx on arm"), "echo this is nginx on arm")
    layout.configure("nginx-arm64", "echo this is nginx on arm", "arm64")
    layout.derive("nginx-old-amd64", "busybox", _filled("nginx of old"), "echo this is nginx of old")
    layout.derive("python", "busybox", _filled("python"), "echo this is python")
    layout.derive("grafana", "busybox", _filled("grafana"), "echo this is grafana")
    layout.index("nginx", {"amd64": "nginx-amd64", "arm64": "nginx-arm64"})
    layout.index("nginx-old", {"amd64": "nginx-old-amd64", "arm64": "nginx-arm64"})
    return layout


def debian_image(folder: Path) -> Layout:
    """`debian`: a real Debian root file system of some 60 MB, made by debootstrap from Debian's own mirror."""
    find("debootstrap")
    root, archive = folder / "root", folder / "root.tar"
    root.mkdir(parents=True)
    try:
        command = with_own_mounts("sh", "-c", _MAKE_DEBIAN, "sh", str(root), str(archive))
        run(command, os.environ | {"PATH": SEARCH_PATH}, timeout=240)
    except CommandFailed as failed:
        pytest.skip(f"debootstrap cannot reach Debian from here: {failed.output[-500:]}")
    layout = Layout(folder)
    layout.empty("debian")
    layout.add_archive("debian", archive)
    layout.configure("debian", "bash")
    archive.unlink()
    return layout


def _busybox_root(root: Path) -> Path:
    for name in ("bin", "etc", "tmp"):
        (root / name).mkdir(parents=True)
    shutil.copy(find("busybox"), root / "bin/busybox")
    for applet in _APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    return root


def _filled(name: str) -> dict[str, bytes]:
    """Files that tell which image this is, and enough random bytes to make the layer worth counting."""
    return {"usr/share/name": f"{name}\n".encode(), "usr/share/filler": os.urandom(_FILLER)}


def _entry(descriptor: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    return {
        "mediaType": _OCI_MANIFEST,
        "digest": descriptor["digest"],
        "size": descriptor["size"],
        "platform": {"architecture": architecture, "os": "linux"},
    }
