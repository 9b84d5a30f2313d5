"""What is pulled and pushed: blobs and images of random bytes, laid out so that nginx can serve them as a registry."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
GIB = 1024 * MIB
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


# How many bytes at their start tell the blobs of a crowd apart.
DIFFERENT = 32


@dataclass(frozen=True)
class Blob:
    digest: str
    size: int
    path: Path

    def warm(self) -> None:
        """Bring the file into the page cache, so that every peer finds it in the same state."""
        with self.path.open("rb") as file:
            while file.read(MIB):
                pass


@dataclass(frozen=True)
class Image:
    """A manifest with its config (first) and layers."""

    tag: str
    manifest: Blob
    blobs: tuple[Blob, ...]


@dataclass(frozen=True)
class Sizes:
    blob: int = 256 * MIB
    layer: int = 16 * MIB
    layers: int = 10


@dataclass(frozen=True)
class Content:
    """One fresh blob and one fresh image for every round: what is cold is cold for each of them."""

    repository: str
    sizes: Sizes
    blobs: tuple[Blob, ...]
    images: tuple[Image, ...]

    @property
    def tags(self) -> dict[str, str]:
        return {image.tag: image.manifest.digest for image in self.images}


def create(root: Path, repository: str, rounds: int, sizes: Sizes) -> Content:
    """Write `blobs/DIGEST` and `manifests/DIGEST` below the root."""
    for folder in ("blobs", "manifests"):
        (root / folder).mkdir(parents=True)
    blobs = tuple(_random_blob(root, sizes.blob) for _ in range(rounds))
    images = tuple(_image(root, f"round-{number}", sizes) for number in range(rounds))
    return Content(repository, sizes, blobs, images)


def zeros(root: Path, size: int) -> Blob:
    """A blob of nothing but zeros, which takes no room on the disk."""
    sha256 = hashlib.sha256()
    piece = bytes(MIB)
    for start in range(0, size, MIB):
        sha256.update(piece[: size - start])
    digest = f"sha256:{sha256.hexdigest()}"
    path = root / "blobs" / digest
    with path.open("wb") as file:
        file.truncate(size)
    return Blob(digest, size, path)


def alike(root: Path, count: int, size: int) -> tuple[Blob, ...]:
    """Blobs that differ in their first bytes only: random ones take their time."""
    shared = os.urandom(size - DIFFERENT)
    return tuple(_store(root / "blobs", os.urandom(DIFFERENT) + shared) for _ in range(count))


def _image(root: Path, tag: str, sizes: Sizes) -> Image:
    layers = [_random_blob(root, sizes.layer) for _ in range(sizes.layers)]
    config = _config(root, layers)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(CONFIG_TYPE, config),
        "layers": [_descriptor(LAYER_TYPE, layer) for layer in layers],
    }
    manifest = _store(root / "manifests", json.dumps(document, indent=2).encode())
    return Image(tag, manifest, (config, *layers))


def _config(root: Path, layers: list[Blob]) -> Blob:
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
    }
    return _store(root / "blobs", json.dumps(document).encode())


def _descriptor(media_type: str, blob: Blob) -> dict[str, str | int]:
    return {"mediaType": media_type, "size": blob.size, "digest": blob.digest}


def _store(folder: Path, data: bytes) -> Blob:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    path = folder / digest
    path.write_bytes(data)
    return Blob(digest, len(data), path)


def _random_blob(root: Path, size: int) -> Blob:
    unnamed = root / "blobs" / "unnamed"
    sha256 = hashlib.sha256()
    with unnamed.open("wb") as file:
        for start in range(0, size, MIB):
            piece = os.urandom(min(MIB, size - start))
            sha256.update(piece)
            file.write(piece)
    digest = f"sha256:{sha256.hexdigest()}"
    return Blob(digest, size, unnamed.rename(unnamed.with_name(digest)))
