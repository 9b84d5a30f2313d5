"""Something to see: images with histories, labels and shared layers, pulled and pushed, and hostile ones."""

import gzip
import json

from tests.conftest import RunningMirror
from tests.fakes.images import OCI_INDEX, OCI_MANIFEST, Image, Index, digest_of, random_blob
from tests.fakes.upstream import FakeHub

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"

STEPS = [
    ("/bin/sh -c #(nop) ADD file:8e81f98f88 in / ", False),
    ('/bin/sh -c #(nop)  CMD ["bash"]', True),
    ("RUN /bin/sh -c apt-get update && apt-get install -y --no-install-recommends ca-certificates # buildkit", False),
    ("COPY docker-entrypoint.sh / # buildkit", False),
    ("ENV VERSION=1.27.3", True),
    ("COPY app /srv/app # buildkit", False),
]
SIZES = (290_000, 620_000, 4_000, 110_000)


def platform_image(seed: str, architecture: str, labels: dict[str, str]) -> Image:
    bases = [f"base/{architecture}/{n}" for n in range(2)]
    seeds = [*bases, *(f"{seed}/{architecture}/{n}" for n in range(2, len(SIZES)))]
    layers = [random_blob(seed, size)[1] for seed, size in zip(seeds, SIZES, strict=True)]
    layers = [gzip.compress(layer, 1, mtime=0) for layer in layers]
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2026-10-02T03:04:05Z",
        "author": "The makers",
        "config": {
            "User": "app",
            "WorkingDir": "/srv/app",
            "Entrypoint": ["/docker-entrypoint.sh"],
            "Cmd": ["nginx", "-g", "daemon off;"],
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/bin", "VERSION=1.27.3"],
            "ExposedPorts": {"80/tcp": {}},
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
        "history": [{"created_by": text, **({"empty_layer": True} if empty else {})} for text, empty in STEPS],
    }
    body = json.dumps(config).encode()

    def entry(kind: str, data: bytes) -> dict[str, object]:
        return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": entry(CONFIG, body),
        "layers": [entry(LAYER, layer) for layer in layers],
        "annotations": {"org.opencontainers.image.description": labels["org.opencontainers.image.description"]},
    }
    blobs = {digest_of(blob): blob for blob in (body, *layers)}
    digests = tuple(digest_of(layer) for layer in layers)
    return Image(json.dumps(manifest).encode(), OCI_MANIFEST, digest_of(body), digests, blobs, architecture)


def image_index(seed: str, description: str) -> Index:
    labels = {
        "org.opencontainers.image.description": description,
        "org.opencontainers.image.source": "https://git.example/app",
        "org.opencontainers.image.vendor": HOSTILE if "hostile" in seed else "The makers",
    }
    images = tuple(platform_image(seed, architecture, labels) for architecture in ("amd64", "arm64"))
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": image.digest,
            "size": len(image.manifest),
            "platform": {"os": "linux", "architecture": image.architecture},
        }
        for image in images
    ]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    return Index(body, OCI_INDEX, images)


STOCK = {
    "library/nginx": "Official build of Nginx: web server and reverse proxy",
    "library/redis": "Redis is the world's fastest data platform",
    "library/postgres": "The PostgreSQL object-relational database system",
    "grafana/grafana": "The official Grafana container",
    "bitnami/hostile": HOSTILE,
}


def fill(hub: FakeHub) -> None:
    for name, description in STOCK.items():
        for tag in ("latest", "1.27", "1.27.3-bookworm"):
            hub.add_index(name, tag, image_index(f"{name}/{'old' if tag == '1.27' else 'new'}", description))


async def pull_everything(mirror: RunningMirror, *names: str) -> None:
    """Every image, as clients do, and until all of it is here."""
    for name in names or STOCK:
        for tag in ("latest", "1.27", "1.27.3-bookworm"):
            index = (await mirror.get(f"/v2/{name}/manifests/{tag}")).json()
            for entry in index["manifests"]:
                image = (await mirror.get(f"/v2/{name}/manifests/{entry['digest']}")).json()
                for blob in (image["config"], *image["layers"]):
                    answer = await mirror.get(f"/v2/{name}/blobs/{blob['digest']}")
                    assert answer.status == 200, answer.body


async def push(mirror: RunningMirror, name: str, *tags: str) -> None:
    """One image, under all of these tags."""
    (image, _) = image_index("pushed", "Ours").images
    for digest, blob in image.blobs.items():
        answer = await mirror.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest}, data=blob)
        assert answer.status == 201, answer.body
    for tag in tags:
        headers = {"Content-Type": image.media_type}
        answer = await mirror.put(f"/v2/{name}/manifests/{tag}", data=image.manifest, headers=headers)
        assert answer.status == 201, answer.body
