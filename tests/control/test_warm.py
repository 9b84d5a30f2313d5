"""Warming brings all of an image in, once, and says what it does."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientSession, UnixConnector

from tests.conftest import Clock, RunningMirror, config_for, running
from tests.control.commanding import command, status_of, warm
from tests.fakes.faults import Hang, Status
from tests.fakes.images import make_image, make_index
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_image
from tests.mirror.wire import NAME, blob, layout, manifest, stored, until

AMD64, ARM64 = make_image("w", [2000, 3000]), make_image("v", [1000], architecture="arm64")
INDEX = make_index([AMD64, ARM64])
OTHER = make_image("x", [500])


@pytest.fixture(autouse=True)
def content(hub: FakeHub) -> None:
    hub.add_index(NAME, "1", INDEX)
    hub.add_image("other/app", "2", OTHER)


def events(steps: list[dict[str, Any]]) -> Counter[tuple[str, str, str | None]]:
    return Counter((step["event"], step["role"], step.get("outcome")) for step in steps)


async def test_all_of_it(hub: FakeHub, mirror: RunningMirror) -> None:
    steps = await warm(mirror, "nginx:1")
    assert events(steps) == {
        ("started", "manifest", None): 3,
        ("finished", "index", "miss"): 1,
        ("finished", "manifest", "miss"): 2,
        ("started", "config", None): 2,
        ("finished", "config", "miss"): 2,
        ("started", "layer", None): 3,
        ("finished", "layer", "miss"): 3,
        ("finished", "image", None): 1,
    }
    sizes = len(INDEX.manifest) + sum(len(image.manifest) + image.size for image in INDEX.images)
    assert steps[-1] == {"event": "finished", "image": "nginx:1", "role": "image", "bytes": sizes}
    assert stored(mirror) == {INDEX.digest, AMD64.digest, ARM64.digest, *AMD64.blobs, *ARM64.blobs}
    assert (await status_of(mirror, "nginx:1"))["complete"], "as soon as it says so"
    for path in (manifest("1"), *(blob(digest) for digest in (*AMD64.blobs, *ARM64.blobs))):
        assert hub.count("registry", "GET", path) <= 2, "one with a token, perhaps one without"


async def test_again__nothing_is_asked_for(hub: FakeHub, mirror: RunningMirror) -> None:
    await warm(mirror, "nginx:1")
    hub.clear()
    steps = await warm(mirror, "nginx:1")
    assert {step.get("outcome") for step in steps} == {"hit", None}
    assert not [step for step in steps if step["event"] == "started"]
    assert hub.log() == []


async def test_one_platform(hub: FakeHub, mirror: RunningMirror) -> None:
    await warm(mirror, "nginx:1", platforms=("linux/arm64",))
    assert stored(mirror) == {INDEX.digest, ARM64.digest, *ARM64.blobs}
    assert (await status_of(mirror, "nginx:1", "linux/arm64/v8"))["complete"]
    assert hub.count(path_contains=AMD64.digest) == 0


async def test_a_platform_that_there_is_not(mirror: RunningMirror) -> None:
    steps = await warm(mirror, "nginx:1", platforms=("linux/s390x",))
    assert steps[-1]["event"] == "failed"
    assert steps[-1]["reason"] == "there is no manifest for linux/s390x"


@pytest.mark.parametrize(
    "order", [[f"nginx:{number}" for number in range(500)], ["nginx:many"]], ids=["images", "pieces"]
)
async def test_a_long_order_is_few_tasks(hub: FakeHub, mirror: RunningMirror, order: list[str]) -> None:
    """All of them have to be ended when whoever gave it leaves."""
    hub.add_index(NAME, "many", make_index([make_image(f"many/{number}", []) for number in range(500)]))
    assert (await mirror.get(manifest("many"))).status == 200
    hub.clear()
    hub.fault("manifest", Hang())
    giving = asyncio.create_task(warm(mirror, *order))
    await until(lambda: hub.count(path_contains="/manifests/") > 3)
    assert len(asyncio.all_tasks()) < 200
    giving.cancel()
    await asyncio.wait([giving])
    hub.clear_faults()


async def test_an_order_that_is_too_long(mirror: RunningMirror) -> None:
    status, answer = await command(mirror, "POST", "warm", json={"images": ["nginx"] * 10_001})
    assert (status, answer["errors"][0]["code"]) == (400, "BAD_REQUEST")


async def test_what_cannot_be_had_is_named__and_stops_nothing_else(hub: FakeHub, mirror: RunningMirror) -> None:
    lost = AMD64.layers[0]
    hub.fault("blob", Status(404), match=lost)
    steps = await warm(mirror, "nginx:1", "nothing/here", "nowhere.example:1/x", "other/app:2", "nginx:1")
    ends = {step["image"]: step for step in steps if step["role"] == "image"}
    assert {image: step["event"] for image, step in ends.items()} == {
        "nginx:1": "failed",
        "nothing/here:latest": "failed",
        "nowhere.example:1/x:latest": "failed",
        "other/app:2": "finished",
    }
    assert lost in ends["nginx:1"]["reason"]
    (failed,) = [step for step in steps if step["event"] == "failed" and step["role"] == "layer"]
    assert (failed["digest"], failed["bytes"]) == (lost, len(AMD64.blobs[lost]))
    assert set(ARM64.blobs) | set(OTHER.blobs) <= stored(mirror)
    assert "no upstream is called" in ends["nowhere.example:1/x:latest"]["reason"]


async def test_what_a_client_pulls_meanwhile_is_fetched_once(hub: FakeHub, mirror: RunningMirror) -> None:
    layer = AMD64.layers[0]
    hub.fault("cdn", Hang("body", 10), match=layer[7:])
    order = asyncio.create_task(warm(mirror, "nginx:1"))
    await until(lambda: hub.count("cdn", path_contains=layer[7:]) == 1)
    pulling = asyncio.create_task(mirror.get(blob(layer)))
    await asyncio.sleep(0.1)
    hub.release()
    assert (await pulling).body == AMD64.blobs[layer]
    assert (await order)[-1]["event"] == "finished"
    assert hub.count("cdn", path_contains=layer[7:]) == 1


async def test_two_orders_at_once(hub: FakeHub, mirror: RunningMirror) -> None:
    both = await asyncio.gather(warm(mirror, "nginx:1"), warm(mirror, "nginx:1"))
    assert [steps[-1]["event"] for steps in both] == ["finished", "finished"]
    for digest in (*AMD64.blobs, *ARM64.blobs):
        assert hub.count("cdn", path_contains=digest[7:]) == 1


async def test_a_layer_that_another_repository_has_is_confirmed_and_not_fetched(
    hub: FakeHub, mirror: RunningMirror
) -> None:
    hub.add_image("copy/app", "1", AMD64)
    await warm(mirror, "nginx:1")
    hub.clear()
    assert (await warm(mirror, "copy/app:1"))[-1]["event"] == "finished"
    assert hub.count("cdn", "GET") == 0
    assert hub.count("registry", "HEAD", "/blobs/") == 3
    assert (await status_of(mirror, "copy/app:1"))["complete"]


async def test_no_more_than_a_few_at_a_time(hub: FakeHub, mirror: RunningMirror) -> None:
    large = make_image("many", [10 + n for n in range(20)])
    hub.add_image("many/layers", "1", large)
    hub.fault("cdn", Hang("body", 1))
    order = asyncio.create_task(warm(mirror, "many/layers:1"))
    await until(lambda: hub.count("cdn") == 8)
    await asyncio.sleep(0.2)
    assert hub.count("cdn") == 8
    hub.clear_faults()
    hub.release()
    assert (await order)[-1]["event"] == "finished"


async def test_hosted__is_only_looked_at(hub: FakeHub, mirror: RunningMirror) -> None:
    await push_image(mirror, AMD64, "v1", "team/app")
    steps = await warm(mirror, "team/app:v1")
    assert events(steps) == {
        ("finished", "manifest", "hit"): 1,
        ("finished", "config", "hit"): 1,
        ("finished", "layer", "hit"): 2,
        ("finished", "image", None): 1,
    }
    assert (await mirror.delete(blob(AMD64.config, "team/app"))).status == 202
    steps = await warm(mirror, "team/app:v1")
    assert [step["role"] for step in steps if step["event"] == "failed"] == ["config", "image"]
    assert hub.log() == []


async def test_progress_is_told_as_it_happens__and_who_leaves_stops_no_download(
    hub: FakeHub, mirror: RunningMirror
) -> None:
    hub.fault("cdn", Hang("body", 10), match=OTHER.layers[0][7:])
    connector = UnixConnector(str(layout(mirror).control))
    async with ClientSession(connector=connector) as session:
        order = {"images": ["other/app:2"]}
        async with session.post("http://control/api/v1/warm", json=order) as answer:
            step: dict[str, Any] = {}
            while (step.get("event"), step.get("role")) != ("started", "layer"):
                step = json.loads(await asyncio.wait_for(answer.content.readline(), 10))
            await until(lambda: hub.count("cdn", path_contains=OTHER.layers[0][7:]) == 1)
            answer.close()
    hub.release()
    await until(lambda: OTHER.layers[0] in stored(mirror))


async def test_a_server_that_stops_does_not_wait_for_an_order(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    hub.fault("cdn", Hang("body", 10))
    async with running(config_for(hub, tmp_path / "store"), clock) as mirror:
        order = asyncio.create_task(warm(mirror, "other/app:2"))
        await until(lambda: hub.count("cdn") > 0)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 5
    with pytest.raises(ClientPayloadError):  # without its last line
        await order
