"""A line for each request: what was asked, what was answered, how many bytes of it left, and why it ended early."""

import asyncio
import io
import json
import logging
import re
from typing import Any

import pytest
from yarl import URL

from mirror import logs
from mirror.config import Log
from tests.conftest import RunningMirror, Server
from tests.fakes.faults import Hang
from tests.fakes.images import make_image, random_blob
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_blob
from tests.mirror.wire import NAME, blob, connect, fetch, here, manifest, read_head, send_head, until

IMAGE = make_image("access log", [2000])
(LAYER,) = IMAGE.layers


@pytest.fixture
async def mirror(access_log: io.StringIO, server: Server) -> RunningMirror:
    return await server(log={"format": "json"})


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def line(log: io.StringIO, path: str) -> dict[str, Any]:
    """The one line about a path; it is written when the request is over, which may be after the client has gone on."""
    await until(lambda: f'"path": "{path}"' in log.getvalue())
    (found,) = [one for one in lines(log) if one["path"] == path]
    return found


async def test_line(hub: FakeHub, mirror: RunningMirror, access_log: io.StringIO) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest") + "?ns=docker.io&secret=canary", User_Agent="docker/28.5.2")
    found = await line(access_log, manifest("latest"))
    assert found.pop("seconds") > 0
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "event": "request",
        "logger": "mirror.access",
        "level": "info",
        "client": "127.0.0.1",
        "method": "GET",
        "path": manifest("latest"),
        "status": 200,
        "sent": len(IMAGE.manifest),
        "agent": "docker/28.5.2",
        "cache": "miss",
    }
    assert "canary" not in access_log.getvalue()


async def test_one_line_for_each_request(hub: FakeHub, mirror: RunningMirror, access_log: io.StringIO) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    asked = [
        ("GET", "/v2/", 200, 2),
        ("HEAD", "/v2/", 200, 0),
        ("GET", manifest("latest"), 200, len(IMAGE.manifest)),
        ("HEAD", manifest("latest"), 200, 0),
        ("GET", blob(LAYER), 200, len(IMAGE.blobs[LAYER])),
        ("GET", "/nowhere", 404, None),
        ("DELETE", "/v2/", 405, None),
        ("POST", "/v2/library/x/blobs/uploads/", 405, None),
        ("GET", "/healthz", 200, 19),
    ]
    for method, path, status, _ in asked:
        got = await fetch(mirror, path, method)
        assert got.status == status
    await until(lambda: len(lines(access_log)) == len(asked))
    for (method, path, status, sent), found in zip(asked, lines(access_log), strict=True):
        assert (found["method"], found["path"], found["status"]) == (method, path, status)
        assert sent is None or found["sent"] == sent
        assert found["sent"] > 0 or method == "HEAD"


async def test_outcomes(hub: FakeHub, mirror: RunningMirror, access_log: io.StringIO) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    for path in (manifest("latest"), manifest("latest"), blob(LAYER)):
        await fetch(mirror, path)
    await here(mirror, LAYER)
    await fetch(mirror, blob(LAYER))
    await fetch(mirror, blob(IMAGE.config), "HEAD")
    await until(lambda: len(lines(access_log)) == 5)
    assert [found.get("cache") for found in lines(access_log)] == ["miss", "hit", "miss", "hit", "miss"]
    assert not any("cut" in found for found in lines(access_log))


async def test_part(hub: FakeHub, mirror: RunningMirror, access_log: io.StringIO) -> None:
    digest = hub.add_blob(NAME, b"x" * 5000)
    await fetch(mirror, blob(digest), Range="bytes=1000-1999")
    found = await line(access_log, blob(digest))
    assert (found["status"], found["sent"]) == (206, 1000)


async def test_answer_that_the_server_cut(hub: FakeHub, mirror: RunningMirror, access_log: io.StringIO) -> None:
    digest, data = random_blob("cut by the server", 50_000)
    hub.add_blob(NAME, data)
    hub.fault("cdn", Hang("body", 1000), times=1)
    task = asyncio.create_task(fetch(mirror, blob(digest)))
    await until(lambda: hub.count("cdn") == 1)
    await asyncio.sleep(0.2)
    await hub.stop("cdn")
    assert not (await task).complete
    found = await line(access_log, blob(digest))
    assert (found["status"], found["sent"]) == (200, 1000)
    assert found["cut"] == "the upstream cannot be reached: Connection refused"


async def test_answer_that_the_client_did_not_wait_for(
    hub: FakeHub, mirror: RunningMirror, access_log: io.StringIO
) -> None:
    """What did leave is counted, be it the kernel that sent it."""
    digest, data = random_blob("left by the client", 50_000_000)
    hub.add_blob(NAME, data)
    assert (await fetch(mirror, blob(digest))).status == 200
    await here(mirror, digest)
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "GET", blob(digest), User_Agent="impatient")
        await read_head(reader)
        await reader.readexactly(1_000_000)
    await until(lambda: "impatient" in access_log.getvalue())
    found = lines(access_log)[-1]
    assert (found["status"], found["cut"], found["cache"]) == (200, "client left", "hit")
    assert 1_000_000 <= found["sent"] < len(data)
    assert not [one for one in lines(access_log) if one.get("level") == "error"]


async def test_path_and_agent_cannot_forge_lines(mirror: RunningMirror, access_log: io.StringIO) -> None:
    for path in ("/a%0a%7b%22event%22:1%7d", "/%1b%5b31m", "/\u2028", "/%ED%A0%80", "/%FF"):
        async with connect(mirror) as (reader, writer):
            await send_head(writer, "GET", path, User_Agent="x\x1b[31m\u2028\u0085", Connection="close")
            await read_head(reader)
    await fetch(mirror, "/healthz")
    await until(lambda: "healthz" in access_log.getvalue())
    text = access_log.getvalue()
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert all(one["event"] == "request" for one in lines(access_log))


@pytest.mark.parametrize("log", [{"access": False}, {"level": "warning"}, {"level": "error"}], ids=str)
async def test_switched_off(access_log: io.StringIO, server: Server, log: dict[str, Any]) -> None:
    mirror = await server(log=log)
    assert (await fetch(mirror, "/v2/")).status == 200
    assert access_log.getvalue() == ""


async def test_log_that_cannot_be_written(mirror: RunningMirror, access_log: io.StringIO) -> None:
    """Its reader may be gone, its disk full: the requests go on, on the same connection."""
    access_log.close()
    async with connect(mirror) as (reader, writer):
        for _ in range(3):
            await send_head(writer, "GET", "/healthz")
            status, headers = await read_head(reader)
            assert status == 200
            await reader.readexactly(int(headers["Content-Length"]))


async def test_console_format(access_log: io.StringIO, server: Server) -> None:
    mirror = await server(log={"format": "console"})
    await push_blob(mirror, b"x")
    await until(lambda: "team/app" in access_log.getvalue())
    assert "status=201" in access_log.getvalue()


async def test_console_format__nothing_that_a_terminal_obeys(access_log: io.StringIO, server: Server) -> None:
    mirror = await server(log={"format": "console"})
    path = URL(f"{mirror.url}/v2/t/%1b%5b2J%c2%9b%e2%80%ae/tags/list", encoded=True)
    async with mirror.session.get(path, headers={"User-Agent": "a\x9b2Jb"}) as answer:
        assert answer.status == 400
    await until(lambda: "/tags/list" in access_log.getvalue())
    assert "/v2/t/\\x1b[2J\\x9b\\u202e/tags/list" in access_log.getvalue()
    assert access_log.getvalue().removesuffix("\n").isprintable()


@pytest.mark.parametrize("terminal", [True, False])
def test_console_format__whatever_it_is(terminal: bool) -> None:
    stream = _Stream(terminal)
    root = logging.getLogger()
    before = root.handlers, root.level
    logs.configure(Log(format="console"), stream)
    try:
        try:
            raise ValueError("\x1b]0;pwned\x07")
        except ValueError:
            logging.getLogger("mirror").exception("\x1b[2J", extra={"text": "\x9b", "list": ["\u202e"]})
    finally:
        root.handlers = before[0]
        root.setLevel(before[1])
    said = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()) if terminal else stream.getvalue()
    assert all(line.isprintable() for line in said.split("\n"))
    assert "ValueError: \\x1b]0;pwned\\x07\n" in said


class _Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal
