"""What breaks off goes on from where it was: within a request, after a failure, after a restart of the server."""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mirror.upstream.retry import RESUMING_ATTEMPTS
from ocispec.digest import Digest
from storage.layout import Layout
from tests.conftest import Clock, RunningMirror, config_for, running
from tests.fakes.faults import Asked, CutAt, Fault, Hang, IgnoreRange, Reply
from tests.fakes.images import digest_of, make_image, random_blob
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
    layout,
    manifest,
    partial_size,
    read_head,
    send_head,
    stored,
    until,
)

IMAGE = make_image("resume", [700_000])
(LAYER,) = IMAGE.layers
DATA = IMAGE.blobs[LAYER]
HALF = 200_000


def ranges(hub: FakeHub) -> list[str]:
    """What was asked for in parts, of the CDN."""
    return [seen.headers["Range"] for seen in hub.requests if seen.server == "cdn" and "Range" in seen.headers]


async def know(hub: FakeHub, mirror: RunningMirror) -> None:
    """Let the server know the image, and so how long its blobs are."""
    hub.add_image(NAME, "latest", IMAGE)
    assert (await mirror.get(manifest("latest"))).status == 200
    hub.clear()


@dataclass(frozen=True)
class BreakAfter(Fault):
    """Sends `size` bytes, waits until they are taken up (`hub.release()`), and closes the connection."""

    size: int

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, hold="body", hold_after=self.size, cut=self.size)


async def fetch_over_breaks(hub: FakeHub, mirror: RunningMirror, *at: int) -> Got:
    """A blob whose download breaks off whenever it has just grown to one of these sizes."""
    task = asyncio.create_task(fetch(mirror, blob(LAYER)))
    for size in at:
        await until(lambda reached=size: partial_size(mirror, LAYER) == reached)  # type: ignore[misc]
        hub.release()
    return await task


async def test_break__is_mended_within_the_request(hub: FakeHub, mirror: RunningMirror) -> None:
    await know(hub, mirror)
    hub.fault("cdn", BreakAfter(HALF), times=1)
    assert (await fetch_over_breaks(hub, mirror, HALF)).full_body == DATA
    assert hub.log() == [*cold_blob(LAYER), f"registry GET {blob(LAYER)} 307", f"cdn GET {cdn_path(LAYER)} 206"]
    assert ranges(hub) == [f"bytes={HALF}-"]
    assert hub.requests[-1].headers["If-Range"] == f'"{LAYER[7:39]}"'  # the tag that the first answer had


@pytest.mark.parametrize("reset", [False, True])
async def test_break__at_full_speed(hub: FakeHub, mirror: RunningMirror, reset: bool) -> None:
    """What was on its way is lost, and asked for again."""
    await know(hub, mirror)
    hub.fault("cdn", CutAt(HALF, reset=reset), times=1)
    assert (await fetch(mirror, blob(LAYER))).full_body == DATA
    assert hub.count("cdn") == 2


async def test_break__upstream_that_cannot_go_on_in_the_middle(hub: FakeHub, mirror: RunningMirror) -> None:
    await know(hub, mirror)
    hub.fault("cdn", BreakAfter(HALF), times=1)
    hub.fault("cdn", IgnoreRange())
    assert (await fetch_over_breaks(hub, mirror, HALF)).full_body == DATA
    assert ranges(hub) == [f"bytes={HALF}-"]


async def test_break__again_and_again_as_long_as_it_gets_on(hub: FakeHub, mirror: RunningMirror) -> None:
    """Nine breaks are more than the seven tries that one without progress has."""
    await know(hub, mirror)
    hub.fault("cdn", BreakAfter(70_000))
    breaks = range(70_000, len(DATA), 70_000)
    assert len(breaks) > RESUMING_ATTEMPTS
    assert (await fetch_over_breaks(hub, mirror, *breaks)).full_body == DATA
    assert ranges(hub) == [f"bytes={start}-" for start in breaks]


async def test_break__without_progress_ends_it_and_keeps_what_came(hub: FakeHub, mirror: RunningMirror) -> None:
    await know(hub, mirror)
    hub.fault("cdn", BreakAfter(1000))
    async with asyncio.timeout(10):
        got = await fetch_over_breaks(hub, mirror, *range(1000, 8000, 1000))
    assert not got.complete
    assert got.body == DATA[:7000]
    assert hub.count("cdn") == 7
    hub.clear_faults()
    hub.clear()
    assert (await fetch(mirror, blob(LAYER))).full_body == DATA
    assert ranges(hub) == ["bytes=7000-"]


async def test_break__signed_address_and_token_that_have_expired_meanwhile(hub: FakeHub, mirror: RunningMirror) -> None:
    await know(hub, mirror)
    hub.fault("cdn", Hang("body", HALF), times=1)
    hub.url_lifetime = 600
    task = asyncio.create_task(fetch(mirror, blob(LAYER)))
    await until(lambda: partial_size(mirror, LAYER) == HALF)
    hub.expire_urls()
    hub.revoke_tokens()
    await hub.stop("cdn")
    await hub.start("cdn")
    assert (await task).full_body == DATA
    assert hub.log()[2:] == [
        f"registry GET {blob(LAYER)} 401",
        "token GET /token 200",
        f"registry GET {blob(LAYER)} 307",
        f"cdn GET {cdn_path(LAYER)} 206",
    ]
    assert ranges(hub) == [f"bytes={HALF}-"]


async def test_restart__goes_on_with_the_bytes_on_disk(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    config = config_for(hub, tmp_path / "store", server={"drain_timeout": 0.05})
    hub.fault("cdn", Hang("body", HALF), times=1)
    async with AsyncExitStack() as stack:
        async with running(config, clock) as mirror:
            await know(hub, mirror)
            reader, writer = await stack.enter_async_context(connect(mirror))
            await send_head(writer, "GET", blob(LAYER))
            await read_head(reader)
            await until(lambda: partial_size(mirror, LAYER) == HALF)
        with suppress(ConnectionResetError):  # cut, whatever the kernel makes of it
            assert await asyncio.wait_for(reader.read(), 5) == DATA[:HALF]
    hub.clear()
    async with running(config, clock) as mirror:
        assert stored(mirror) == {IMAGE.digest}
        assert (await fetch(mirror, blob(LAYER))).full_body == DATA
        await here(mirror, LAYER)
        assert partial_size(mirror, LAYER) == -1
    assert ranges(hub) == [f"bytes={HALF}-"]
    assert hub.count("cdn") == 1


async def test_restart__bytes_that_are_not_those_are_never_served(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    config = config_for(hub, tmp_path / "store")
    async with running(config, clock) as mirror:
        await know(hub, mirror)
    file = Layout(tmp_path / "store").partial(Digest.parse(LAYER))
    file.write_bytes(b"x" * HALF)
    async with running(config, clock) as mirror:
        got = await fetch(mirror, blob(LAYER))
        assert not got.complete or got.status == 502
        assert (await fetch(mirror, blob(LAYER))).full_body == DATA


@pytest.mark.parametrize("surplus", [0, 1, 1000])
async def test_restart__file_that_was_complete_or_too_long(
    hub: FakeHub, tmp_path: Path, clock: Clock, surplus: int
) -> None:
    """Complete: nothing is left to ask for. Too long: it cannot be a beginning of the blob."""
    config = config_for(hub, tmp_path / "store")
    async with running(config, clock) as mirror:
        await know(hub, mirror)
    file = Layout(tmp_path / "store").partial(Digest.parse(LAYER))
    file.write_bytes(DATA + b"x" * surplus)
    async with running(config, clock) as mirror:
        if surplus:
            await fetch(mirror, blob(LAYER))
            await until(lambda: partial_size(mirror, LAYER) == -1)
        assert (await fetch(mirror, blob(LAYER))).full_body == DATA
    assert surplus or hub.count("cdn") == 0


async def test_restart__without_the_manifest_begins_anew(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    digest, data = random_blob("no manifest", 300_000)
    hub.add_blob(NAME, data)
    (tmp_path / "store" / "partial").mkdir(parents=True)
    Layout(tmp_path / "store").partial(Digest.parse(digest)).write_bytes(data[:1000])
    async with running(config_for(hub, tmp_path / "store"), clock) as mirror:
        assert (await fetch(mirror, blob(digest))).full_body == data
    assert ranges(hub) == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "longer", "empty"])
async def test_damaged_file_is_fetched_again(hub: FakeHub, mirror: RunningMirror, damage: str) -> None:
    await know(hub, mirror)
    await fetch(mirror, blob(LAYER))
    await here(mirror, LAYER)
    hub.clear()
    file = layout(mirror).blob(Digest.parse(LAYER))
    file.chmod(0o644)
    match damage:
        case "missing":
            file.unlink()
        case "truncated":
            file.write_bytes(DATA[:-1])
        case "longer":
            file.write_bytes(DATA + b"x")
        case _:
            file.write_bytes(b"")
    head = await fetch(mirror, blob(LAYER), "HEAD")
    assert (head.status, head.headers["Content-Length"], head.headers["X-Cache"]) == (200, str(len(DATA)), "miss")
    got = await fetch(mirror, blob(LAYER))
    assert (got.full_body, got.headers["X-Cache"]) == (DATA, "miss")
    assert hub.log()[-2:] == cold_blob(LAYER)
    await here(mirror, LAYER)
    assert digest_of(file.read_bytes()) == LAYER
    assert (await fetch(mirror, blob(LAYER))).headers["X-Cache"] == "hit"


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
async def test_damaged_manifest_is_fetched_again(hub: FakeHub, mirror: RunningMirror, damage: str) -> None:
    """Its bytes are small: they are checked whenever they come from the disk."""
    await know(hub, mirror)
    file = layout(mirror).blob(Digest.parse(IMAGE.digest))
    file.chmod(0o644)
    match damage:
        case "missing":
            file.unlink()
        case "truncated":
            file.write_bytes(IMAGE.manifest[:-1])
        case _:
            file.write_bytes(IMAGE.manifest[:-1] + b"]")
    mirror.store.manifests._hot.forget(next(iter(mirror.store.repositories)))  # what is in memory is whole
    assert (await mirror.get(manifest(IMAGE.digest))).body == IMAGE.manifest
    assert hub.log() == [f"registry GET {manifest(IMAGE.digest)} 200"]
    assert file.read_bytes() == IMAGE.manifest
