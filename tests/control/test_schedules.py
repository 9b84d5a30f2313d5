"""`[[warm]]`: what is listed is kept fresh before anybody asks, for one HEAD a tag and run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mirror.control.keys import COMMANDS
from mirror.errors import ConfigError
from mirror.pull import schedule
from mirror.upstream import limits
from tests.conftest import Clock, RunningMirror, Server, config_for, running
from tests.control.commanding import command, status_of
from tests.fakes.faults import Hang, Status, Where
from tests.fakes.images import make_image, make_index
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_image
from tests.mirror.wire import NAME, blob, manifest, stored, until

AMD64, ARM64 = make_image("k", [2000, 3000]), make_image("l", [1000], architecture="arm64")
INDEX = make_index([AMD64, ARM64])
OTHER, NEWER = make_image("m", [500]), make_image("n", [700])


class Runs:
    """Lets a schedule run when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mirror: RunningMirror | None = None
        self.waits: list[float] = []
        monkeypatch.setattr(schedule, "_first_wait", lambda: 1.0)
        monkeypatch.setattr(schedule, "_next_wait", lambda every: every)
        monkeypatch.setattr(schedule, "_pause", self._pause)
        self._go = asyncio.Semaphore(0)

    async def _pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        await self._go.acquire()

    def begin(self) -> None:
        self._go.release()

    async def ended(self, mirror: RunningMirror, number: int = 0) -> Any:
        """Let one run; what became of it."""
        waits = len(self.waits)
        self.begin()
        async with asyncio.timeout(30):
            while len(self.waits) == waits:
                await asyncio.sleep(0.005)
        return (await schedules(mirror))[number]["last"]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


@pytest.fixture(autouse=True)
def content(hub: FakeHub) -> None:
    hub.add_index(NAME, "1", INDEX)
    hub.add_image("other/app", "2", OTHER)


async def schedules(mirror: RunningMirror) -> Any:
    status, said = await command(mirror, "GET", "warm")
    assert status == 200, said
    return said["schedules"]


async def test_it_is_here_before_anybody_asks__and_then_costs_one_head_a_tag(
    hub: FakeHub, server: Server, runs: Runs, clock: Clock
) -> None:
    mirror = await server(warm=[{"images": ["nginx:1", "other/app:2"], "every": "1h"}])
    last = await runs.ended(mirror)
    assert (last["images"], last["failed"], last["failures"]) == (2, 0, [])
    assert last["bytes"] == sum(map(len, (INDEX.manifest, AMD64.manifest, ARM64.manifest, OTHER.manifest))) + sum(
        image.size for image in (AMD64, ARM64, OTHER)
    )
    for image in ("nginx:1", "other/app:2"):
        assert (await status_of(mirror, image))["complete"]
    for seconds in (10, 3600):  # before its ttl is over, and after
        hub.clear()
        clock.advance(seconds)
        assert (await runs.ended(mirror))["bytes"] == 0
        assert sorted(hub.log()) == [
            f"registry HEAD {manifest('1')} 200",
            f"registry HEAD {manifest('2', 'other/app')} 200",
        ]
    hub.clear()
    answer = await mirror.get(manifest("1"))
    assert (answer.headers["X-Cache"], hub.log()) == ("hit", []), "its ttl began again"
    assert runs.waits == [1.0, 3600.0, 3600.0, 3600.0]


async def test_a_tag_that_moved(hub: FakeHub, server: Server, runs: Runs) -> None:
    mirror = await server(warm=[{"images": ["other/app:2"]}])
    await runs.ended(mirror)
    hub.move_tag("other/app", "2", NEWER)
    hub.clear()
    await runs.ended(mirror)
    assert hub.count("registry", "GET", "/manifests/") == 1
    assert (await status_of(mirror, "other/app:2"))["digest"] == NEWER.digest
    hub.clear()
    assert (await mirror.get(manifest("2", "other/app"))).body == NEWER.manifest
    assert (await mirror.get(blob(NEWER.layers[0], "other/app"))).status == 200
    assert hub.log() == []


async def test_a_tag_that_never_moves_is_not_asked_about(hub: FakeHub, server: Server, runs: Runs) -> None:
    mirror = await server(upstream={"tag_ttls": {"other/*": "forever"}}, warm=[{"images": ["other/app:2"]}])
    await runs.ended(mirror)
    hub.clear()
    assert (await runs.ended(mirror))["failures"] == []
    assert hub.log() == []


async def test_platforms(server: Server, runs: Runs) -> None:
    mirror = await server(warm=[{"images": "nginx:1", "platforms": ["linux/arm64"]}])
    await runs.ended(mirror)
    assert stored(mirror) == {INDEX.digest, ARM64.digest, *ARM64.blobs}


async def test_hosted(hub: FakeHub, server: Server, runs: Runs) -> None:
    mirror = await server(warm=[{"images": ["team/app:v1"]}])
    await push_image(mirror, AMD64, "v1", "team/app")
    assert (await runs.ended(mirror))["failures"] == []
    assert hub.log() == []


async def test_a_file_is_read_at_each_run(
    hub: FakeHub, server: Server, runs: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "images"
    file.write_text("# ours\nother/app:2\n")
    mirror = await server(warm=[{"file": file}])
    assert (await runs.ended(mirror))["images"] == 1
    assert not (await status_of(mirror, "nginx:1"))["complete"]
    file.write_text("nginx:1  # new\nNot an image\n")
    last = await runs.ended(mirror)
    assert (last["images"], [failed["image"] for failed in last["failures"]]) == (2, ["Not an image"])
    assert (await status_of(mirror, "nginx:1"))["complete"]
    file.unlink()
    last = await runs.ended(mirror)
    assert (last["failures"], last["problem"]) == ([], "the list of images cannot be read")
    reasons = [getattr(record, "reason", "") for record in caplog.records]
    assert f"warm: file {file}: No such file or directory" in reasons, "in the log, and there only"


async def test_an_upstream_that_is_down(
    hub: FakeHub, server: Server, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    mirror = await server(warm=[{"images": ["nginx:1", "other/app:2"]}])
    await hub.stop()
    last = await runs.ended(mirror)
    assert sorted(failed["image"] for failed in last["failures"]) == ["nginx:1", "other/app:2"]
    warnings = [record for record in caplog.records if record.msg == "could not keep an image warm"]
    assert sorted(record.image for record in warnings) == ["nginx:1", "other/app:2"]  # type: ignore[attr-defined]
    (summary,) = [record for record in caplog.records if record.msg == "kept images warm"]
    assert (summary.images, summary.failed) == (2, 2)  # type: ignore[attr-defined]
    await hub.start()
    assert (await runs.ended(mirror))["failures"] == []
    await hub.stop()
    assert len((await runs.ended(mirror))["failures"]) == 2, "that it could not ask is told, though all is here"
    assert (await mirror.get(manifest("1"))).status == 200


async def test_one_that_fails_stops_no_other(hub: FakeHub, server: Server, runs: Runs) -> None:
    mirror = await server(warm=[{"images": ["nothing/here:1", "nginx:1", "other/app:2"]}])
    hub.fault("blob", Status(404), match=AMD64.layers[0])
    failed = {one["image"]: one["reason"] for one in (await runs.ended(mirror))["failures"]}
    assert sorted(failed) == ["nginx:1", "nothing/here:1"]
    assert AMD64.layers[0] in failed["nginx:1"]
    assert (await status_of(mirror, "other/app:2"))["complete"]


async def test_the_reserve_of_a_budget_is_not_spent(hub: FakeHub, server: Server, runs: Runs) -> None:
    """Neither on what has moved, nor on what is new: it is there for who asks."""
    mirror = await server(upstream={"rate_limit_reserve": 5}, warm=[{"images": ["other/app:2", "nginx:1"]}])
    hub.add_image("client/app", "1", NEWER)
    hub.rate_limit = 5
    last = await runs.ended(mirror)
    assert sorted(failed["image"] for failed in last["failures"]) == ["nginx:1", "other/app:2"]
    assert (hub.pulls, stored(mirror)) == (0, set())
    assert (await mirror.get(manifest("1", "client/app"))).status == 200, "a client gets it"
    hub.rate_limit = 100
    assert (await mirror.get(manifest("1"))).status == 200, "and with this it is known that there is more again"
    assert (await runs.ended(mirror))["failures"] == []
    hub.rate_limit = hub.pulls + 5
    hub.move_tag("other/app", "2", NEWER)
    (failed,) = (await runs.ended(mirror))["failures"]
    assert (failed["image"], hub.rate_limit - hub.pulls) == ("other/app:2", 5)
    assert "budget" in failed["reason"]


async def test_one_run_at_a_time(hub: FakeHub, server: Server, runs: Runs) -> None:
    mirror = await server(warm=[{"images": ["other/app:2"]}, {"images": ["nginx:1"]}])
    hub.fault("cdn", Hang("body", 10))
    runs.begin()
    runs.begin()
    await until(lambda: hub.count("cdn") > 0)
    await asyncio.sleep(0.1)
    running_ones = [one["running"] for one in await schedules(mirror)]
    assert sorted(running_ones) == [False, True]
    assert len({seen.path.split("/")[3] for seen in hub.requests if "/manifests/" in seen.path}) == 1
    hub.clear_faults()
    await until(lambda: len(runs.waits) == 4)
    assert [one["last"]["failures"] for one in await schedules(mirror)] == [[], []]


async def test_a_server_that_stops_does_not_wait_for_a_run(
    hub: FakeHub, tmp_path: Path, clock: Clock, runs: Runs
) -> None:
    hub.fault("cdn", Hang("body", 10))
    config = config_for(hub, tmp_path / "store", warm=[{"images": ["nginx:1"]}], server={"drain_timeout": 600})
    async with running(config, clock):
        runs.begin()
        await until(lambda: hub.count("cdn") > 0)
    # and it is here that the test would hang


async def test_the_first_run_comes_by_itself(hub: FakeHub, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_FIRST_SECONDS", (0.0, 0.01))
    mirror = await server(warm=[{"images": ["other/app:2"]}])
    await until(lambda: mirror.application[COMMANDS].schedules.states()[0].last is not None)
    assert OTHER.layers[0] in stored(mirror)


async def test_waits_are_spread() -> None:
    waits = {schedule._next_wait(1000) for _ in range(100)}
    assert len(waits) > 90
    assert 900 <= min(waits) < max(waits) <= 1100


async def test_a_wrong_file_keeps_the_server_from_starting(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "images"
    for text, message in ((None, "No such file"), ("nginx\nNginx\n", "'Nginx' is not the name of an image")):
        if text is not None:
            file.write_text(text)
        config = config_for(hub, tmp_path / "store", warm=[{"file": file}])
        with pytest.raises(ConfigError, match=message):
            async with running(config, clock):
                pass


async def test_a_limit_that_it_meets_holds_no_client_back(
    hub: FakeHub, server: Server, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 60.0)
    mirror = await server(warm=[{"images": ["other/app:2", "nginx:1"]}], upstream={"prefetch": "off"})
    kinds: tuple[Where, Where] = ("blob", "manifest")
    for kind in kinds:
        hub.fault(kind, Status(429))
        assert (await runs.ended(mirror))["failed"] == 2
        hub.clear_faults()
        asked = hub.count("registry", path_contains=f"/{kind}s/")
        assert (await runs.ended(mirror))["failed"] == 2
        assert hub.count("registry", path_contains=f"/{kind}s/") == asked
    assert (await mirror.get(manifest("1"))).status == 200
    for digest in OTHER.layers:
        assert (await mirror.get(blob(digest, "other/app"))).body == OTHER.blobs[digest]


async def test_clients_go_before_it(hub: FakeHub, server: Server, runs: Runs) -> None:
    mirror = await server(warm=[{"images": ["other/app:2"]}], upstream={"max_requests_at_once": 2, "prefetch": "off"})
    hub.fault("cdn", Hang("body", 10))
    runs.begin()
    await until(lambda: hub.count("cdn") == 1)
    for reference in ("1", AMD64.digest):
        assert (await mirror.get(manifest(reference))).status == 200
    assert hub.count("cdn") == 1
    hub.clear_faults()
