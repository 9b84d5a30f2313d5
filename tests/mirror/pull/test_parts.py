"""Several parts of a blob in one answer, as podman and stargz ask for them."""

import asyncio
import re

import pytest

from tests.conftest import RunningMirror
from tests.fakes.faults import Hang, NoLength, WrongBytes
from tests.fakes.images import random_blob
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import (
    NAME,
    Got,
    blob,
    cold_blob,
    connect,
    fetch,
    here,
    partial_size,
    read_head,
    send_head,
    until,
)

DIGEST, DATA = random_blob("parts", 200_000)
SIZE, HALF = len(DATA), 100_000
OTHER = '"sha256:' + "0" * 64 + '"'

Slice = tuple[int, int]

MANY = range(0, 150 * 1024, 150)
ASKED: list[tuple[str, list[Slice]]] = [
    ("bytes=0-99,200-299", [(0, 100), (200, 300)]),
    ("bytes=200-299, 0-99", [(200, 300), (0, 100)]),
    ("bytes=0-99,100-199", [(0, 100), (100, 200)]),
    ("bytes=0-0,-1", [(0, 1), (SIZE - 1, SIZE)]),
    ("bytes=5-9,100000-", [(5, 10), (HALF, SIZE)]),
    ("bytes=5-9,200000-,-1", [(5, 10), (SIZE - 1, SIZE)]),
    ("bytes=" + ",".join(f"{n}-{n + 99}" for n in MANY), [(n, n + 100) for n in MANY]),
]


def parts(got: Got) -> list[tuple[str, bytes]]:
    """Content-Range and bytes of each part, read as strictly as anybody could."""
    assert (got.status, got.complete) == (206, True)
    assert got.headers["Content-Length"] == str(len(got.body))
    assert "Content-Range" not in got.headers
    match = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]{32})", got.headers["Content-Type"])
    assert match is not None
    line = f"\r\n--{match[1]}".encode()
    before, *found, end = got.body.split(line)
    assert (before, end) == (b"", b"--\r\n")
    read = []
    for part in found:
        head, _, body = part.partition(b"\r\n\r\n")
        fixed, _, content_range = head.partition(b"Content-Range: ")
        assert fixed == b"\r\nContent-Type: application/octet-stream\r\n"
        read.append((content_range.decode(), body))
    return read


def expected(*slices: Slice) -> list[tuple[str, bytes]]:
    return [(f"bytes {first}-{end - 1}/{SIZE}", DATA[first:end]) for first, end in slices]


@pytest.fixture
async def warm(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    hub.add_blob(NAME, DATA)
    assert (await fetch(mirror, blob(DIGEST))).full_body == DATA
    await here(mirror, DIGEST)
    hub.clear()
    return mirror


async def test_parts_of_a_cached_blob(hub: FakeHub, warm: RunningMirror) -> None:
    for asked, slices in ASKED:
        got = await fetch(warm, blob(DIGEST), Range=asked)
        assert parts(got) == expected(*slices), asked
        assert (got.headers["ETag"], got.headers["X-Cache"]) == (f'"{DIGEST}"', "hit")
    assert hub.log() == []


async def test_one_part_that_is_left_is_a_single_one(warm: RunningMirror) -> None:
    got = await fetch(warm, blob(DIGEST), Range="bytes=9-5,5-9,200000-")
    assert (got.status, got.full_body, got.headers["Content-Range"]) == (206, DATA[5:10], f"bytes 5-9/{SIZE}")
    assert got.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(("if_range", "status"), [(f'"{DIGEST}"', 206), (OTHER, 200)])
async def test_if_range(warm: RunningMirror, if_range: str, status: int) -> None:
    got = await fetch(warm, blob(DIGEST), Range="bytes=0-1,5-9", If_Range=if_range)
    assert got.status == status
    assert parts(got) == expected((0, 2), (5, 10)) if status == 206 else got.full_body == DATA


async def test_boundary_is_another_one_each_time(warm: RunningMirror) -> None:
    got = [await fetch(warm, blob(DIGEST), Range="bytes=0-1,5-9") for _ in range(2)]
    assert got[0].headers["Content-Type"] != got[1].headers["Content-Type"]


async def test_connection_goes_on_behind_it(warm: RunningMirror) -> None:
    """As many bytes as announced: the next answer begins right where this one ends."""
    async with connect(warm) as (reader, writer):
        for _ in range(3):
            await send_head(writer, "GET", blob(DIGEST), Range="bytes=0-99,200-299,-1")
            status, headers = await read_head(reader)
            assert status == 206
            body = await asyncio.wait_for(reader.readexactly(int(headers["Content-Length"])), 5)
            assert parts(Got(status, headers, body, complete=True)) == expected((0, 100), (200, 300), (SIZE - 1, SIZE))


async def test_parts_of_an_arriving_blob_are_waited_for(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", HALF))
    early = asyncio.create_task(fetch(mirror, blob(DIGEST), Range="bytes=500-599,0-99"))
    await until(lambda: partial_size(mirror, DIGEST) == HALF)
    async with asyncio.timeout(5):
        assert parts(await early) == expected((500, 600), (0, 100))
    late = asyncio.create_task(fetch(mirror, blob(DIGEST), Range=f"bytes=0-99,{HALF}-{HALF + 99},-1"))
    await asyncio.sleep(0.1)
    assert not late.done()
    hub.release()
    assert parts(await late) == expected((0, 100), (HALF, HALF + 100), (SIZE - 1, SIZE))
    assert hub.log()[2:] == cold_blob(DIGEST)


async def test_parts_of_a_blob_that_turns_out_wrong_are_never_finished(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", WrongBytes())
    got = await fetch(mirror, blob(DIGEST), Range="bytes=0-99,-1")
    assert not got.complete


async def test_parts_of_an_arriving_blob_of_unknown_length_are_the_whole(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", NoLength())
    got = await fetch(mirror, blob(DIGEST), Range="bytes=5-9,20-29")
    assert (got.status, got.full_body) == (200, DATA)


async def test_client_that_leaves_between_parts(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", HALF))
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "GET", blob(DIGEST), Range="bytes=0-99,-1")
        await read_head(reader)
        await reader.readexactly(150)
    hub.release()
    await here(mirror, DIGEST)
    hub.clear()
    assert (await fetch(mirror, blob(DIGEST))).full_body == DATA
    assert hub.log() == []
