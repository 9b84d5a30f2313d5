"""A long blob by several connections at once, where the operator wants that: its file still grows in order."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mirror.pull import source, window
from mirror.upstream import answer, limits
from ocispec.digest import Digest
from storage.layout import Layout
from tests.conftest import Clock, RunningMirror, Server, config_for, running
from tests.fakes.faults import Asked, CutAt, Drop, Fault, Gzip, Hang, IgnoreRange, NoLength, Reply, Status, WrongBytes
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, cold_blob, fetch, here, manifest, partial_size, stored, until

PART = 100_000
IMAGE = make_image("connections", [1_050_000, 150_000, 900_000])
LONG, SHORT, OTHER = IMAGE.layers
DATA = IMAGE.blobs[LONG]
SIZE = len(DATA)
ETAG = f'"{LONG[7:39]}"'
PARTS = [f"bytes={first}-{min(SIZE, first + PART) - 1}" for first in range(0, SIZE, PART)]
FOUR = {"connections_per_blob": 4}


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "PART_BYTES", PART)
    monkeypatch.setattr(source, "_LONG_BYTES", 2 * PART)


async def knowing(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    """The server, knowing the image, and so how long its blobs are."""
    hub.add_image(NAME, "latest", IMAGE)
    assert (await mirror.get(manifest("latest"))).status == 200
    hub.clear()
    return mirror


@pytest.fixture
async def four(hub: FakeHub, server: Server) -> RunningMirror:
    return await knowing(hub, await server(upstream=FOUR))


def asked(hub: FakeHub) -> list[str]:
    """What the CDN was asked for, in that order; "" for a whole blob."""
    return [seen.headers.get("Range", "") for seen in hub.requests if seen.server == "cdn"]


@dataclass(frozen=True)
class OfParts(Fault):
    """Another fault for those parts only that begin at `first`, or anywhere but at 0; the first `times` of them."""

    fault: Fault
    first: int | None = None
    times: int = 1_000_000
    hits: list[int] = field(default_factory=list)

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        first = int(reply.headers.get("Content-Range", "bytes 0-").removeprefix("bytes ").partition("-")[0])
        if (first == 0 if self.first is None else first != self.first) or len(self.hits) == self.times:
            return reply
        self.hits.append(first)
        return self.fault.bend(reply, asked)


@dataclass(frozen=True)
class Changed(Fault):
    """The blob is another entity by now; what comes is a part all the same (`is_part`), or all of it."""

    is_part: bool

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        changed = reply.having({"ETag": '"another"'})
        return changed if self.is_part else IgnoreRange().bend(changed, asked)


@dataclass(frozen=True)
class Shifted(Fault):
    """Another part than was asked for."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"Content-Range": f"bytes 1-{PART}/{SIZE}"}, body=DATA[1 : PART + 1])


@dataclass(frozen=True)
class SecondLimited(Fault):
    """The second request is one too many."""

    seen: list[str] = field(default_factory=list)

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        self.seen.append(asked.url)
        return Status(429).bend(reply, asked) if len(self.seen) == 2 else reply


async def test_each_part_is_asked_for_once_and_of_one_entity(hub: FakeHub, four: RunningMirror) -> None:
    got = await fetch(four, blob(LONG))
    assert (got.full_body, got.headers["Content-Length"]) == (DATA, str(SIZE))
    assert Counter(asked(hub)) == Counter(PARTS)
    conditions = {seen.headers.get("If-Range") for seen in hub.requests if seen.headers.get("Range") != PARTS[0]}
    assert conditions == {ETAG}
    await here(four, LONG)
    hub.clear()
    assert (await fetch(four, blob(LONG))).full_body == DATA
    assert hub.log() == []


async def test_as_many_connections_as_it_says_and_no_more(hub: FakeHub, four: RunningMirror) -> None:
    hub.fault("cdn", Hang("body", 10))
    task = asyncio.create_task(fetch(four, blob(LONG)))
    await until(lambda: hub.count("cdn") == 4)
    await asyncio.sleep(0.1)
    assert asked(hub) == PARTS[:4]
    hub.clear_faults()
    assert (await task).full_body == DATA


async def test_parts_that_are_early_wait_in_memory_for_their_turn(hub: FakeHub, four: RunningMirror) -> None:
    hub.fault("cdn", Hang("body", 10), times=1)
    task = asyncio.create_task(fetch(four, blob(LONG)))
    await until(lambda: hub.count("cdn") == 4)
    await asyncio.sleep(0.1)
    assert partial_size(four, LONG) == 10
    assert asked(hub) == PARTS[:4]  # no further ahead than there is room for
    hub.release()
    assert (await task).full_body == DATA
    assert Counter(asked(hub)) == Counter(PARTS)


async def test_by_default_and_for_what_is_short_there_is_one_request(
    hub: FakeHub, server: Server, four: RunningMirror
) -> None:
    assert (await fetch(four, blob(SHORT))).full_body == IMAGE.blobs[SHORT]
    assert hub.log() == cold_blob(SHORT)
    plain = await knowing(hub, await server())
    assert (await fetch(plain, blob(LONG))).full_body == DATA
    assert hub.log() == cold_blob(LONG)


async def test_length_that_nobody_knows_before_is_one_request(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream=FOUR)
    hub.add_blob(NAME, DATA)
    assert (await fetch(mirror, blob(LONG))).full_body == DATA
    assert asked(hub) == [""]


@pytest.mark.parametrize("chunked", [False, True])
async def test_upstream_that_knows_no_parts_sends_the_whole_at_once(
    hub: FakeHub, four: RunningMirror, chunked: bool
) -> None:
    @dataclass(frozen=True)
    class Whole(Fault):
        def bend(self, reply: Reply, asked: Asked) -> Reply:
            whole = IgnoreRange().bend(reply, asked)
            return NoLength().bend(whole, asked) if chunked else whole

    hub.fault("cdn", Whole())
    assert (await fetch(four, blob(LONG))).full_body == DATA
    assert asked(hub) == PARTS[:1]


@pytest.mark.parametrize(
    "fault",
    [IgnoreRange(), Changed(is_part=False), Changed(is_part=True), Shifted(), Status(416), Gzip(), Status(429)],
    ids=lambda fault: repr(fault)[:40],
)
async def test_parts_that_are_not_to_be_had_leave_one_connection(
    hub: FakeHub, four: RunningMirror, fault: Fault
) -> None:
    """Here only what begins a blob is answered as it should be, and what asks for all the rest."""

    @dataclass(frozen=True)
    class Bounded(Fault):
        def bend(self, reply: Reply, asked: Asked) -> Reply:
            is_rest = reply.headers.get("Content-Range", "").endswith(f"-{SIZE - 1}/{SIZE}")
            return reply if is_rest else OfParts(fault).bend(reply, asked)

    hub.fault("cdn", Bounded())
    assert (await fetch(four, blob(LONG))).full_body == DATA
    *parts, rest = asked(hub)
    assert set(parts) <= set(PARTS[:5])
    assert len(parts) == len(set(parts))
    assert rest == f"bytes={PART}-"
    await here(four, LONG)


async def test_limit_on_requests_is_waited_out_with_one_connection(
    hub: FakeHub, four: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 0.5)
    monkeypatch.setattr(limits, "_MAX_LIMITED", 0.5)
    hub.fault("cdn", OfParts(Status(429), times=3))
    assert (await fetch(four, blob(LONG))).full_body == DATA
    assert asked(hub)[-1] == f"bytes={PART}-"
    assert len(asked(hub)) <= 5


async def test_limit_on_connections_is_met_once_and_holds_nobody_else_up(
    hub: FakeHub, four: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the registry itself: it is the others that are limited, the first one goes on."""
    monkeypatch.setattr(limits, "_LIMITED", 60.0)
    hub.fault("cdn", Hang("body", 10), match=LONG[7:], times=1)
    hub.fault("blob", SecondLimited())
    long = asyncio.create_task(fetch(four, blob(LONG)))
    await until(lambda: any(seen.status == 429 for seen in hub.requests))
    assert (await fetch(four, blob(SHORT))).full_body == IMAGE.blobs[SHORT]
    hub.release()
    assert (await long).full_body == DATA
    hub.clear()
    assert (await fetch(four, blob(OTHER))).full_body == IMAGE.blobs[OTHER]
    assert asked(hub) == [""]


@pytest.mark.parametrize("fault", [CutAt(30_000), Status(500), Drop()], ids=repr)
async def test_part_that_breaks_is_fetched_again_and_the_others_are_kept(
    hub: FakeHub, four: RunningMirror, fault: Fault
) -> None:
    hub.fault("cdn", OfParts(fault, first=2 * PART, times=1))
    assert (await fetch(four, blob(LONG))).full_body == DATA
    again = 2 * PART + (30_000 if isinstance(fault, CutAt) else 0)
    assert Counter(asked(hub)) == Counter([*PARTS, f"bytes={again}-{3 * PART - 1}"])


async def test_part_that_trickles_is_fetched_again(
    hub: FakeHub, four: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Slow(Fault):
        def bend(self, reply: Reply, asked: Asked) -> Reply:
            return reply.having({}, rate=2000.0)

    monkeypatch.setattr(answer, "_PERIOD_SECONDS", 0.5)
    hub.fault("cdn", OfParts(Slow(), first=3 * PART, times=1))
    assert (await fetch(four, blob(LONG))).full_body == DATA
    assert len(asked(hub)) == len(PARTS) + 1


async def test_wrong_bytes_in_one_part_are_never_completed(hub: FakeHub, four: RunningMirror) -> None:
    hub.fault("cdn", OfParts(WrongBytes(), first=5 * PART))
    got = await fetch(four, blob(LONG))
    assert not got.complete
    await until(lambda: partial_size(four, LONG) == -1)
    assert LONG not in stored(four)
    hub.clear_faults()
    assert (await fetch(four, blob(LONG))).full_body == DATA


async def test_goes_on_at_the_next_endpoint(hub: FakeHub, server: Server) -> None:
    async with FakeHub() as second:
        second.add_image(NAME, "latest", IMAGE)
        endpoints = {"urls": [hub.url, second.url], "token_hosts": [hub.token_host, second.token_host]}
        redirects = {"redirect_hosts": [hub.cdn_host, second.cdn_host], "url": ""}
        mirror = await knowing(hub, await server(upstream=FOUR | endpoints | redirects))
        hub.fault("cdn", CutAt(1000))
        assert (await fetch(mirror, blob(LONG))).full_body == DATA
        assert len(asked(hub)) < len(PARTS) <= len(asked(second)) + 3


async def test_goes_on_with_the_bytes_on_disk(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    config = config_for(hub, tmp_path / "store", upstream=FOUR)
    async with running(config, clock) as mirror:
        await knowing(hub, mirror)
    have = 4 * PART + 70_000
    Layout(tmp_path / "store").partial(Digest.parse(LONG)).write_bytes(DATA[:have])
    async with running(config, clock) as mirror:
        assert (await fetch(mirror, blob(LONG))).full_body == DATA
    assert Counter(asked(hub)) == Counter([f"bytes={have}-{5 * PART - 1}", *PARTS[5:]])


async def test_server_that_stops_leaves_what_came_in_order(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    config = config_for(hub, tmp_path / "store", upstream=FOUR, server={"drain_timeout": 0.05})
    async with running(config, clock) as mirror:
        await knowing(hub, mirror)
        hub.fault("cdn", OfParts(Hang("body", 10), first=2 * PART))
        task = asyncio.create_task(fetch(mirror, blob(LONG)))
        await until(lambda: partial_size(mirror, LONG) == 2 * PART + 10)
        task.cancel()
    assert Layout(tmp_path / "store").partial(Digest.parse(LONG)).read_bytes() == DATA[: 2 * PART + 10]


async def test_without_room_in_memory_there_are_fewer_connections(
    hub: FakeHub, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first takes four of five; one is no more than a plain request has. When it is done, there is room again."""
    monkeypatch.setattr(window, "_PARTS", 5)
    mirror = await knowing(hub, await server(upstream=FOUR))
    hub.fault("cdn", Hang("body", 10), match=LONG[7:])
    first = asyncio.create_task(fetch(mirror, blob(LONG)))
    await until(lambda: hub.count("cdn") == 4)
    hub.clear()
    assert (await fetch(mirror, blob(OTHER))).full_body == IMAGE.blobs[OTHER]
    assert asked(hub) == [""]
    hub.clear_faults()
    assert (await first).full_body == DATA
    await here(mirror, LONG, OTHER)
    await mirror.delete(blob(OTHER))
    hub.clear()
    assert (await fetch(mirror, blob(OTHER))).full_body == IMAGE.blobs[OTHER]
    assert len(asked(hub)) == 10


async def test_all_room_is_given_back_whatever_happens(
    hub: FakeHub, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "_PARTS", 4)
    mirror = await knowing(hub, await server(upstream=FOUR))
    for fault in (IgnoreRange(), OfParts(IgnoreRange()), OfParts(Status(404)), WrongBytes(), Status(403)):
        hub.fault("cdn", fault)
        await fetch(mirror, blob(LONG))
        hub.clear_faults()
        await mirror.delete(blob(LONG))
        await until(lambda: partial_size(mirror, LONG) == -1)
    hub.clear()
    assert (await fetch(mirror, blob(LONG))).full_body == DATA
    assert Counter(asked(hub)) == Counter(PARTS)
