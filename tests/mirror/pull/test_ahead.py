"""Parts of a blob far ahead of its download: a request of their own, beside the only full one, and stored nowhere."""

import asyncio
import random
from dataclasses import dataclass, replace

import pytest

from mirror.http.keys import SERVICES
from mirror.pull import ahead
from tests.conftest import RunningMirror, Server
from tests.fakes.faults import (
    Asked,
    CutAt,
    Drop,
    Empty200,
    Fault,
    Gzip,
    Hang,
    Html200,
    IgnoreRange,
    LongLength,
    NoLength,
    Reply,
    ShortLength,
    Status,
    Status416,
    Trickle,
    WrongBytes,
)
from tests.fakes.images import random_blob
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import (
    NAME,
    Got,
    blob,
    cdn_path,
    cold_blob,
    connect,
    fetch,
    here,
    partial_size,
    read_head,
    send_head,
    stored,
    until,
)

DIGEST, DATA = random_blob("ahead", 400_000)
SIZE = len(DATA)
# How far the download has come where it waits, and where a part is far from there.
CAME, FAR = 100_000, 50_000
FIRST, END = 300_000, 320_000
PART = f"bytes={FIRST}-{END - 1}"
BY_ITSELF = [f"registry GET {blob(DIGEST)} 307", f"cdn GET {cdn_path(DIGEST)} 206"]


@pytest.fixture(autouse=True)
def short_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_FAR_BYTES", FAR)


@pytest.fixture
async def waiting(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    """A server whose download of the blob waits in the middle until `hub.release()`."""
    await begin_to_wait(hub, mirror)
    return mirror


async def begin_to_wait(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", CAME), times=1)
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "GET", blob(DIGEST))
        await read_head(reader)
        await until(lambda: partial_size(mirror, DIGEST) == CAME)
    hub.clear()


async def get(mirror: RunningMirror, asked: str = PART, **headers: str) -> Got:
    async with asyncio.timeout(10):
        return await fetch(mirror, blob(DIGEST), Range=asked, **headers)


def whole_downloads(hub: FakeHub) -> int:
    return sum(seen.server == "cdn" and "Range" not in seen.headers for seen in hub.requests)


def asked_parts(hub: FakeHub) -> list[str]:
    return [seen.headers["Range"] for seen in hub.requests if seen.server == "cdn" and "Range" in seen.headers]


def answering(hub: FakeHub) -> int:
    """Answers of the CDN that are under way."""
    server = hub._cdn._server
    assert server is not None
    return len(server.connections)


async def check_only_download(hub: FakeHub, mirror: RunningMirror) -> None:
    """It goes on as if nothing had been asked, and what is stored is what it brought."""
    assert stored(mirror) == set()
    assert partial_size(mirror, DIGEST) == CAME
    hub.clear_faults()
    await here(mirror, DIGEST)
    assert whole_downloads(hub) == 0
    hub.clear()
    assert (await fetch(mirror, blob(DIGEST))).full_body == DATA
    assert hub.log() == []


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        (PART, FIRST, END),
        (f"bytes={FIRST}-", FIRST, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        (f"bytes={FIRST}-{SIZE + 5}", FIRST, SIZE),
        (f"bytes={CAME + FAR + 1}-{CAME + FAR + 1}", CAME + FAR + 1, CAME + FAR + 2),
    ],
)
async def test_far_part_comes_by_itself(hub: FakeHub, waiting: RunningMirror, asked: str, first: int, end: int) -> None:
    got = await get(waiting, asked)
    assert (got.status, got.full_body) == (206, DATA[first:end])
    assert got.headers["Content-Range"] == f"bytes {first}-{end - 1}/{SIZE}"
    assert (got.headers["Content-Length"], got.headers["ETag"]) == (str(end - first), f'"{DIGEST}"')
    assert hub.log() == BY_ITSELF
    assert [seen.headers["Range"] for seen in hub.requests] == [f"bytes={first}-{end - 1}"] * 2
    await check_only_download(hub, waiting)


@pytest.mark.parametrize("first", [CAME, CAME + FAR])
async def test_near_part_is_waited_for(hub: FakeHub, waiting: RunningMirror, first: int) -> None:
    task = asyncio.create_task(get(waiting, f"bytes={first}-{END - 1}"))
    await asyncio.sleep(0.1)
    assert not task.done()
    hub.release()
    assert (await task).full_body == DATA[first:END]
    assert hub.log() == []


async def test_part_that_is_here_and_ends_far_ahead_is_waited_for(hub: FakeHub, waiting: RunningMirror) -> None:
    task = asyncio.create_task(get(waiting, "bytes=0-"))
    await asyncio.sleep(0.1)
    assert not task.done()
    hub.release()
    assert (await task).full_body == DATA
    assert hub.log() == []


async def test_part_of_other_content_is_the_whole(hub: FakeHub, waiting: RunningMirror) -> None:
    task = asyncio.create_task(get(waiting, If_Range='"something else"'))
    await asyncio.sleep(0.1)
    hub.release()
    assert ((await task).status, (await task).full_body) == (200, DATA)
    assert hub.log() == []


async def test_far_part_of_a_cold_blob_begins_its_download(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", CAME), times=1)
    assert (await get(mirror)).full_body == DATA[FIRST:END]
    assert hub.log()[2:] == cold_blob(DIGEST) + BY_ITSELF
    hub.release()
    await here(mirror, DIGEST)


async def test_eight_mebibytes_are_far(hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    digest, data = random_blob("long", 12 * 2**20)
    hub.add_blob(NAME, data)
    hub.fault("cdn", Hang("body", 2**20), times=1)
    first = asyncio.create_task(fetch(mirror, blob(digest)))
    await until(lambda: partial_size(mirror, digest) == 2**20)
    near = asyncio.create_task(fetch(mirror, blob(digest), Range=f"bytes={9 * 2**20}-{9 * 2**20 + 9}"))
    far = await fetch(mirror, blob(digest), Range=f"bytes={9 * 2**20 + 1}-{10 * 2**20}")
    assert far.full_body == data[9 * 2**20 + 1 : 10 * 2**20 + 1]
    assert not near.done()
    hub.release()
    assert (await near).full_body == data[9 * 2**20 : 9 * 2**20 + 10]
    assert (await first).full_body == data
    assert (whole_downloads(hub), len(asked_parts(hub))) == (1, 1)


async def test_fifty_clients_with_different_parts_cause_one_download(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.latency = 0.02
    hub.bandwidth = 400_000
    slices = [(first, first + 5000) for first in range(0, SIZE, SIZE // 50)]
    random.Random(50).shuffle(slices)
    got = await asyncio.gather(*(get(mirror, f"bytes={first}-{end - 1}") for first, end in slices))
    assert [one.full_body for one in got] == [DATA[first:end] for first, end in slices]
    await here(mirror, DIGEST)
    assert whole_downloads(hub) == 1
    assert 0 < len(asked_parts(hub)) < 50  # those that were near came with the file


async def test_who_asks_for_parts_is_asked_for_by_its_own_name(hub: FakeHub, waiting: RunningMirror) -> None:
    hub.add_blob("team/app", DATA)
    await fetch(waiting, blob(DIGEST, "team/app"), Range="bytes=0-9")  # joins
    hub.clear()
    got = await fetch(waiting, blob(DIGEST, "team/app"), Range=PART)
    assert got.full_body == DATA[FIRST:END]
    assert hub.log()[0] == f"registry GET {blob(DIGEST, 'team/app')} 307"
    await check_only_download(hub, waiting)


async def test_token_and_address_that_have_expired_meanwhile(hub: FakeHub, waiting: RunningMirror) -> None:
    hub.revoke_tokens()
    hub.expire_urls()
    assert (await get(waiting)).full_body == DATA[FIRST:END]
    assert hub.log() == [f"registry GET {blob(DIGEST)} 401", "token GET /token 200", *BY_ITSELF]
    await check_only_download(hub, waiting)


async def test_upstream_that_is_not_asked_now_is_not_asked(hub: FakeHub, waiting: RunningMirror) -> None:
    upstream = waiting.application[SERVICES].blob_pulls._upstreams["docker.io"]
    upstream._endpoints.all[0].breaker._health.is_open = True
    task = asyncio.create_task(get(waiting))
    await asyncio.sleep(0.1)
    hub.release()
    assert (await task).full_body == DATA[FIRST:END]
    assert hub.log() == []


async def test_no_more_than_so_many_at_a_time(
    hub: FakeHub, waiting: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_AT_A_TIME", 3)
    hub.fault("cdn", Hang("body", 1000))
    tasks = [asyncio.create_task(get(waiting, f"bytes={FIRST + n}-{END + n}")) for n in range(10)]
    await until(lambda: hub.count("cdn") == 3)
    await asyncio.sleep(0.1)
    assert hub.count("cdn") == 3
    hub.clear_faults()
    assert [(await task).full_body for task in tasks] == [DATA[FIRST + n : END + n + 1] for n in range(10)]
    hub.clear()


# Clients that ask for the same part


def kept(mirror: RunningMirror) -> tuple[int, int]:
    """Requests under way, and bytes of memory that are taken for them."""
    parts = mirror.application[SERVICES].blob_pulls._ahead
    return parts._under_way, parts._kept


def readers(mirror: RunningMirror) -> int:
    """Of parts that are shared."""
    return sum(flight.readers for flight in mirror.application[SERVICES].blob_pulls._ahead._flights.values())


async def test_fifty_clients_with_the_same_part_cause_one_request(hub: FakeHub, waiting: RunningMirror) -> None:
    hub.fault("cdn", Hang("body", 1000), times=1)
    tasks = [asyncio.create_task(get(waiting)) for _ in range(49)]
    await until(lambda: readers(waiting) == 49)
    late = asyncio.create_task(get(waiting))
    other = await get(waiting, f"bytes={FIRST}-{END}")  # one byte more is another part
    assert other.full_body == DATA[FIRST : END + 1]
    assert not any(task.done() for task in tasks)
    assert kept(waiting) == (1, END - FIRST)
    hub.fault("cdn", Hang("headers"))  # a second request for it would wait for ever
    hub.release()
    assert {(await task).full_body for task in [*tasks, late]} == {DATA[FIRST:END]}
    assert asked_parts(hub) == [PART, f"bytes={FIRST}-{END}"]
    assert kept(waiting) == (0, 0)
    await here(waiting, DIGEST)
    assert whole_downloads(hub) == 0


async def test_part_is_forgotten_when_nobody_reads_it_any_more(hub: FakeHub, waiting: RunningMirror) -> None:
    for _ in range(2):
        assert (await get(waiting)).full_body == DATA[FIRST:END]
        assert kept(waiting) == (0, 0)
    assert asked_parts(hub) == [PART, PART]


@dataclass(frozen=True)
class LateFailure(Fault):
    """A 500 that comes with `hub.release()`."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(Status(500).bend(reply, asked), hold="headers")


async def test_failure_is_shared_and_asked_anew(hub: FakeHub, waiting: RunningMirror) -> None:
    hub._released = asyncio.Event()  # the download goes on waiting for the one before
    hub.fault("cdn", LateFailure(), times=1)
    failed = [asyncio.create_task(get(waiting)) for _ in range(10)]
    await until(lambda: readers(waiting) == 10 and asked_parts(hub) == [PART])
    hub.release()
    await until(lambda: kept(waiting) == (0, 0))
    assert not any(task.done() for task in failed)  # they wait for the file
    assert (await get(waiting)).full_body == DATA[FIRST:END]
    assert asked_parts(hub) == [PART, PART]
    for task in failed:
        task.cancel()
    await asyncio.gather(*failed, return_exceptions=True)


async def test_long_parts_are_asked_for_by_each(
    hub: FakeHub, waiting: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_SHORT_BYTES", END - FIRST - 1)
    got = await asyncio.gather(get(waiting), get(waiting))
    assert {one.full_body for one in got} == {DATA[FIRST:END]}
    assert asked_parts(hub) == [PART, PART]


async def test_without_memory_for_it_a_part_is_asked_for_by_each(
    hub: FakeHub, waiting: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_MEMORY_BYTES", END - FIRST)
    hub.fault("cdn", Hang("body", 1000), times=1)
    first = asyncio.create_task(get(waiting))
    await until(lambda: hub.count("cdn") == 1)
    for _ in range(2):
        assert (await get(waiting, f"bytes={FIRST + 1}-{END}")).full_body == DATA[FIRST + 1 : END + 1]
    assert kept(waiting) == (1, END - FIRST)
    hub.release()
    assert (await first).full_body == DATA[FIRST:END]


async def test_who_leaves_does_not_stop_what_others_read(hub: FakeHub, waiting: RunningMirror) -> None:
    hub.fault("cdn", Hang("body", 1000), times=1)
    async with connect(waiting) as (reader, writer):
        await send_head(writer, "GET", blob(DIGEST), Range=PART)
        await read_head(reader)
        stays = asyncio.create_task(get(waiting))
        await until(lambda: readers(waiting) == 2)
    hub.release()
    assert (await stays).full_body == DATA[FIRST:END]
    assert asked_parts(hub) == [PART]


# Clients that leave


async def test_client_that_leaves_stops_only_its_own_request(hub: FakeHub, mirror: RunningMirror) -> None:
    """As containerd does: it asks for everything from somewhere on, and closes when it has enough."""
    digest, data = random_blob("leaves", 24_000_000)  # more than all the buffers on the way
    hub.add_blob(NAME, data)
    hub.fault("cdn", Hang("body", CAME), times=1)
    first = asyncio.create_task(fetch(mirror, blob(digest)))
    await until(lambda: partial_size(mirror, digest) == CAME)
    async with connect(mirror) as (stays, writer), connect(mirror) as (leaves, other):
        for one in (writer, other):
            await send_head(one, "GET", blob(digest), Range="bytes=1000000-")
        for reader in (stays, leaves):
            assert (await read_head(reader))[0] == 206
            assert await reader.readexactly(1000) == data[1_000_000:1_001_000]
        assert answering(hub) == 3
        other.transport.abort()
        await until(lambda: answering(hub) == 2)
        rest = await asyncio.wait_for(stays.readexactly(len(data) - 1_001_000), 10)
        assert rest == data[1_001_000:]
    assert partial_size(mirror, digest) == CAME
    hub.release()
    assert (await first).full_body == data
    assert whole_downloads(hub) == 1


# What may go wrong


@dataclass(frozen=True)
class OtherPart(Fault):
    """The range that was asked for, and then some other one with its name on."""

    content_range: str
    body: bytes = DATA[: END - FIRST]

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"Content-Range": self.content_range}, body=self.body)


@dataclass(frozen=True)
class Longer(Fault):
    """More bytes than its Content-Range says, and a Content-Length that says so, too."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({}, body=reply.body + b"surplus")


@dataclass(frozen=True)
class Endless(Fault):
    """The same without any length: the surplus shows only when it comes."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({}, body=reply.body + b"surplus", chunked=True)


NOT_PARTS: list[Fault] = [
    *(IgnoreRange(), Status416(), Status(404), Gzip(), Html200(), Empty200()),
    OtherPart(f"bytes 0-{END - FIRST - 1}/{SIZE}"),
    OtherPart(f"bytes {FIRST}-{END - 1}/{SIZE + 1}"),
    OtherPart(f"bytes {FIRST}-{END - 2}/{SIZE}"),
    OtherPart("bytes */400000"),
    *(LongLength(5), Longer()),
]
FOR_NOW: list[Fault] = [
    Status(400),
    Status(403),
    Status(429),
    Status(500),
    Drop(),
    CutAt(0),
    CutAt(10_000),
]


@pytest.mark.parametrize("fault", [*NOT_PARTS, *FOR_NOW, ShortLength(5)], ids=lambda fault: repr(fault)[:40])
async def test_what_does_not_come_by_itself_is_waited_for(hub: FakeHub, waiting: RunningMirror, fault: Fault) -> None:
    hub.fault("cdn", fault)
    task = asyncio.create_task(get(waiting))
    await until(lambda: hub.count("cdn") > 0)
    await asyncio.sleep(0.1)
    assert not task.done()
    hub.clear()
    again = asyncio.create_task(get(waiting, f"bytes={FIRST + 1}-{END - 1}"))
    if fault in NOT_PARTS:
        await asyncio.sleep(0.1)
        assert hub.log() == []  # it would send the whole each time
    elif fault in FOR_NOW:
        await until(lambda: hub.count("cdn") > 0)
    hub.clear_faults()
    assert ((await task).status, (await task).full_body) == (206, DATA[FIRST:END])
    assert (await again).full_body == DATA[FIRST + 1 : END]
    await here(waiting, DIGEST)


@pytest.mark.parametrize("fault", [NoLength(), Endless()], ids=repr)
async def test_what_is_right_nevertheless(hub: FakeHub, waiting: RunningMirror, fault: Fault) -> None:
    hub.fault("cdn", fault)
    assert (await get(waiting)).full_body == DATA[FIRST:END]
    await check_only_download(hub, waiting)


async def test_refused_by_the_registry_itself_is_waited_for(hub: FakeHub, waiting: RunningMirror) -> None:
    hub.fault("blob", Status(404))
    task = asyncio.create_task(get(waiting))
    await asyncio.sleep(0.1)
    assert not task.done()
    hub.clear_faults()
    assert (await task).full_body == DATA[FIRST:END]
    assert hub.count("cdn") == 0


@pytest.mark.parametrize("before", [Hang("headers"), Hang("body", 1000)], ids=repr)
async def test_request_that_goes_silent_is_overtaken_by_the_file(
    hub: FakeHub, mirror: RunningMirror, before: Hang
) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Trickle(800_000), times=1)
    hub.fault("cdn", before, times=1)
    assert (await get(mirror)).full_body == DATA[FIRST:END]
    assert (whole_downloads(hub), asked_parts(hub)) == (1, [PART])
    await here(mirror, DIGEST)
    await until(lambda: answering(hub) <= 1)  # the silent one is not waited for, either


async def test_part_comes_to_its_end_though_the_download_fails(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"read_timeout": 0.4})
    await begin_to_wait(hub, mirror)
    hub.fault("cdn", Trickle(20_000), times=1)
    task = asyncio.create_task(get(mirror))
    await until(lambda: hub.count("cdn") == 1)
    hub.fault("blob", Status(404))  # when the download tries to go on
    await until(lambda: partial_size(mirror, DIGEST) == -1)
    assert not task.done()
    assert (await task).full_body == DATA[FIRST:END]


async def test_download_that_fails_is_an_error_where_nothing_is_sent_yet(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"read_timeout": 0.4})
    await begin_to_wait(hub, mirror)
    hub.fault("blob", Status(404))
    got = await get(mirror)
    assert (got.status, got.complete) == (404, True)


async def test_wrong_bytes_are_stored_nowhere(hub: FakeHub, waiting: RunningMirror) -> None:
    """They cannot be verified here; whoever asks for parts has to."""
    hub.fault("cdn", WrongBytes(), times=1)
    assert (await get(waiting)).body != DATA[FIRST:END]
    await check_only_download(hub, waiting)
