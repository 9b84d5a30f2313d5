"""Images that have very much of everything: a page shows the first of it, and says how much more there is."""

import json

from tests.conftest import RunningMirror, Server
from tests.fakes.images import OCI_INDEX, OCI_MANIFEST, digest_of
from tests.mirror.push.pushing import push_blob, put_manifest
from tests.pages.shop import CONFIG, LAYER

MANY = 567


def entry(kind: str, data: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data)}


async def push_very_much(mirror: RunningMirror) -> None:
    """An image under `much` and an index under `many`, each with MANY of everything."""
    layer = b"always the same"
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [f"VARIABLE_{n}=1" for n in range(MANY)],
            "Labels": {f"label-{n:04}": "" for n in range(MANY)},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)] * MANY},
        "history": [{"created_by": f"COPY number-{n} /"} for n in range(MANY)],
    }
    body = json.dumps(config).encode()
    for blob in (layer, body):
        await push_blob(mirror, blob)
    image = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry(CONFIG, body)}
    manifest = json.dumps({**image, "layers": [entry(LAYER, layer)] * MANY}).encode()
    assert (await put_manifest(mirror, "much", manifest)).status == 201
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(OCI_MANIFEST, manifest)] * MANY}
    assert (await put_manifest(mirror, "many", json.dumps(index).encode(), OCI_INDEX)).status == 201


async def test_what_is_shown_of_very_much(server: Server) -> None:
    mirror = await server()
    await push_very_much(mirror)
    page = (await mirror.get("/r/team/app/-/much")).body.decode()
    assert page.count("VARIABLE_") == page.count("label-") == page.count("COPY number-") == 200
    assert page.count("and 367 more") == 3
    assert page.count("<rect ") == 201
    assert "5505 bytes in 367 more" in page
    page = (await mirror.get("/r/team/app/-/many")).body.decode()
    assert page.count("any platform") == 200
    assert page.count("and 367 more") == 1
