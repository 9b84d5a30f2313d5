"""An upstream that says nothing, or next to nothing: over in bounded time, and told apart from one that is down."""

import asyncio

import pytest

from mirror.upstream import answer
from tests.conftest import RunningMirror, Server
from tests.fakes.faults import Hang, Status, Trickle, Where
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import (
    NAME,
    bare_upstream,
    blob,
    cdn_path,
    connect,
    fetch,
    here,
    manifest,
    partial_size,
    read_head,
    send_head,
    until,
)

IMAGE = make_image("silence", [300_000])
(LAYER,) = IMAGE.layers
DATA = IMAGE.blobs[LAYER]


@pytest.fixture
async def impatient(hub: FakeHub, server: Server) -> RunningMirror:
    """A server that knows the image and waits for a second at most."""
    mirror = await server(upstream={"connect_timeout": 1, "read_timeout": 1})
    hub.add_image(NAME, "latest", IMAGE)
    assert (await mirror.get(manifest("latest"))).status == 200
    hub.clear()
    return mirror


async def test_silence_before_the_headers__is_504_and_not_repeated(hub: FakeHub, impatient: RunningMirror) -> None:
    """It has cost its wait already; asking again would only double it."""
    hub.add_image(NAME, "other", make_image("silence/other", [10]))
    hub.fault("manifest", Hang())
    hub.fault("cdn", Hang())
    for path in (manifest("other"), blob(LAYER)):
        async with asyncio.timeout(5):
            got = await fetch(impatient, path)
        assert (got.status, got.complete) == (504, True)
        assert b"UPSTREAM_TIMEOUT" in got.body
        assert (f"(at {hub.cdn_host})".encode() in got.body) == (path == blob(LAYER))
    assert hub.log() == [
        f"registry GET {manifest('other')} -",
        f"registry GET {blob(LAYER)} 307",
        f"cdn GET {cdn_path(LAYER)} -",
    ]


async def test_silence_in_the_body__is_gone_on_after_and_then_cut(hub: FakeHub, impatient: RunningMirror) -> None:
    hub.fault("cdn", Hang("body", 1000))
    async with asyncio.timeout(10):
        got = await fetch(impatient, blob(LAYER))
    assert (got.status, got.complete, got.body) == (200, False, DATA[:3000])
    assert [seen.headers.get("Range") for seen in hub.requests if seen.server == "cdn"] == [
        None,
        "bytes=1000-",
        "bytes=2000-",
    ]
    hub.clear_faults()
    assert (await fetch(impatient, blob(LAYER))).full_body == DATA
    assert hub.requests[-1].headers["Range"] == "bytes=3000-"


async def test_silence_in_the_body__once_is_mended(hub: FakeHub, impatient: RunningMirror) -> None:
    hub.fault("cdn", Hang("body", 1000), times=1)
    assert (await fetch(impatient, blob(LAYER))).full_body == DATA
    assert hub.count("cdn") == 2


async def test_trickle__that_no_read_timeout_would_notice(
    hub: FakeHub, impatient: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "_PERIOD_SECONDS", 0.5)
    hub.fault("cdn", Trickle(2000))
    async with asyncio.timeout(10):
        got = await fetch(impatient, blob(LAYER))
    assert (got.status, got.complete) == (200, False)
    assert DATA.startswith(got.body)
    assert hub.count("cdn") == 3
    hub.clear_faults()
    assert (await fetch(impatient, blob(LAYER))).full_body == DATA


async def test_trickle__of_what_is_small(
    hub: FakeHub, impatient: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens, manifests and lists have a time for the whole of them."""
    monkeypatch.setattr(answer, "_BODY_SECONDS", 0.5)
    hub.add_image("org/app", "v1", make_image("silence/app", [10]))
    paths: dict[Where, str] = {
        "tags": f"/v2/{NAME}/tags/list",
        "manifest": manifest("v2"),
        "token": manifest("v1", "org/app"),
    }
    for where, path in paths.items():
        hub.add_image(NAME, "v2", make_image("silence/v2", [10]))
        hub.fault(where, Trickle(20))
        async with asyncio.timeout(10):
            got = await fetch(impatient, path)
        assert got.status == (200 if where == "tags" else 504)  # there it has something to fall back on
        hub.clear_faults()
        assert (await fetch(impatient, path)).status == 200


async def test_trickle__of_a_head(server: Server) -> None:
    """A header line now and then: the connection is never silent, and the answer never begins."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.2)

    async with bare_upstream(answer) as url:
        mirror = await server(upstream={"url": url, "connect_timeout": 0.5, "read_timeout": 0.5})
        async with asyncio.timeout(10):
            for path in (manifest("latest"), blob(LAYER)):
                assert (await fetch(mirror, path)).status == 504


async def test_slow_but_steady__is_left_alone(
    hub: FakeHub, impatient: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three periods, each with more than the least there must be; and the client sees it grow."""
    monkeypatch.setattr(answer, "_PERIOD_SECONDS", 0.5)
    hub.fault("cdn", Trickle(200_000))
    async with connect(impatient) as (reader, writer):
        await send_head(writer, "GET", blob(LAYER))
        status, _ = await read_head(reader)
        assert status == 200
        assert await asyncio.wait_for(reader.readexactly(1000), 5) == DATA[:1000]
        assert 0 < partial_size(impatient, LAYER) < len(DATA)
    await here(impatient, LAYER)
    assert hub.count("cdn") == 1


async def test_one_hanging_repository_does_not_hold_up_another(hub: FakeHub, impatient: RunningMirror) -> None:
    hub.add_image("org/stuck", "v1", IMAGE)
    hub.fault("manifest", Hang(), match="org/stuck")
    stuck = [asyncio.create_task(fetch(impatient, manifest("v1", "org/stuck"))) for _ in range(20)]
    await until(lambda: hub.count(path_contains="org/stuck") > 0)
    assert (await fetch(impatient, blob(LAYER))).full_body == DATA
    assert not any(task.done() for task in stuck)
    assert {(await task).status for task in stuck} == {504}
    assert hub.count("registry", path_contains="org/stuck") <= 2


@pytest.mark.parametrize(("code", "requests"), [(500, 3), (502, 3), (503, 3), (504, 3), (400, 1), (405, 1), (410, 1)])
async def test_number_of_tries(hub: FakeHub, impatient: RunningMirror, code: int, requests: int) -> None:
    """What may pass is tried three times in all; what will not, once."""
    hub.add_image(NAME, "other", make_image("silence/other", [10]))
    hub.fault("manifest", Status(code))
    assert (await fetch(impatient, manifest("other"))).status == 502
    assert hub.count("registry") == requests


async def test_burst_of_failures__is_not_seen_by_the_client(hub: FakeHub, impatient: RunningMirror) -> None:
    hub.fault("cdn", Status(503), times=2)
    assert (await fetch(impatient, blob(LAYER))).full_body == DATA
    assert hub.count("cdn") == 3


async def test_upstream_that_refuses_connections(hub: FakeHub, impatient: RunningMirror) -> None:
    await hub.stop()
    async with asyncio.timeout(5):
        got = await fetch(impatient, manifest("other"))
    assert (got.status, got.complete) == (502, True)
    assert b"cannot be reached" in got.body
    assert (await fetch(impatient, manifest("latest"))).full_body == IMAGE.manifest


async def test_upstream_whose_name_does_not_resolve(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"url": "http://nothing.invalid", "connect_timeout": 1, "read_timeout": 1})
    async with asyncio.timeout(20):
        got = await fetch(mirror, manifest("latest"))
    assert (got.status, got.complete) == (502, True)
    assert b"UPSTREAM_FAILED" in got.body


async def test_upstream_that_does_not_speak_http(server: Server) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()

    async with bare_upstream(answer) as url:
        mirror = await server(upstream={"url": url, "read_timeout": 1})
        got = await fetch(mirror, manifest("latest"))
    assert (got.status, got.complete) == (502, True)
