"""Parts of a blob: of one that is here, and of one that is still arriving."""

import asyncio

import pytest

from tests.conftest import RunningMirror
from tests.fakes.faults import Hang, NoLength
from tests.fakes.images import random_blob
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, cold_blob, connect, fetch, here, partial_size, read_head, send_head, until

DIGEST, DATA = random_blob("ranges", 200_000)
SIZE, HALF = len(DATA), 100_000
OTHER = '"sha256:' + "0" * 64 + '"'

PARTS = [
    ("bytes=0-", 0, SIZE),
    ("bytes=0-0", 0, 1),
    ("bytes=5-9", 5, 10),
    ("bytes=199999-", SIZE - 1, SIZE),
    ("bytes=199990-999999999", SIZE - 10, SIZE),
    ("bytes=-1", SIZE - 1, SIZE),
    ("bytes=-999999999", 0, SIZE),
    (f"bytes={HALF - 1}-{HALF}", HALF - 1, HALF + 1),
    ("BYTES=5-9", 5, 10),
    ("bytes= 5-9 ", 5, 10),
]
WHOLE = [
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=1",
    "bytes 0-1",
    "lines=0-1",
    "bytes=0x1-2",
    "bytes=1_0-20",
    "bytes=\u0661-\u0662",
    "bytes=" + "1" * 30 + "-",
    "bytes=0-1,",
    "bytes=0-1,a-b",
    "bytes=0-5,5-9",
    "bytes=0-,-1",
    "bytes=" + ",".join(f"{n}-{n}" for n in range(1025)),
]
NOTHING = [
    "bytes=200000-",
    "bytes=200000-200001",
    "bytes=9-5",
    "bytes=-0",
    "bytes=" + "9" * 19 + "-",
    "bytes=200000-,-0",
]


@pytest.fixture
async def warm(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    hub.add_blob(NAME, DATA)
    assert (await fetch(mirror, blob(DIGEST))).full_body == DATA
    await here(mirror, DIGEST)
    hub.clear()
    return mirror


async def test_part_of_a_cached_blob(hub: FakeHub, warm: RunningMirror) -> None:
    for asked, first, end in PARTS:
        got = await fetch(warm, blob(DIGEST), Range=asked)
        assert (got.status, got.full_body) == (206, DATA[first:end]), asked
        assert got.headers["Content-Range"] == f"bytes {first}-{end - 1}/{SIZE}"
        assert got.headers["Content-Length"] == str(end - first)
        assert got.headers["ETag"] == f'"{DIGEST}"'
    assert hub.log() == []


async def test_what_cannot_be_understood_gets_the_whole_blob(hub: FakeHub, warm: RunningMirror) -> None:
    for asked in WHOLE:
        got = await fetch(warm, blob(DIGEST), Range=asked)
        assert (got.status, got.full_body) == (200, DATA), asked
        assert "Content-Range" not in got.headers
    assert hub.log() == []


async def test_part_outside_of_the_blob(warm: RunningMirror) -> None:
    for asked in NOTHING:
        got = await fetch(warm, blob(DIGEST), Range=asked)
        assert (got.status, got.headers["Content-Range"]) == (416, f"bytes */{SIZE}"), asked
        assert b"RANGE_INVALID" in got.body


@pytest.mark.parametrize(
    ("if_range", "status"),
    [(f'"{DIGEST}"', 206), (OTHER, 200), (f'W/"{DIGEST}"', 200), ("Tue, 01 Jan 2030 00:00:00 GMT", 200), ("", 200)],
)
async def test_if_range(warm: RunningMirror, if_range: str, status: int) -> None:
    got = await fetch(warm, blob(DIGEST), Range="bytes=5-9", If_Range=if_range)
    assert (got.status, got.full_body) == (status, DATA[5:10] if status == 206 else DATA)


async def test_head_knows_no_parts(warm: RunningMirror) -> None:
    got = await fetch(warm, blob(DIGEST), "HEAD", Range="bytes=5-9")
    assert (got.status, got.headers["Content-Length"], got.headers["Accept-Ranges"]) == (200, str(SIZE), "bytes")


async def test_part_of_an_arriving_blob(hub: FakeHub, mirror: RunningMirror) -> None:
    """What is here is answered at once, what is not is waited for; the upstream is asked for the whole, once."""
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", HALF))
    first = asyncio.create_task(fetch(mirror, blob(DIGEST), Range="bytes=10-19"))
    await until(lambda: partial_size(mirror, DIGEST) == HALF)
    async with asyncio.timeout(10):
        assert (await first).full_body == DATA[10:20]
        assert (await fetch(mirror, blob(DIGEST), Range=f"bytes=7-{HALF - 1}")).full_body == DATA[7:HALF]
        outside = await fetch(mirror, blob(DIGEST), Range=f"bytes={SIZE}-")
        assert (outside.status, outside.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    waiting = [
        asyncio.create_task(fetch(mirror, blob(DIGEST), Range=asked))
        for asked in (f"bytes={HALF - 10}-{HALF + 9}", f"bytes={SIZE - 3}-", "bytes=-5", "bytes=0-1,1-2")
    ]
    stale = asyncio.create_task(fetch(mirror, blob(DIGEST), Range="bytes=0-1", If_Range=OTHER))
    await asyncio.sleep(0.1)
    assert not any(task.done() for task in [*waiting, stale])
    hub.release()
    expected = [DATA[HALF - 10 : HALF + 10], DATA[-3:], DATA[-5:], DATA]
    assert [(await task).full_body for task in waiting] == expected
    assert [(await task).status for task in waiting] == [206, 206, 206, 200]
    assert ((await stale).status, (await stale).full_body) == (200, DATA)
    assert hub.log()[2:] == cold_blob(DIGEST)
    assert all("Range" not in seen.headers for seen in hub.requests)


async def test_several_connections_of_one_client_that_are_closed_early(hub: FakeHub, mirror: RunningMirror) -> None:
    """containerd 2.1 asks for everything from here on, several times at once, and hangs up where the next begins."""
    hub.add_blob(NAME, DATA)
    hub.bandwidth = 400_000

    async def chunk(first: int) -> bytes:
        async with connect(mirror) as (reader, writer):
            await send_head(writer, "GET", blob(DIGEST), Range=f"bytes={first}-")
            assert (await read_head(reader))[0] == 206
            return await asyncio.wait_for(reader.readexactly(SIZE // 4), 20)

    assert b"".join(await asyncio.gather(*(chunk(first) for first in range(0, SIZE, SIZE // 4)))) == DATA
    await here(mirror, DIGEST)
    assert hub.log()[2:] == cold_blob(DIGEST)


async def test_part_that_begins_where_the_download_waits(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", HALF))
    task = asyncio.create_task(fetch(mirror, blob(DIGEST), Range=f"bytes={HALF}-{HALF}"))
    await until(lambda: partial_size(mirror, DIGEST) == HALF)
    await asyncio.sleep(0.05)
    assert not task.done()
    hub.release()
    assert (await task).full_body == DATA[HALF : HALF + 1]


async def test_part_of_an_arriving_blob_of_unknown_length_is_the_whole(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", NoLength())
    got = await fetch(mirror, blob(DIGEST), Range="bytes=5-9")
    assert (got.status, got.full_body) == (200, DATA)


async def test_client_that_goes_on_after_a_cut_gets_the_rest(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    part = await fetch(mirror, blob(DIGEST), Range="bytes=0-99")
    rest = await fetch(mirror, blob(DIGEST), Range="bytes=100-", If_Range=part.headers["ETag"])
    assert part.body + rest.body == DATA
    assert hub.count("cdn") == 1
