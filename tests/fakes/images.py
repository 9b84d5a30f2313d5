"""Synthetic registry content as plain data: layers, images, indexes and artifacts.

The same arguments always give the same bytes, so a test can rebuild what it expects, and layers are real gzipped tar
archives, so real clients can unpack them. Their content is random and does not compress: a layer is about as large
as asked for (plus a few hundred bytes of tar and gzip).
"""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Media = Literal["oci", "docker"]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
SBOM = "application/vnd.example.sbom"
EMPTY_JSON = "application/vnd.oci.empty.v1+json"

_MANIFEST_TYPE: Mapping[Media, str] = {"oci": OCI_MANIFEST, "docker": DOCKER_MANIFEST}
_INDEX_TYPE: Mapping[Media, str] = {"oci": OCI_INDEX, "docker": DOCKER_LIST}
_CONFIG_TYPE: Mapping[Media, str] = {
    "oci": "application/vnd.oci.image.config.v1+json",
    "docker": "application/vnd.docker.container.image.v1+json",
}
_LAYER_TYPE: Mapping[Media, str] = {
    "oci": "application/vnd.oci.image.layer.v1.tar+gzip",
    "docker": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}


@dataclass(frozen=True)
class Image:
    """One manifest together with every blob it names."""

    manifest: bytes
    media_type: str
    config: str
    layers: tuple[str, ...]
    blobs: dict[str, bytes] = field(repr=False)
    architecture: str = "amd64"

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def size(self) -> int:
        """Bytes of all blobs, what a complete pull downloads besides the manifest."""
        return sum(len(blob) for blob in self.blobs.values())


@dataclass(frozen=True)
class Index:
    """An image index (or Docker manifest list) together with the images it names."""

    manifest: bytes
    media_type: str
    images: tuple[Image, ...]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


@dataclass
class Repository:
    """What a registry holds under one name; tests may change it directly."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict, repr=False)

    def add(self, content: Image | Index) -> str:
        """Hold a manifest and everything below it; gives its digest back."""
        for image in content.images if isinstance(content, Index) else (content,):
            self.blobs.update(image.blobs)
            self.manifests[image.digest] = (image.media_type, image.manifest)
        self.manifests[content.digest] = (content.media_type, content.manifest)
        return content.digest

    def find(self, reference: str) -> tuple[str, bytes] | None:
        """The media type and bytes of the manifest a tag or a digest names."""
        return self.manifests.get(self.tags.get(reference, reference))

    def referrers(self, subject: str, artifact_type: str = "") -> bytes:
        """The index of all manifests whose subject is the given digest."""
        found = []
        for digest, (media_type, data) in self.manifests.items():
            manifest = json.loads(data)
            kind = manifest.get("artifactType", "")
            if manifest.get("subject", {}).get("digest") == subject and artifact_type in ("", kind):
                found.append({"mediaType": media_type, "digest": digest, "size": len(data), "artifactType": kind})
        return _encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}, "oci")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def random_blob(seed: int | str, size: int) -> tuple[str, bytes]:
    """Bytes that do not compress, with their digest."""
    data = random.Random(f"blob/{seed}").randbytes(size)
    return digest_of(data), data


def make_image(seed: int | str, layer_sizes: Sequence[int], media: Media = "oci", architecture: str = "amd64") -> Image:
    """An image with one layer per size.

    The layers depend on the seed and their position only: images of one seed share them, whatever the architecture.
    """
    archives = [_layer(f"{seed}/{position}", size) for position, size in enumerate(layer_sizes)]
    layers = [gzip.compress(archive, compresslevel=1, mtime=0) for archive in archives]
    config = _encode(
        {
            "architecture": architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"Cmd": ["/data/file"], "Labels": {"seed": str(seed)}},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(archive) for archive in archives]},
            "history": [{"created": "2024-01-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(layers))],
        },
        "oci",
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE[media],
        "config": _descriptor(_CONFIG_TYPE[media], config),
        "layers": [_descriptor(_LAYER_TYPE[media], layer) for layer in layers],
    }
    blobs = {digest_of(blob): blob for blob in (config, *layers)}
    digests = tuple(digest_of(layer) for layer in layers)
    return Image(_encode(manifest, media), _MANIFEST_TYPE[media], digest_of(config), digests, blobs, architecture)


def make_index(images: Sequence[Image], media: Media = "oci") -> Index:
    """An index of the images, each under its own architecture."""
    entries = [
        _descriptor(image.media_type, image.manifest)
        | {"platform": {"architecture": image.architecture, "os": "linux"}}
        for image in images
    ]
    document = {"schemaVersion": 2, "mediaType": _INDEX_TYPE[media], "manifests": entries}
    return Index(_encode(document, media), _INDEX_TYPE[media], tuple(images))


def make_artifact(
    seed: int | str, subject: Image | Index, artifact_type: str = "application/vnd.example.sbom"
) -> Image:
    """An OCI artifact (a signature, a bill of materials) that refers to another manifest."""
    digest, data = random_blob(f"artifact/{seed}", 200)
    config = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": _descriptor(EMPTY_JSON, config),
        "layers": [_descriptor(artifact_type, data)],
        "subject": _descriptor(subject.media_type, subject.manifest),
    }
    blobs = {digest_of(config): config, digest: data}
    return Image(_encode(document, "oci"), OCI_MANIFEST, digest_of(config), (digest,), blobs)


def _layer(seed: str, size: int) -> bytes:
    """A tar archive with a directory and one file of the given size."""
    directory = tarfile.TarInfo("data")
    directory.type, directory.mode = tarfile.DIRTYPE, 0o755
    member = tarfile.TarInfo(f"data/file-{seed.replace('/', '-')}")
    member.size, member.mode = size, 0o644
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(directory)
        archive.addfile(member, io.BytesIO(random.Random(f"layer/{seed}").randbytes(size)))
    return buffer.getvalue()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def _encode(document: Mapping[str, Any], media: Media) -> bytes:
    """JSON as the two families write it: Docker indents, so re-encoding a manifest changes its digest visibly."""
    if media == "docker":
        return json.dumps(document, indent=3).encode()
    return json.dumps(document, separators=(",", ":")).encode()
