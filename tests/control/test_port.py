"""The API on the port: what only looks is for everybody, what acts for programs on this machine."""

import asyncio
import io
import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientSession
from hypothesis import given
from hypothesis import strategies as st

from mirror.control.guard import is_local
from mirror.control.keys import COMMANDS
from mirror.http.browsers import is_loopback
from mirror.pull import schedule
from tests.conftest import Clock, RunningMirror, Server, config_for, running
from tests.fakes.faults import Hang
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, connect, here, stored, until

IMAGE = make_image("p", [2000, 3000])
JSON = {"Content-Type": "application/json"}
ACTS = [("refresh", {"image": "nginx:1"}), ("warm", {"images": ["nginx:1"]})]


@pytest.fixture(autouse=True)
def content(hub: FakeHub) -> None:
    hub.add_image(NAME, "1", IMAGE)


async def test_what_only_looks(hub: FakeHub, server: Server) -> None:
    mirror = await server(warm=[{"images": ["nginx:1"]}])
    assert (await mirror.get("/api/v1/server")).json() == {"api": 1}, "neither version, nor process, nor address"
    found = (await mirror.get("/api/v1/status?image=nginx:1")).json()
    assert (found["complete"], found["missing"]) == (False, 1)
    (said,) = (await mirror.get("/api/v1/warm")).json()["schedules"]
    assert (said["every"], said["last"]) == (6 * 3600, None)
    assert hub.log() == []


async def test_what_somebody_wants_is_not_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "_FIRST_SECONDS", (0.0, 0.01))
    mirror = await server(warm=[{"images": ["secret/project:1"]}])
    await until(lambda: mirror.application[COMMANDS].schedules.states()[0].last is not None)
    answer = await mirror.get("/api/v1/warm")
    (said,) = answer.json()["schedules"]
    assert (said["last"]["images"], said["last"]["failed"]) == (1, 1)
    assert b"secret" not in answer.body


async def test_nothing_of_the_machine_is_told(hub: FakeHub, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "images"
    file.write_text("nginx:1")
    mirror = await server(
        root=tmp_path / "store",
        warm=[{"file": file}],
        upstream={"username": "operator", "password": "correct-horse"},
    )
    await mirror.post("/api/v1/warm", json={"images": ["nginx:1"]})
    for path in ("server", "status?image=nginx:1", "warm", "status?image=A", "nothing"):
        body = (await mirror.get(f"/api/v1/{path}")).body.decode()
        for secret in (str(tmp_path), "operator", "correct-horse"):
            assert secret not in body


@pytest.mark.parametrize(("command", "order"), ACTS)
async def test_what_acts(mirror: RunningMirror, command: str, order: dict[str, Any]) -> None:
    answer = await mirror.post(f"/api/v1/{command}", json=order)
    assert answer.status == 200
    assert manifest_is_here(mirror)


def manifest_is_here(mirror: RunningMirror) -> bool:
    return IMAGE.digest in stored(mirror)


@pytest.mark.parametrize(("command", "order"), ACTS)
@pytest.mark.parametrize("section", [{"listen": "0.0.0.0:0"}, {"external_url": "https://mirror.example.com"}])
async def test_what_acts__where_others_reach_the_port(
    hub: FakeHub, server: Server, section: dict[str, Any], command: str, order: dict[str, Any]
) -> None:
    mirror = await server(server=section)
    port = mirror.url.rpartition(":")[2]
    answer = await mirror.post(f"http://127.0.0.1:{port}/api/v1/{command}", json=order)
    (error,) = answer.json()["errors"]
    assert (answer.status, error["code"]) == (403, "DENIED")
    assert "socket" in error["message"]
    assert (await mirror.get(f"http://127.0.0.1:{port}/api/v1/status?image=nginx:1")).status == 200
    assert hub.log() == []


@pytest.mark.parametrize(("command", "order"), ACTS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:5000", **JSON}, 403),
        ({"Host": "localhost.evil.example", **JSON}, 403),
        ({"Host": "[", **JSON}, 403),
        ({"Host": "10.0.0.1", **JSON}, 403),
        ({"Origin": "http://evil.example", **JSON}, 403),
        ({"Origin": "null", **JSON}, 403),
        ({"Origin": "http://127.0.0.1:8080", **JSON}, 403),
        ({"Sec-Fetch-Site": "cross-site", **JSON}, 403),
        ({"X-Forwarded-For": "192.0.2.1", **JSON}, 403),
        ({"Forwarded": "for=192.0.2.1", **JSON}, 403),
        ({"Via": "1.1 proxy", **JSON}, 403),
        ({"X-Forwarded-Proto": "https", **JSON}, 403),
        ({"X-Forwarded-Port": "443", **JSON}, 403),
        ({"X-Forwarded": "for=192.0.2.1", **JSON}, 403),
        ({"x-original-host": "mirror.example.com", **JSON}, 403),
        ({"X-Original-Forwarded-For": "192.0.2.1", **JSON}, 403),
        ({"CF-Connecting-IP": "192.0.2.1", **JSON}, 403),
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 400),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 400),
        ({"Content-Type": "text/plain; application/json"}, 400),
    ],
    ids=str,
)
async def test_pages_and_proxies_are_kept_out(
    hub: FakeHub, mirror: RunningMirror, headers: dict[str, str], status: int, command: str, order: dict[str, Any]
) -> None:
    answer = await mirror.post(f"/api/v1/{command}", data=json.dumps(order).encode(), headers=headers)
    assert answer.status == status
    assert answer.json()["errors"][0]["message"]
    assert hub.log() == []


async def test_a_proxy_that_says_nothing(hub: FakeHub, mirror: RunningMirror) -> None:
    """What nginx makes of it where all it has is `proxy_pass`."""
    body = b'{"image": "nginx:1"}'
    async with connect(mirror) as (reader, writer):
        writer.write(
            b"POST /api/v1/refresh HTTP/1.0\r\nHost: 127.0.0.1:5000\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        answer = await reader.read()
    assert b" 403 " in answer.split(b"\r\n")[0]
    assert b"came through a proxy" in answer
    assert hub.log() == []


@pytest.mark.parametrize("host", ["localhost:5000", "127.0.0.1", "[::1]:5000", "127.8.8.8:1"])
async def test_names_of_loopback(mirror: RunningMirror, host: str) -> None:
    answer = await mirror.post("/api/v1/refresh", json={"image": "nginx:1"}, headers={"Host": host})
    assert answer.status == 200


@pytest.mark.parametrize("path", ["server", "status?image=nginx", "warm", "refresh"])
async def test_a_page_may_not_read_it(mirror: RunningMirror, path: str) -> None:
    """No answer says that another origin may; and who asks beforehand is told no."""
    origin = {"Origin": "http://evil.example"}
    answer = await mirror.get(f"/api/v1/{path}", headers=origin)
    before = await mirror.request("OPTIONS", f"/api/v1/{path}", headers=origin)
    assert before.status == 405
    for headers in (answer.headers, before.headers):
        assert not [name for name in headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    ("host", "external_url", "local"),
    [
        ("127.0.0.1", "", True),
        ("localhost", "", True),
        ("::1", "http://localhost:5000", True),
        ("0.0.0.0", "", False),
        ("::", "", False),
        ("192.0.2.1", "", False),
        ("my-machine", "", False),
        ("127.0.0.1", "https://mirror.example.com", False),
        ("127.0.0.1", "http://127.0.0.1:5000", True),
    ],
)
def test_local(host: str, external_url: str, local: bool) -> None:
    assert is_local(host, external_url) is local


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1.evil.example", "localhost.", "127.1", "0x7f000001", "::ffff:127.0.0.1"]
)
def test_loopback__is_what_is_written_so(host: str) -> None:
    assert not is_loopback(host)


@given(st.text() | st.from_regex(r"[0-9a-fx.:\[\]%]*", fullmatch=True))
def test_loopback__nothing_else_is(host: str) -> None:
    """Whatever stands there: no error, and only what Python's own address classes call loopback."""
    if is_loopback(host) and host != "localhost":
        assert host.startswith("127.") or ip_address(host) == ip_address("::1")


async def test_warm__is_told_as_it_happens__and_who_leaves_stops_no_download(
    hub: FakeHub, access_log: io.StringIO, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = await server()
    hub.fault("cdn", Hang("body", 10), match=IMAGE.layers[0][7:])
    order = {"images": ["nginx:1"]}
    async with mirror.session.post(f"{mirror.url}/api/v1/warm", json=order) as answer:
        step: dict[str, Any] = {}
        while (step.get("event"), step.get("role"), step.get("digest")) != ("started", "layer", IMAGE.layers[0]):
            step = json.loads(await asyncio.wait_for(answer.content.readline(), 10))
        await until(lambda: hub.count("cdn", path_contains=IMAGE.layers[0][7:]) == 1)
        answer.close()
    hub.release()
    await until(lambda: access_log.getvalue() != "")
    assert json.loads(access_log.getvalue())["cut"] == "client left"
    assert "unexpected" not in caplog.text
    await here(mirror, IMAGE.layers[0])


async def test_warm__a_server_that_stops_does_not_wait(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    hub.fault("cdn", Hang("body", 10))
    config = config_for(hub, tmp_path / "store", server={"drain_timeout": 600})
    async with ClientSession() as session:
        async with running(config, clock) as mirror:
            answer = await session.post(f"{mirror.url}/api/v1/warm", json={"images": ["nginx:1"]})
            await until(lambda: hub.count("cdn") > 0)
        # it is here that this would hang
        with pytest.raises(ClientPayloadError):  # without its last line
            await answer.read()


async def test_warm__its_line_in_the_access_log(access_log: io.StringIO, server: Server) -> None:
    mirror = await server()
    answer = await mirror.post("/api/v1/warm", json={"images": ["nginx:1"]})
    await until(lambda: access_log.getvalue() != "")
    (line,) = [json.loads(text) for text in access_log.getvalue().splitlines()]
    assert (line["path"], line["status"], line["sent"]) == ("/api/v1/warm", 200, len(answer.body))
