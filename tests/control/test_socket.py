"""The control socket: where it is, who may use it, and that there is no other way in."""

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

from mirror import __version__
from tests.conftest import Clock, RunningMirror, Server, config_for, running
from tests.control.commanding import command
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import layout


async def test_it_says_who_it_is(mirror: RunningMirror) -> None:
    status, said = await command(mirror, "GET", "server")
    assert (status, said) == (200, {"api": 1, "version": __version__, "pid": os.getpid(), "url": mirror.url})


async def test_only_its_owner_may_use_it(mirror: RunningMirror) -> None:
    found = layout(mirror).control.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o600


async def test_the_socket_serves_no_content(mirror: RunningMirror) -> None:
    status, said = await command(mirror, "GET", "../../v2/")
    assert (status, said["errors"][0]["code"]) == (404, "NOT_FOUND")


async def test_it_goes_with_the_server(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    async with running(config_for(hub, tmp_path / "store"), clock) as mirror:
        path = layout(mirror).control
        assert path.exists()
    assert not path.exists()


async def test_a_stale_one_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "store" / "control.sock"))
    left.close()
    mirror = await server(root=tmp_path / "store")
    assert (await command(mirror, "GET", "server"))[0] == 200


async def test_what_is_no_socket_is_left_alone(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "control.sock").write_text("somebody's")
    mirror = await server(root=tmp_path / "store")
    assert (await mirror.get("/v2/")).status == 200
    assert layout(mirror).control.read_text() == "somebody's"
    assert "there is no control socket" in caplog.text


async def test_a_path_that_is_too_long(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    """The server starts all the same."""
    root = tmp_path / ("long" * 30)
    async with running(config_for(hub, root), clock) as mirror:
        assert (await mirror.get("/v2/")).status == 200
        assert not layout(mirror).control.exists()


async def test_two_servers_have_two_sockets(server: Server) -> None:
    first, second = await server(), await server()
    assert (await command(first, "GET", "server"))[1]["url"] == first.url
    assert (await command(second, "GET", "server"))[1]["url"] == second.url


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "nothing", None, "NOT_FOUND"),
        ("GET", "refresh", None, "UNSUPPORTED"),
        ("POST", "refresh", "", "BAD_REQUEST"),
        ("POST", "refresh", "{", "BAD_REQUEST"),
        ("POST", "refresh", "[]", "BAD_REQUEST"),
        ("POST", "refresh", '{"image": 1}', "BAD_REQUEST"),
        ("POST", "refresh", '{"image": "a", "more": 1}', "BAD_REQUEST"),
        ("POST", "refresh", '{"image": "A"}', "NAME_INVALID"),
        ("POST", "refresh", '{"image": "nowhere.example:1/a"}', "NAME_UNKNOWN"),
        ("POST", "warm", '{"images": []}', "BAD_REQUEST"),
        ("POST", "warm", '{"images": ["a:"]}', "TAG_INVALID"),
        ("POST", "warm", '{"images": ["a"], "platforms": ["linux"]}', "BAD_REQUEST"),
        ("GET", "status", None, "BAD_REQUEST"),
        ("GET", "status?image=a@b", None, "DIGEST_INVALID"),
        ("GET", "status?image=a&platform=x", None, "BAD_REQUEST"),
    ],
)
async def test_errors_are_as_the_registry_words_them(
    mirror: RunningMirror, method: str, path: str, body: str | None, code: str
) -> None:
    status, said = await command(mirror, method, path, data=body)
    assert 400 <= status < 500
    assert said["errors"][0]["code"] == code
    assert said["errors"][0]["message"]


async def test_a_stop_does_not_wait_for_who_says_nothing(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    async with running(config_for(hub, tmp_path / "store"), clock) as mirror:
        reader, writer = await asyncio.open_unix_connection(layout(mirror).control)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 5
    assert await reader.read() == b""
    writer.close()
