"""A refresh asks the upstream at once, whatever the ttl, and asks no more than it must."""

import pytest

from tests.conftest import Clock, RunningMirror, Server
from tests.control.commanding import command, refresh
from tests.fakes.faults import Status
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_image
from tests.mirror.wire import NAME, manifest

OLD, NEW = make_image("old", [2000]), make_image("new", [2000])


@pytest.fixture
async def warm(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    hub.add_image(NAME, "latest", OLD)
    assert (await mirror.get(manifest("latest"))).status == 200
    hub.clear()
    return mirror


async def test_unchanged(hub: FakeHub, warm: RunningMirror) -> None:
    done = await refresh(warm, "nginx")
    assert done == {"outcome": "unchanged", "before": OLD.digest, "now": OLD.digest}
    assert hub.log() == [f"registry HEAD {manifest('latest')} 200"]


async def test_moved(hub: FakeHub, warm: RunningMirror) -> None:
    hub.add_image(NAME, "latest", NEW)
    assert (await warm.get(manifest("latest"))).body == OLD.manifest, "it is fresh by its ttl"
    assert hub.log() == []
    done = await refresh(warm, "docker.io/library/nginx:latest")
    assert done == {"outcome": "moved", "before": OLD.digest, "now": NEW.digest}
    assert hub.log() == [f"registry HEAD {manifest('latest')} 200", f"registry GET {manifest(NEW.digest)} 200"]
    assert (await warm.get(manifest("latest"))).body == NEW.manifest
    assert len(hub.log()) == 2


async def test_the_ttl_begins_again(hub: FakeHub, clock: Clock, warm: RunningMirror) -> None:
    clock.advance(299)
    await refresh(warm, "nginx")
    hub.clear()
    clock.advance(299)
    assert (await warm.get(manifest("latest"))).headers["X-Cache"] == "hit"
    assert hub.log() == []


async def test_each_one_asks_anew(hub: FakeHub, warm: RunningMirror) -> None:
    for _ in range(3):
        await refresh(warm, "nginx")
    assert hub.count("registry", "HEAD") == 3


async def test_new(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", OLD)
    assert await refresh(mirror, "nginx") == {"outcome": "new", "before": None, "now": OLD.digest}
    hub.clear()
    assert (await mirror.get(manifest("latest"))).headers["X-Cache"] == "hit"
    assert hub.log() == []


async def test_new__though_it_was_missing_a_moment_ago(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"negative_ttl": "1h", "tag_ttl": 0})
    hub.add_image(NAME, "other", OLD)
    assert (await mirror.get(manifest("latest"))).status == 404
    hub.add_image(NAME, "latest", NEW)
    assert (await mirror.get(manifest("latest"))).status == 404
    assert (await refresh(mirror, "nginx"))["outcome"] == "new"
    assert (await mirror.get(manifest("latest"))).status == 200


async def test_gone(hub: FakeHub, warm: RunningMirror) -> None:
    hub.delete_tag(NAME, "latest")
    assert await refresh(warm, "nginx") == {"outcome": "gone", "before": OLD.digest, "now": None}
    assert (await warm.get(manifest(OLD.digest))).status == 200, "the copy stays"


async def test_refused(hub: FakeHub, warm: RunningMirror) -> None:
    hub.private.add(NAME)
    hub.revoke_tokens()
    assert await refresh(warm, "nginx") == {"outcome": "refused", "before": OLD.digest, "now": None}


async def test_by_digest__nobody_is_asked(hub: FakeHub, warm: RunningMirror) -> None:
    assert (await refresh(warm, f"nginx@{OLD.digest}"))["outcome"] == "unchanged"
    assert hub.log() == []


async def test_hosted(hub: FakeHub, mirror: RunningMirror) -> None:
    await push_image(mirror, OLD, "v1", "team/app")
    assert await refresh(mirror, "team/app:v1") == {"outcome": "hosted", "before": OLD.digest, "now": OLD.digest}
    assert hub.log() == []


@pytest.mark.parametrize("image", ["nginx:nothing", "team/nothing:1"])
async def test_nowhere(hub: FakeHub, warm: RunningMirror, image: str) -> None:
    status, said = await command(warm, "POST", "refresh", json={"image": image})
    assert status == 404, said


async def test_an_upstream_that_fails(hub: FakeHub, warm: RunningMirror) -> None:
    hub.fault("manifest", Status(500))
    status, said = await command(warm, "POST", "refresh", json={"image": "nginx"})
    assert (status, said["errors"][0]["code"]) == (502, "UPSTREAM_FAILED")
    assert (await warm.get(manifest("latest"))).body == OLD.manifest


async def test_a_budget_that_is_nearly_spent_is_spent(hub: FakeHub, server: Server) -> None:
    """What is kept back is for what is not here, and for who asks for just this."""
    mirror = await server(upstream={"rate_limit_reserve": 1000})
    hub.add_image(NAME, "latest", OLD)
    await refresh(mirror, "nginx")
    hub.add_image(NAME, "latest", NEW)
    assert (await refresh(mirror, "nginx"))["outcome"] == "moved"
