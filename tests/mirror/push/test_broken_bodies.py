"""Bodies that break off: what came before stays, so that the client can go on from there."""

import asyncio

import pytest

from mirror.http import body as request_body
from tests.conftest import RunningMirror
from tests.fakes.images import digest_of, random_blob
from tests.mirror.push.pushing import REPOSITORY, begin, check_created, code, finish, patch, push_blob, uploads
from tests.mirror.wire import connect, manifest, read_head, send_head, stored

DIGEST, DATA = random_blob("broken bodies", 300_000)
CUT = 100_000


async def received(mirror: RunningMirror, session: str, size: int) -> None:
    """Wait until the server has so many bytes of the session."""
    async with asyncio.timeout(20):
        while (await mirror.get(session)).headers["Range"] != f"0-{size - 1}":
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("chunked", [False, True])
async def test_cut__keeps_what_came(mirror: RunningMirror, method: str, chunked: bool) -> None:
    session = await begin(mirror)
    path = f"{session}?digest={DIGEST}" if method == "PUT" else session
    async with connect(mirror) as (_, writer):
        if chunked:
            await send_head(writer, method, path, Transfer_Encoding="chunked")
            writer.write(f"{len(DATA):x}\r\n".encode())
        else:
            await send_head(writer, method, path, Content_Length=len(DATA), Content_Range=f"0-{len(DATA) - 1}")
        writer.write(DATA[:CUT])
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
    await received(mirror, session, CUT)
    assert stored(mirror) == set()
    answer = await patch(mirror, session, DATA[CUT:], CUT)
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(DATA) - 1}")
    check_created(await finish(mirror, session, DIGEST), DIGEST)


async def test_cut__of_a_single_post_leaves_nothing(mirror: RunningMirror) -> None:
    async with connect(mirror) as (_, writer):
        await send_head(writer, "POST", f"{uploads()}?digest={DIGEST}", Content_Length=len(DATA))
        writer.write(DATA[:CUT])
        await writer.drain()
        await asyncio.sleep(0.1)
    tmp = mirror.config.storage.root / "tmp"
    async with asyncio.timeout(20):
        while any(tmp.iterdir()):
            await asyncio.sleep(0.01)
    assert stored(mirror) == set()


async def test_cut__of_a_manifest_leaves_nothing(mirror: RunningMirror) -> None:
    body = b'{"schemaVersion": 2'
    await push_blob(mirror, DATA)
    async with connect(mirror) as (_, writer):
        await send_head(writer, "PUT", manifest("v1", REPOSITORY), Content_Length=1000)
        writer.write(body)
        await writer.drain()
        await asyncio.sleep(0.1)
    assert (await mirror.get(manifest("v1", REPOSITORY))).status == 404
    assert stored(mirror) == {DIGEST}


async def test_body_that_stops_coming(mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "_IDLE_SECONDS", 0.3)
    session = await begin(mirror)
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "PATCH", session, Content_Length=len(DATA))
        writer.write(DATA[:CUT])
        status, _ = await read_head(reader)
        assert status == 400
    await received(mirror, session, CUT)
    await patch(mirror, session, DATA[CUT:], CUT)
    check_created(await finish(mirror, session, DIGEST), DIGEST)


async def test_slow_body__is_not_an_idle_one(mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "_IDLE_SECONDS", 0.5)
    session = await begin(mirror)
    data = b"0123456789"
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "PUT", f"{session}?digest={digest_of(data)}", Content_Length=len(data))
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.1)
        assert (await read_head(reader))[0] == 201


async def test_expect_continue(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    async with connect(mirror) as (reader, writer):
        path = f"{session}?digest={DIGEST}"
        await send_head(writer, "PUT", path, Content_Length=len(DATA), Expect="100-continue")
        assert (await read_head(reader))[0] == 100
        writer.write(DATA)
        assert (await read_head(reader))[0] == 201


async def test_refusal_does_not_wait_for_the_body(mirror: RunningMirror) -> None:
    """Docker would send gigabytes first."""
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "POST", f"{uploads('library/app')}?digest={DIGEST}", Content_Length=10**10)
        assert (await read_head(reader))[0] == 405


async def test_many_small_pieces(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    data = bytes(range(256)) * 8
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "PATCH", session, Transfer_Encoding="chunked")
        writer.write(b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in data) + b"0\r\n\r\n")
        status, headers = await read_head(reader)
        assert (status, headers["Range"]) == (202, f"0-{len(data) - 1}")
    check_created(await finish(mirror, session, digest_of(data)), digest_of(data))


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", uploads("UPPER")), ("PUT", manifest("-bad", REPOSITORY)), ("PATCH", uploads() + "0" * 32), ("PUT", "/x")],
)
async def test_connection_goes_on_after_a_refused_body(mirror: RunningMirror, method: str, path: str) -> None:
    """The body that nobody read must not be taken for the next request."""
    async with connect(mirror) as (reader, writer):
        await send_head(writer, method, path, Content_Length=len(DATA))
        writer.write(DATA)
        status, headers = await read_head(reader)
        assert status in (400, 404)
        body = await reader.readexactly(int(headers["Content-Length"]))
        assert b'"errors"' in body
        await send_head(writer, "GET", "/v2/")
        assert (await read_head(reader))[0] == 200


async def test_session_in_use_is_not_lost_on_a_second_client(mirror: RunningMirror) -> None:
    """While one body hangs another request for the session waits its turn, and says so in the end."""
    session = await begin(mirror)
    async with connect(mirror) as (_, writer):
        await send_head(writer, "PATCH", session, Content_Length=len(DATA))
        writer.write(DATA[:CUT])
        await writer.drain()
        await received(mirror, session, CUT)
        second = asyncio.create_task(patch(mirror, session, b"x", 0))
        await asyncio.sleep(0.1)
        assert not second.done()
        writer.write(DATA[CUT:])
        assert code(await second) == (416, "BLOB_UPLOAD_INVALID")
    check_created(await finish(mirror, session, DIGEST), DIGEST)
