"""A tag that its upstream has no more is gone here, too, until the upstream says otherwise (docs/decisions/0020)."""

import asyncio
from pathlib import Path

import pytest

from ocispec.names import Tag
from storage.repository import Repository
from tests.conftest import Clock, RunningMirror, Server, config_for, running
from tests.fakes.faults import Status
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, manifest, until

IMAGE = make_image("gone", [100])
TAG = manifest("latest")
TTL = 300.0


async def warm(hub: FakeHub, server: Server, **upstream: object) -> RunningMirror:
    mirror = await server(upstream={"tag_ttl": TTL, **upstream})
    hub.add_image(NAME, "latest", IMAGE)
    assert (await mirror.get(TAG)).status == 200
    hub.clear()
    return mirror


async def asked(mirror: RunningMirror, path: str = TAG) -> tuple[int, str]:
    answer = await mirror.get(path)
    return answer.status, answer.headers.get("X-Cache", "")


async def forget(hub: FakeHub, mirror: RunningMirror, clock: Clock) -> None:
    """The upstream deletes the tag, and is asked about it."""
    hub.delete_tag(NAME, "latest")
    clock.advance(TTL)
    assert (await asked(mirror))[0] == 404


async def until_gone(mirror: RunningMirror) -> None:
    async with asyncio.timeout(10):
        while (await asked(mirror))[0] != 404:
            await asyncio.sleep(0.005)


async def test_what_it_costs(hub: FakeHub, server: Server, clock: Clock) -> None:
    """HEAD is not believed alone; after that each question is a GET, as for any tag that is not here."""
    mirror = await warm(hub, server, negative_ttl=10)
    await forget(hub, mirror, clock)
    assert hub.log() == [f"registry HEAD {TAG} 404", f"registry GET {TAG} 404"]
    assert (await asked(mirror))[0] == 404
    assert len(hub.log()) == 2
    clock.advance(10)
    assert (await asked(mirror))[0] == 404
    assert hub.log()[2:] == [f"registry GET {TAG} 404"]


@pytest.mark.parametrize("negative_ttl", [0, 10])
async def test_stale_while_revalidate_does_not_bring_it_back(
    hub: FakeHub, server: Server, clock: Clock, negative_ttl: int
) -> None:
    mirror = await warm(hub, server, stale_while_revalidate="1h", negative_ttl=negative_ttl)
    hub.delete_tag(NAME, "latest")
    clock.advance(TTL)
    assert await asked(mirror) == (200, "stale")
    await until_gone(mirror)
    for _ in range(4):
        assert (await asked(mirror))[0] == 404
        clock.advance(8)


async def test_nobody_is_told_before_it_is_written_down(
    hub: FakeHub, server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the same client could see it again."""
    mirror = await warm(hub, server, stale_while_revalidate="1h", negative_ttl=10)
    manifests = mirror.store.manifests
    retract, reached, may_go_on = manifests.retract, asyncio.Event(), asyncio.Event()

    async def slowly(repository: Repository, tag: Tag) -> None:
        reached.set()
        await may_go_on.wait()
        await retract(repository, tag)

    monkeypatch.setattr(manifests, "retract", slowly)
    hub.delete_tag(NAME, "latest")
    clock.advance(TTL)
    assert await asked(mirror) == (200, "stale")
    await asyncio.wait_for(reached.wait(), 10)
    assert await asked(mirror) == (200, "stale")
    may_go_on.set()
    await until_gone(mirror)


async def test_a_failure_does_not_bring_it_back(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await warm(hub, server)
    await forget(hub, mirror, clock)
    hub.fault("manifest", Status(500))
    assert (await asked(mirror))[0] == 404
    await hub.stop()
    for seconds in (0, 10, TTL, 86_400):
        clock.advance(seconds)
        answer = await mirror.get(TAG)
        assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    assert await asked(mirror, manifest(IMAGE.digest)) == (200, "hit")


async def test_a_restart_does_not_bring_it_back(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    config = config_for(hub, tmp_path / "store", upstream={"tag_ttl": TTL})
    async with running(config, clock) as mirror:
        assert (await mirror.get(TAG)).status == 200
        await forget(hub, mirror, clock)
    await hub.stop()
    async with running(config, clock) as mirror:
        assert (await asked(mirror))[0] == 404
        assert await asked(mirror, manifest(IMAGE.digest)) == (200, "hit")


async def test_an_upstream_that_is_switched_off_does_not_bring_it_back(
    hub: FakeHub, tmp_path: Path, clock: Clock
) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    async with running(config_for(hub, tmp_path / "store", upstream={"tag_ttl": TTL}), clock) as mirror:
        assert (await mirror.get(TAG)).status == 200
        await forget(hub, mirror, clock)
    async with running(config_for(hub, tmp_path / "store", upstream={"offline": True}), clock) as mirror:
        assert (await asked(mirror))[0] == 404


async def test_the_upstream_brings_it_back(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await warm(hub, server)
    await forget(hub, mirror, clock)
    hub.move_tag(NAME, "latest", IMAGE)
    assert await asked(mirror) == (200, "miss")
    await hub.stop()
    clock.advance(TTL)
    assert await asked(mirror) == (200, "stale")


@pytest.mark.parametrize("code", [401, 403])
async def test_a_refusal_is_not_written_down(hub: FakeHub, server: Server, clock: Clock, code: int) -> None:
    """It may be our account's fault, or an hour's."""
    mirror = await warm(hub, server)
    clock.advance(TTL)
    hub.fault("manifest", Status(code))
    assert (await asked(mirror))[0] == 404
    hub.clear_faults()
    await hub.stop()
    assert await asked(mirror) == (200, "stale")
    await hub.start()
    assert await asked(mirror) == (200, "revalidated")


async def test_a_head_that_is_wrong_is_not_believed(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await warm(hub, server)
    clock.advance(TTL)
    hub.fault("manifest", Status(404), match="HEAD ")
    assert await asked(mirror) == (200, "revalidated")
    assert hub.log() == [f"registry HEAD {TAG} 404", f"registry GET {TAG} 200"]


async def test_a_tag_is_kept_while_get_cannot_say(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await warm(hub, server)
    hub.delete_tag(NAME, "latest")
    clock.advance(TTL)
    hub.fault("manifest", Status(429), match="GET ")
    for _ in range(2):
        assert await asked(mirror) == (200, "stale")
    hub.clear_faults()
    assert (await asked(mirror))[0] == 404


async def test_an_upstream_that_has_nothing_by_accident(hub: FakeHub, server: Server, clock: Clock) -> None:
    """What was asked for meanwhile is 404, and comes back by itself; content by digest is served all along."""
    mirror = await warm(hub, server)
    clock.advance(TTL)
    hub.fault("manifest", Status(404))
    assert (await asked(mirror))[0] == 404
    assert await asked(mirror, manifest(IMAGE.digest)) == (200, "hit")
    hub.clear_faults()
    assert await asked(mirror) == (200, "miss")


async def test_a_tag_that_was_never_here(hub: FakeHub, server: Server) -> None:
    """Nothing is written down of it: whoever can ask could fill the index."""
    mirror = await warm(hub, server)
    assert (await asked(mirror, manifest("other")))[0] == 404
    await hub.stop()
    assert (await asked(mirror, manifest("other")))[0] == 502


async def test_a_tag_that_was_deleted_here_is_not_gone_there(hub: FakeHub, server: Server) -> None:
    mirror = await warm(hub, server)
    assert (await mirror.delete(TAG)).status == 202
    await hub.stop()
    assert (await asked(mirror))[0] == 502
    await hub.start()
    assert await asked(mirror) == (200, "miss")


async def test_fifty_clients_of_a_tag_that_goes(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await warm(hub, server, negative_ttl=10)
    hub.delete_tag(NAME, "latest")
    clock.advance(TTL)
    hub.latency = 0.05
    answers = await asyncio.gather(*(asked(mirror) for _ in range(50)))
    assert {status for status, _ in answers} == {404}
    await until(lambda: len(hub.log()) == 2)
