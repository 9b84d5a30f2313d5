"""What is used is counted, and written down."""

import pytest

from mirror.pull.outcome import Outcome
from mirror.usage import Usage
from storage.errors import StoreUnavailable
from storage.store import Store
from storage.views import Pulls
from tests.conftest import Clock, RunningMirror, Server
from tests.fakes.images import make_image, make_index
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, manifest

INDEX = make_index([make_image("used", [2000], architecture=each) for each in ("amd64", "arm64")])


async def test_pulls_and_traffic(server: Server, hub: FakeHub) -> None:
    hub.add_index(NAME, "1", INDEX)
    mirror: RunningMirror = await server()
    for _ in range(3):
        await mirror.get(manifest("1"))
    await mirror.head(manifest("1"))
    image = INDEX.images[0]
    await mirror.get(manifest(image.digest))
    await mirror.get(f"/v2/{NAME}/blobs/{image.layers[0]}")
    await mirror.get(f"/v2/{NAME}/blobs/{image.layers[0]}", headers={"Range": "bytes=0-9"})
    await mirror.get(manifest("none"))
    await mirror.usage.flush()
    tags = (await mirror.get(f"/api/v1/repositories/docker.io/{NAME}/tags")).json()["tags"]
    assert [(tag["name"], tag["pulls"]) for tag in tags] == [("1", 3)]
    facts = (await mirror.get(f"/api/v1/repositories/docker.io/{NAME}")).json()
    assert facts["pulls"] == 3, "the image of the index is not one more"
    (hour,) = (await mirror.store.finding.traffic(3600)).values()
    layer = len(image.blobs[image.layers[0]])
    assert hour["sent"] == 3 * len(INDEX.manifest) + len(image.manifest) + layer + 10
    spent = hour["fetched"] - (len(INDEX.manifest) + len(image.manifest) + layer)
    assert 0 <= spent < 1000, "tokens and errors are received, too"
    assert sum(hour[outcome] for outcome in Outcome if outcome in hour) == 7


async def test_what_cannot_be_written_is_counted_on(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, int]] = []
    broken = True

    async def record(pulls: list[Pulls], traffic: dict[str, int]) -> None:
        if broken:
            raise StoreUnavailable("gone")
        written.append(dict(traffic))

    monkeypatch.setattr(store.finding, "record", record)
    usage = Usage(store.finding, lambda: 100, clock)
    usage.answered(Outcome.HIT, 5)
    await usage.flush()
    broken = False
    usage.answered(Outcome.HIT, 5)
    await usage.flush()
    assert written == [{"hit": 2, "sent": 10, "fetched": 100}]
    await usage.flush()
    assert len(written) == 1, "nothing is written where nothing was used"
