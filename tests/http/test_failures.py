"""When we fail ourselves: a bug, a full disk. Nobody learns how we are made, and it goes on when it can."""

import asyncio
import errno
import json
import logging
import os
import re

import pytest

from mirror.discovery.lists import Lists
from mirror.pull.blob import BlobPulls
from mirror.pull.manifest import ManifestPulls
from mirror.push.upload import Uploads
from storage import ingest
from storage.partial import Partial
from tests.conftest import Clock, RunningMirror
from tests.fakes.images import digest_of, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import begin, check_created, finish, patch, push_image, put_manifest, uploads
from tests.mirror.wire import NAME, blob, connect, fetch, manifest, read_head, send_head, stored

IMAGE = make_image("failures", [100_000])
(LAYER,) = IMAGE.layers
SECRET = "canary-of-the-insides"


async def fail(*_: object) -> None:
    raise RuntimeError(SECRET)


@pytest.mark.parametrize(
    ("owner", "method", "path"),
    [
        (ManifestPulls, "get", manifest("latest")),
        (BlobPulls, "open", blob(LAYER)),
        (Lists, "tags", f"/v2/{NAME}/tags/list"),
        (Lists, "repositories", "/v2/_catalog"),
    ],
)
async def test_bug__says_nothing_but_where_to_look(
    mirror: RunningMirror,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type,
    method: str,
    path: str,
) -> None:
    monkeypatch.setattr(owner, method, fail)
    got = await fetch(mirror, path)
    assert (got.status, got.complete) == (500, True)
    (error,) = json.loads(got.body)["errors"]
    match = re.fullmatch(r"internal error; the server's log has it as ([0-9a-f]{16})", error.pop("message"))
    assert match is not None, got.body
    assert error == {"code": "UNKNOWN"}
    assert SECRET not in str(got.headers)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert vars(record)["reference"] == match[1]
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == SECRET
    head = await fetch(mirror, path, "HEAD")
    assert (head.status, head.body) == (500 if method != "open" else 404, b"")


async def test_bug__in_the_middle_of_an_answer_cuts_it(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    readable = Partial.readable

    async def once(self: Partial, offset: int) -> int:
        if offset:
            raise RuntimeError(SECRET)
        return min(1000, await readable(self, 0))

    monkeypatch.setattr(Partial, "readable", once)
    got = await fetch(mirror, blob(LAYER))
    assert (got.status, got.complete, got.body) == (200, False, IMAGE.blobs[LAYER][:1000])


async def test_bug__does_not_spoil_the_connection(mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Uploads, "start", fail)
    async with connect(mirror) as (reader, writer):
        for method, path, expected in (("POST", uploads(), 500), ("GET", "/v2/", 200)):
            await send_head(writer, method, path)
            status, headers = await read_head(reader)
            assert status == expected
            await reader.readexactly(int(headers["Content-Length"]))


class FullDisk:
    """Lets so many more bytes be written, and no more."""

    def __init__(self) -> None:
        self.free = 0

    def write_at(self, fd: int, data: bytes, offset: int) -> int:
        if len(data) > self.free:
            os.pwrite(fd, data[: self.free], offset)  # as a real disk does: what fits, and then the error
            raise OSError(errno.ENOSPC, "No space left on device")
        self.free -= len(data)
        return os.pwrite(fd, data, offset)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    full = FullDisk()
    monkeypatch.setattr(ingest, "write_at", full.write_at)
    return full


PLENTY = 10**9


async def test_full_disk__push_of_a_blob(mirror: RunningMirror, disk: FullDisk) -> None:
    data = IMAGE.blobs[LAYER]
    session = await begin(mirror)
    disk.free = 50_000
    got = await fetch(mirror, f"{uploads()}?digest={digest_of(b'')}", "POST")  # nothing to write
    assert got.status == 201
    refused = await patch(mirror, session, data)
    assert (refused.status, refused.json()["errors"][0]["code"]) == (507, "STORAGE_FULL")
    single = await mirror.post(f"{uploads()}?digest={LAYER}", data=data)
    assert single.status == 507
    assert list((mirror.config.storage.root / "tmp").iterdir()) == []
    disk.free = PLENTY
    came = int((await mirror.get(session)).headers["Range"].partition("-")[2])
    start = came + 1 if came else 0
    assert (await patch(mirror, session, data[start:], start)).status == 202
    check_created(await finish(mirror, session, LAYER), LAYER)


async def test_full_disk__at_a_short_last_chunk(mirror: RunningMirror, disk: FullDisk) -> None:
    """What was acknowledged before is not thrown away with it."""
    data = IMAGE.blobs[LAYER]
    session = await begin(mirror)
    disk.free = PLENTY
    assert (await patch(mirror, session, data[:-1000])).status == 202
    for free in (0, 500):
        disk.free = free
        assert (await finish(mirror, session, LAYER, data[-1000:])).status == 507
        assert (await mirror.get(session)).headers["Range"] == f"0-{len(data) - 1001}"
    disk.free = PLENTY
    check_created(await finish(mirror, session, LAYER, data[-1000:]), LAYER)
    assert (await mirror.get(blob(LAYER, "team/app"))).body == data


async def test_full_disk__push_of_a_manifest(mirror: RunningMirror, disk: FullDisk) -> None:
    disk.free = PLENTY
    await push_image(mirror, IMAGE, "v1")
    disk.free = 0
    other = IMAGE.manifest + b"\n"
    refused = await put_manifest(mirror, "v1", other)
    assert (refused.status, refused.json()["errors"][0]["code"]) == (507, "STORAGE_FULL")
    assert (await mirror.get(manifest("v1", "team/app"))).body == IMAGE.manifest
    disk.free = PLENTY
    assert (await put_manifest(mirror, "v1", other)).status == 201
    assert (await mirror.get(manifest("v1", "team/app"))).body == other


async def test_full_disk__download_of_a_blob(hub: FakeHub, mirror: RunningMirror, disk: FullDisk) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    disk.free = len(IMAGE.manifest)
    assert (await fetch(mirror, manifest("latest"))).status == 200
    got = await asyncio.gather(*(fetch(mirror, blob(LAYER)) for _ in range(5)))
    assert {(one.status, one.complete) for one in got} == {(507, True)}
    assert stored(mirror) == {IMAGE.digest}
    assert list((mirror.config.storage.root / "partial").iterdir()) == []
    disk.free = PLENTY
    assert (await fetch(mirror, blob(LAYER))).full_body == IMAGE.blobs[LAYER]


async def test_full_disk__in_the_middle_of_a_download(hub: FakeHub, mirror: RunningMirror, disk: FullDisk) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    hub.bandwidth = 400_000
    disk.free = 50_000
    got = await fetch(mirror, blob(LAYER))
    assert (got.status, got.complete) == (200, False)
    assert IMAGE.blobs[LAYER].startswith(got.body)
    hub.bandwidth, disk.free = None, PLENTY
    assert (await fetch(mirror, blob(LAYER))).full_body == IMAGE.blobs[LAYER]


async def test_full_disk__what_is_here_is_served_and_what_is_not_is_passed_on(
    hub: FakeHub, mirror: RunningMirror, disk: FullDisk, clock: Clock
) -> None:
    """Reading needs no space, and a manifest that cannot be kept can still be handed on."""
    disk.free = PLENTY
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest"))
    await fetch(mirror, blob(LAYER))
    disk.free = 0
    assert (await fetch(mirror, blob(LAYER))).full_body == IMAGE.blobs[LAYER]
    clock.advance(300)
    assert (await fetch(mirror, manifest("latest"))).full_body == IMAGE.manifest
    moved = make_image("failures/moved", [])
    hub.move_tag(NAME, "latest", moved)
    clock.advance(300)
    got = await fetch(mirror, manifest("latest"))
    assert got.full_body in (moved.manifest, IMAGE.manifest)
    disk.free = PLENTY
    clock.advance(300)
    assert (await fetch(mirror, manifest("latest"))).full_body == moved.manifest


async def test_full_disk__ready_says_so(mirror: RunningMirror, disk: FullDisk) -> None:
    assert (await fetch(mirror, "/readyz")).status == 507
    assert (await fetch(mirror, "/healthz")).status == 200
    disk.free = PLENTY
    assert (await fetch(mirror, "/readyz")).status == 200
