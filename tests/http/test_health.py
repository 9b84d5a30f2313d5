"""Whether the server lives, and whether it can work: for those who restart it and those who send it clients."""

import asyncio
import os

import pytest

from storage import ingest
from tests.conftest import RunningMirror
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import fetch


async def test_alive_and_ready(hub: FakeHub, mirror: RunningMirror) -> None:
    assert (await mirror.get("/healthz")).json() == {"status": "alive"}
    assert (await mirror.get("/readyz")).json() == {"status": "ready"}
    assert (await mirror.get("/v2/")).json() == {}
    assert hub.log() == []


async def test_ready_leaves_nothing_behind(mirror: RunningMirror) -> None:
    await asyncio.gather(*(mirror.get("/readyz") for _ in range(10)))
    assert list((mirror.config.storage.root / "tmp").iterdir()) == []


async def test_without_the_upstream(hub: FakeHub, mirror: RunningMirror) -> None:
    """A dead upstream is no reason to send clients away from what is cached."""
    await hub.stop()
    for path in ("/v2/", "/healthz", "/readyz"):
        assert (await mirror.get(path)).status == 200


async def test_store_that_cannot_be_written(mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int, data: bytes, offset: int) -> int:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "write_at", fail)
        got = await fetch(mirror, "/readyz")
        assert (got.status, got.headers["Retry-After"]) == (503, "5")
        assert b"UNAVAILABLE" in got.body
        assert (await fetch(mirror, "/readyz", "HEAD")).status == 503
        assert (await fetch(mirror, "/healthz")).status == 200
    assert (await fetch(mirror, "/readyz")).status == 200


async def test_store_that_is_gone(mirror: RunningMirror) -> None:
    tmp = mirror.config.storage.root / "tmp"
    tmp.rename(tmp.with_name("elsewhere"))
    assert (await fetch(mirror, "/readyz")).status == 503
    tmp.with_name("elsewhere").rename(tmp)
    assert (await fetch(mirror, "/readyz")).status == 200


async def test_alive_while_the_disk_hangs(mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness waits for the disk; life does not."""
    read, write = os.pipe()
    monkeypatch.setattr(ingest, "write_at", lambda *_: len(os.read(read, 1)))
    waiting = asyncio.create_task(fetch(mirror, "/readyz"))
    await asyncio.sleep(0.1)
    for path in ("/healthz", "/v2/"):
        assert (await asyncio.wait_for(fetch(mirror, path), 5)).status == 200
    assert not waiting.done()
    os.write(write, b"x")
    assert (await waiting).status == 200
    os.close(read)
    os.close(write)
