"""What answers at a URL may be anything: it writes nothing to a terminal, and takes no memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from mirror.__main__ import cli
from mirror.commands import answers
from mirror.errors import NoServer
from tests.mirror.test_cli import Program
from tests.mirror.test_cli import program as program

# Sets a title, rings, clears, colours, overwrites; in C0, in C1, and from right to left.
EVIL = "\x1b]0;pwned\x07\x1b[2J\x1b[31mOWNED\r\nerror:\x9b2J\u202e\u2028"
COMMANDS = (
    ("server",),
    ("upstreams",),
    ("status", "nginx"),
    ("refresh", "nginx"),
    ("warm", "nginx"),
)


@asynccontextmanager
async def hostile(body: bytes, status: int = 200, again: bytes = b"") -> AsyncIterator[str]:
    """What says that it is a server of ours, and then to everything the same; gives its URL."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/v1/server":
            return web.json_response({"api": 1})
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        with suppress(ConnectionError):
            await response.write(body)
            while again:
                await response.write(again)
        return response

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def run(*arguments: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(cli, arguments))


def lines(*steps: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(step).encode() + b"\n" for step in steps)


def named(length: int) -> bytes:
    return b'{"upstreams": [], "event": "' + b"x" * length


SHAPES = {
    "list": b"[1]",
    "number": b"1",
    "nothing": b"",
    "null": b"null",
    "object": b"{}",
    "broken off": b'{"upstreams": ',
    "not text": b'{"event": "\xff"}',
    "half a character": rb'{"event": "\ud800", "image": "", "role": ""}',
    "deep": b"[" * 500_000,
    "deep below": b'{"upstreams": ' + b"[" * 500_000,
    "long number": b'{"event": ' + b"1" * 100_000,
    "wrong inside": json.dumps(
        {
            "event": ["done"],
            "image": {},
            "outcome": 1,
            "before": 0,
            "now": [],
            "complete": "yes",
            "parts": {},
            "upstreams": [{"host": None}],
            "schedules": [{"last": 1}],
            "problems": [1],
        }
    ).encode(),
    "no number": json.dumps(
        {"event": "finished", "image": "nginx", "role": "layer", "bytes": 2**70, "upstreams": 1, "schedules": 1}
    ).encode(),
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("shape", SHAPES)
async def test_another_shape(command: tuple[str, ...], shape: str) -> None:
    async with hostile(SHAPES[shape]) as url:
        for options in ((), ("--json",)):
            done = await run(*command, "--server", url, *options)
            assert isinstance(done.exception, NoServer), done.exception
            assert done.output == ""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("body", [b'{"a": "', b"["])
async def test_without_an_end(command: tuple[str, ...], body: bytes) -> None:
    """It is read to a limit; otherwise this would not end."""
    async with hostile(body, again=b"A" * 2**16) as url:
        done = await run(*command, "--server", url)
    assert isinstance(done.exception, NoServer)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_an_error_without_an_end(command: tuple[str, ...]) -> None:
    async with hostile(b'{"errors": ', status=500, again=b"[" * 2**16) as url:
        done = await run(*command, "--server", url)
    assert done.exit_code != 0
    assert isinstance(done.exception, NoServer | SystemExit)
    assert "it answers 500" in done.output + str(done.exception)


async def test_exit_code(program: Program) -> None:
    async with hostile(b"[1]") as url:
        for command in COMMANDS:
            done = await program.run_aside(*command, "--server", url)
            assert (done.returncode, done.stdout) == (3, "")
            assert done.stderr == f"error: {url} answers something else than it was asked\n"


STATUS = {
    "image": EVIL,
    "repository": EVIL,
    "digest": EVIL,
    "complete": True,
    "present": 1,
    "present_bytes": 1,
    "missing": 0,
    "missing_bytes": 0,
    "referrers": 0,
    "problems": [EVIL],
    "parts": [{"role": EVIL, "platform": EVIL, "digest": EVIL, "size": 1, "present": True}],
}
RUN = {
    "started": EVIL,
    "seconds": 1.0,
    "images": 1,
    "failed": 1,
    "bytes": 1,
    "problem": EVIL,
    "failures": [{"image": EVIL, "reason": EVIL}],
}
SCHEDULES = {
    "schedules": [{"running": False, "next": EVIL, "last": RUN}, {"running": False, "next": EVIL, "last": None}]
}
ACCOUNT = {"name": EVIL, "budget": {"remaining": 1, "limit": 2, "scarce": True}, "limited": {EVIL: 1.0}}
ENDPOINT = {"url": EVIL, "answers": False, "since": EVIL, "accounts": [ACCOUNT]}
UNKNOWN = {"url": EVIL, "answers": None, "since": None, "accounts": [ACCOUNT]}
UPSTREAM = {
    "host": EVIL,
    "offline": False,
    "endpoints": [ENDPOINT, UNKNOWN],
    "under_way": 1,
    "waiting": 1,
    "received_bytes": 1,
    "errors": [{"reason": EVIL, "count": 1, "last": EVIL}],
}
STEPS: list[dict[str, Any]] = [
    {"event": "started", "role": "layer", "image": EVIL, "digest": EVIL, "bytes": 3},
    {"event": "finished", "role": "layer", "image": EVIL, "digest": EVIL, "bytes": 3, "outcome": EVIL},
    {"event": "failed", "role": EVIL, "image": EVIL, "digest": EVIL, "reason": EVIL},
    {"event": "finished", "role": "image", "image": EVIL, "bytes": 3},
    {"event": "failed", "role": "image", "image": "nginx", "reason": EVIL},
    {"event": "failed", "role": "image", "image": EVIL, "reason": EVIL},
    {"event": EVIL, "role": EVIL, "image": EVIL},
    {"event": "done"},
]
SAID: dict[str, dict[str, Any]] = {
    "server": SCHEDULES,
    "upstreams": {"upstreams": [UPSTREAM]},
    "status": STATUS,
    "refresh": {"image": EVIL, "outcome": "moved", "before": EVIL, "now": EVIL},
}


def assert_harmless(done: Result) -> None:
    assert isinstance(done.exception, SystemExit | None), done.exception
    assert "\\x1b]0;pwned\\x07" in done.output
    assert all(line.isprintable() for line in done.output.split("\n"))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_nothing_that_a_terminal_obeys(command: tuple[str, ...]) -> None:
    body = json.dumps(SAID[command[0]]).encode() if command[0] in SAID else lines(*STEPS)
    async with hostile(body) as url:
        assert_harmless(await run(*command, "--server", url))


@pytest.mark.parametrize("outcome", ["failed", "gone", "refused", "new", EVIL])
async def test_nothing_that_a_terminal_obeys__outcomes(outcome: str) -> None:
    async with hostile(json.dumps({**SAID["refresh"], "outcome": outcome}).encode()) as url:
        assert_harmless(await run("refresh", "nginx", "--server", url))


@pytest.mark.parametrize("command", [("status", "nginx"), ("refresh", "nginx"), ("warm", "nginx")])
async def test_nothing_that_a_terminal_obeys__errors(command: tuple[str, ...]) -> None:
    async with hostile(json.dumps({"errors": [{"code": "X", "message": EVIL}]}).encode(), 400) as url:
        assert_harmless(await run(*command, "--server", url))


@pytest.mark.parametrize(
    ("code", "said"), [("DENIED", EVIL), ("X", {"a": EVIL}), ("X", 1), ("X", None), (["X"], EVIL), ("X", "")]
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_errors_in_another_shape(command: tuple[str, ...], code: object, said: object) -> None:
    async with hostile(json.dumps({"errors": [{"code": code, "message": said}]}).encode(), 403) as url:
        done = await run(*command, "--server", url)
    text = done.output + str(done.exception)
    assert done.exit_code != 0
    assert isinstance(done.exception, NoServer | SystemExit)
    assert all(line.isprintable() for line in text.split("\n"))


async def test_what_is_not_known_is_kept__for_json() -> None:
    body = {**SAID["refresh"], "added": {"later": [1, None]}}
    async with hostile(json.dumps(body).encode()) as url:
        done = await run("refresh", "nginx", "--server", url, "--json")
    assert json.loads(done.output)["added"] == {"later": [1, None]}


def test_what_is_wrong_is_not_counted() -> None:
    """A report on each of a million mistakes takes gigabytes."""
    for shape, key in ((answers.Upstreams, "upstreams"), (answers.Schedules, "schedules")):
        with pytest.raises(ValidationError) as failure:
            shape.read(json.dumps({key: [{}] * 1000}).encode())
        assert failure.value.error_count() < 10


MOMENTS = ["1e300", "1e18", "NaN", "Infinity", "-1", "8589934592"]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_moments_that_no_calendar_has(moment: str) -> None:
    counted = f'"pulls": 1, "last_pulled_at": {moment}'
    entries = {
        "repositories": f'"repository": "a", "description": "", "tags": 1, {counted}',
        "tags": f'"name": "a", "digest": "", "size": 1, "platforms": [], "freshness": "", {counted}',
        "moves": f'"at": {moment}, "tag": "a", "cause": "", "before": null, "after": null',
    }
    for command, key in ((("ls",), "repositories"), (("ls", "a"), "tags"), (("history", "a"), "moves")):
        async with hostile(f'{{"next": null, "{key}": [{{{entries[key]}}}]}}'.encode()) as url:
            done = await run(*command, "--server", url)
        assert isinstance(done.exception, NoServer), done.exception


async def test_the_last_moment() -> None:
    """What is refused above is so for nothing but the time."""
    entry = {"at": 2**33 - 1, "tag": "a", "cause": "", "before": None, "after": None}
    async with hostile(json.dumps({"next": None, "moves": [entry]}).encode()) as url:
        done = await run("history", "a", "--server", url)
    assert (done.exit_code, done.exception) == (0, None)
    assert "224" in done.output
