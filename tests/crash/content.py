"""What is pushed: a small world of blobs that come and go all the time, and images that are new each time."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fakes.images import OCI_MANIFEST

REPOSITORIES = ("crash/one", "crash/two", "team/app")
TAGS = ("latest", "1", "2", "edge")

# From nothing to 2 MiB, the edges of usual buffers among them.
_SIZES = (0, 1, 100, 4096, 65_536, 65_537, 200_000, 262_144, 500_001, 2**20, 2 * 2**20)


@dataclass(frozen=True)
class Blob:
    """Bytes with their digest."""

    digest: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Image:
    """A manifest and its blobs in a repository. `own` are those that no other image has: they go with it."""

    repository: str
    manifest: Blob
    own: tuple[Blob, ...]
    shared: tuple[Blob, ...]


def make_blob(data: bytes, algorithm: str = "sha256") -> Blob:
    return Blob(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}", data)


class World:
    """`loose` blobs are pushed, mounted and deleted in every repository; `layers` are parts of images and stay."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(f"world/{seed}")
        self.loose = [make_blob(chance.randbytes(size)) for size in _SIZES]
        self.loose += [make_blob(chance.randbytes(size), "sha512") for size in (50_000, 300_000)]
        self.layers = [make_blob(chance.randbytes(size)) for size in (1000, 150_000, 2**20)]


def make_image(chance: random.Random, world: World) -> Image:
    """An image with a config and a layer of its own, and some layers that others have too."""
    config = make_blob(json.dumps({"architecture": "amd64", "os": "linux", "id": chance.getrandbits(64)}).encode())
    layer = make_blob(chance.randbytes(chance.choice((10, 3000, 120_000))))
    shared = tuple(chance.sample(world.layers, chance.randrange(3)))
    manifest = make_blob(_manifest(config, [layer, *shared]))
    return Image(chance.choice(REPOSITORIES), manifest, (config, layer), shared)


def children(manifest: bytes) -> list[str]:
    """The digests of what an image consists of."""
    document = json.loads(manifest)
    return [descriptor["digest"] for descriptor in (document["config"], *document["layers"])]


def _manifest(config: Blob, layers: Sequence[Blob]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers],
    }
    return json.dumps(document).encode()


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": len(blob.data)}
