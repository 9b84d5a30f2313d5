"""Logins that are kept outside of the configuration: files that change, and credential helpers of every kind."""

import asyncio
import json
import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.errors import ConfigError
from mirror.upstream import credentials, helper
from mirror.upstream.helper import helper_environment, parse_login
from mirror.upstream.login import Login
from tests.conftest import Clock, RunningMirror, Server, config_for, running
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, fetch, manifest, until

SECRET = "canary-secret"
LATER = "canary-later"
IMAGE = make_image("logins", [10])
OTHER = make_image("logins/other", [])
TAG = manifest("latest")
HUB_SERVER = "https://index.docker.io/v1/"

# Whatever a helper does, it first writes down that it was asked.
_PRELUDE = """#!/bin/sh
asked=$(cat)
echo "$1 $asked" >> '{runs}'
"""


class Helper:
    """A credential helper, first on PATH: `says` is the shell that it runs."""

    def __init__(self, folder: Path, name: str = "fake") -> None:
        self.runs, self.pids = folder / "runs", folder / "pids"
        self._program = folder / f"docker-credential-{name}"

    def says(self, script: str) -> None:
        # Another file in its place: one that is being run cannot be written to.
        draft = self._program.with_suffix(".new")
        draft.write_text(_PRELUDE.format(runs=self.runs) + script)
        draft.chmod(draft.stat().st_mode | stat.S_IXUSR)
        draft.rename(self._program)

    def gives(self, secret: str, username: str = "operator") -> None:
        self.says(f"echo '{json.dumps({'ServerURL': 'x', 'Username': username, 'Secret': secret})}'")

    def asked(self) -> list[str]:
        return self.runs.read_text().splitlines() if self.runs.exists() else []


@pytest.fixture
def helped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helper:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return Helper(folder)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)
    return lambda: "\n".join(repr(vars(record)) for record in caplog.records)


@pytest.fixture
async def mirror(hub: FakeHub, server: Server) -> RunningMirror:
    """A server that logs in to the hub by a credential helper; the hub answers nobody else."""
    hub.accounts["operator"] = SECRET
    hub.anonymous = False
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image(NAME, "other", OTHER)
    return await server(upstream={"credential_helper": "fake", "negative_ttl": 0})


def never_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper may be asked again at once."""
    monkeypatch.setattr(credentials, "_PAUSE_SECONDS", 0.0)


# Files


async def test_file__is_read_again_when_its_password_is_refused(
    hub: FakeHub, server: Server, tmp_path: Path, said: Callable[[], str]
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    hub.accounts["operator"] = SECRET
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image(NAME, "other", OTHER)
    mirror = await server(upstream={"username": "operator", "password_file": str(file)})
    assert (await fetch(mirror, TAG)).full_body == IMAGE.manifest
    hub.accounts["operator"] = LATER
    file.write_text(LATER)
    hub.revoke_tokens()
    hub.clear()
    assert (await fetch(mirror, manifest("other"))).full_body == OTHER.manifest
    assert hub.log() == [
        f"registry GET {manifest('other')} 401",
        "token GET /token 401",
        "token GET /token 200",
        f"registry GET {manifest('other')} 200",
    ]
    hub.revoke_tokens()
    hub.clear()
    hub.add_image(NAME, "third", make_image("logins/third", []))
    assert (await fetch(mirror, manifest("third"))).status == 200
    assert hub.count("token") == 1  # with the new one at once
    assert SECRET not in said()
    assert LATER not in said()


@pytest.mark.parametrize("now", [SECRET, "", None, b"\xff" + SECRET.encode()], ids=["same", "empty", "gone", "binary"])
async def test_file__without_another_password(
    hub: FakeHub, server: Server, tmp_path: Path, now: str | bytes | None, said: Callable[[], str]
) -> None:
    """The refusal stands, and is not asked for twice: that would lock the account."""
    file = tmp_path / "password"
    file.write_text(SECRET)
    hub.add_image(NAME, "latest", IMAGE)
    mirror = await server(upstream={"username": "operator", "password_file": str(file)})
    if now is None:
        file.unlink()
    else:
        file.write_bytes(now if isinstance(now, bytes) else now.encode())
    got = await fetch(mirror, TAG)
    assert (got.status, b"refuses the configured login" in got.body, hub.count("token")) == (502, True, 1)
    assert ("a password file cannot be read again" in said()) == (now is None or isinstance(now, bytes))
    assert SECRET not in said()
    file.write_text("correct-horse")
    assert (await fetch(mirror, TAG)).full_body == IMAGE.manifest


async def test_file__of_a_basic_login(hub: FakeHub, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("correct-horse")
    hub.basic, hub.anonymous = True, False
    hub.add_image(NAME, "latest", IMAGE)
    hub.add_image(NAME, "other", OTHER)
    mirror = await server(upstream={"username": "operator", "password_file": str(file)})
    assert (await fetch(mirror, TAG)).full_body == IMAGE.manifest
    hub.accounts["operator"] = LATER
    file.write_text(LATER)
    hub.clear()
    assert (await fetch(mirror, manifest("other"))).full_body == OTHER.manifest
    assert [line.rsplit(" ", 1)[1] for line in hub.log()] == ["401", "200"]


async def test_file__that_is_missing_at_start(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        await server(upstream={"username": "operator", "password_file": str(tmp_path / "none")})


# Helpers


async def test_helper__is_asked_once_for_many_pulls(hub: FakeHub, mirror: RunningMirror, helped: Helper) -> None:
    helped.says(f'sleep 0.2; echo \'{{"Username": "operator", "Secret": "{SECRET}"}}\'')
    names = [f"org/app{number}" for number in range(20)]
    for name in names:
        hub.add_image(name, "v1", IMAGE)
    got = await asyncio.gather(*(fetch(mirror, manifest("v1", name)) for name in names))
    assert {one.status for one in got} == {200}
    assert (helped.asked(), hub.count("token")) == ([f"get {HUB_SERVER}"], 20)
    assert {seen.query["account"] for seen in hub.requests if seen.server == "token"} == {"operator"}


async def test_helper__of_another_registry_is_told_its_host(hub: FakeHub, server: Server, helped: Helper) -> None:
    helped.gives("correct-horse")
    hub.private.add("org/app")
    hub.add_image("org/app", "v1", IMAGE)
    section = {"host": "ecr.example", "url": hub.url, "token_hosts": [hub.token_host], "credential_helper": "fake"}
    mirror = await server(upstreams={"ecr": section})
    assert (await fetch(mirror, manifest("v1", "ecr.example/org/app"))).full_body == IMAGE.manifest
    assert helped.asked() == [f"get {hub.host}"]


@pytest.mark.parametrize("basic", [False, True])
async def test_helper__is_asked_again_when_its_login_is_refused(
    hub: FakeHub, mirror: RunningMirror, helped: Helper, basic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_young(monkeypatch)
    hub.basic = basic
    helped.gives(SECRET)
    assert (await fetch(mirror, TAG)).full_body == IMAGE.manifest
    hub.accounts["operator"] = LATER
    hub.revoke_tokens()
    helped.gives(LATER)
    assert (await fetch(mirror, manifest("other"))).full_body == OTHER.manifest
    assert len(helped.asked()) == 2


async def test_helper__whose_login_is_refused_anyhow(
    hub: FakeHub, mirror: RunningMirror, helped: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_young(monkeypatch)
    helped.gives("canary-wrong")
    got = await fetch(mirror, TAG)
    assert (got.status, b"refuses the configured login" in got.body, b"canary" in got.body) == (502, True, False)
    assert (len(helped.asked()), hub.count("token")) == (2, 1)  # another one was asked for, and it was the same


async def test_helper__whose_login_a_registry_without_tokens_refuses(
    hub: FakeHub, mirror: RunningMirror, helped: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_young(monkeypatch)
    hub.basic = True
    helped.gives("canary-wrong")
    for runs in (1, 2, 3):
        got = await fetch(mirror, TAG)
        assert (got.status, b"canary" in got.body, len(helped.asked())) == (404, False, runs)
    assert len([seen for seen in hub.requests if "Authorization" in seen.headers]) == 3  # once for each of ours


async def test_helper__is_not_asked_again_at_once(hub: FakeHub, mirror: RunningMirror, helped: Helper) -> None:
    """A repository that its account may not read is no reason to run a program for each request."""
    helped.gives("canary-wrong")
    for _ in range(5):
        assert (await fetch(mirror, TAG)).status == 502
    assert len(helped.asked()) == 1


async def test_helper__is_asked_again_after_a_while(
    hub: FakeHub, mirror: RunningMirror, helped: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    helped.gives(SECRET)
    assert (await fetch(mirror, TAG)).status == 200
    hub.revoke_tokens()
    monkeypatch.setattr(credentials, "_KEPT_SECONDS", 0.0)
    assert (await fetch(mirror, manifest("other"))).status == 200
    assert (len(helped.asked()), [seen.status for seen in hub.requests if seen.server == "token"]) == (2, [200, 200])


async def test_helper__with_an_identity_token(hub: FakeHub, mirror: RunningMirror, helped: Helper) -> None:
    """It goes to the token service in a form, as Docker sends it: in no address, and in no Authorization."""
    hub.identity_tokens[SECRET] = "operator"
    hub.private.add(NAME)
    helped.gives(SECRET, "<token>")
    assert (await fetch(mirror, TAG)).full_body == IMAGE.manifest
    (asked,) = (seen for seen in hub.requests if seen.server == "token")
    assert (asked.method, asked.query, "Authorization" in asked.headers) == ("POST", {}, False)


async def test_helper__with_an_identity_token_that_is_refused(
    hub: FakeHub, mirror: RunningMirror, helped: Helper
) -> None:
    hub.identity_tokens["other"] = "operator"
    helped.gives(SECRET, "<token>")
    got = await fetch(mirror, TAG)
    assert (got.status, b"refuses the configured login" in got.body, hub.count("token")) == (502, True, 1)


async def test_helper__with_an_identity_token_for_a_registry_without_tokens(
    hub: FakeHub, mirror: RunningMirror, helped: Helper
) -> None:
    hub.basic = True
    helped.gives(SECRET, "<token>")
    got = await fetch(mirror, TAG)
    assert (got.status, b"wants another login" in got.body, hub.count()) == (404, True, 1)


BROKEN = {
    "exits 1": (f"echo {SECRET}; echo {SECRET} >&2; exit 1", 1, "it failed"),
    "says nothing": ("", 0, "makes no sense"),
    "prints garbage": (f"echo '{SECRET}'", 0, "makes no sense"),
    "prints megabytes": (f"yes {SECRET}", None, "it wrote more than"),
    "megabytes at once": (f"yes {SECRET} | head -c 9000000", None, "it wrote more than"),
    "is killed": ("kill -9 $$", -9, "it failed"),
    "hangs": (f"echo $$ >> '{{pids}}'; echo {SECRET}; exec sleep 60", None, "it did not end"),
    "leaves a child": ("sleep 60 & echo $! >> '{pids}'", None, "it did not end"),
    "closes and hangs": ("echo $$ >> '{pids}'; exec 0<&- 1>&- 2>&-; exec sleep 60", None, "it did not end"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_helper__that_fails(
    hub: FakeHub,
    mirror: RunningMirror,
    helped: Helper,
    said: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    script, code, reason = BROKEN[how]
    monkeypatch.setattr(helper, "_SECONDS", 0.5 if reason == "it did not end" else 20.0)
    helped.says(script.replace("{pids}", str(helped.pids)))
    began = time.monotonic()
    answers = await asyncio.gather(*(fetch(mirror, TAG) for _ in range(3)))
    assert time.monotonic() - began < 5
    for got in answers:
        assert (got.status, b"UPSTREAM_FAILED" in got.body) == (502, True)
        assert b"credential helper gave no login" in got.body
    (line,) = (record for record in caplog.records if record.message == "a credential helper gave no login")
    assert (line.__dict__["helper"], line.__dict__["code"]) == ("fake", code)
    assert reason in line.__dict__["reason"]
    assert (len(helped.asked()), hub.count("token")) == (1, 0)
    assert SECRET not in said() + "".join(f"{got.headers}{got.body!r}" for got in answers)
    for pid in helped.pids.read_text().split() if helped.pids.exists() else []:
        assert not await lives(int(pid))
    never_young(monkeypatch)
    helped.gives(SECRET)
    assert (await fetch(mirror, TAG)).full_body == IMAGE.manifest


async def lives(pid: int) -> bool:
    """Whether a process is still there after a moment; one that has ended and is not yet buried is not."""
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except FileNotFoundError:
            return False
        await asyncio.sleep(0.01)
    return True


async def test_helper__that_is_missing(mirror: RunningMirror, said: Callable[[], str]) -> None:
    got = await fetch(mirror, TAG)
    assert (got.status, b"credential helper gave no login" in got.body) == (502, True)
    assert "it cannot be started: No such file or directory" in said()


async def test_helper__that_fails_lets_what_is_here_be_served(
    hub: FakeHub, server: Server, helped: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    mirror = await server(upstream={"credential_helper": "fake", "tag_ttl": 0})
    helped.gives("correct-horse")
    assert (await fetch(mirror, TAG)).status == 200
    hub.revoke_tokens()
    monkeypatch.setattr(credentials, "_KEPT_SECONDS", 0.0)
    helped.says("exit 3")
    stale = await fetch(mirror, TAG)
    assert (stale.full_body, stale.headers["X-Cache"]) == (IMAGE.manifest, "stale")


async def test_helper__under_way_when_the_server_stops(
    hub: FakeHub, tmp_path: Path, clock: Clock, helped: Helper
) -> None:
    helped.says(f"echo $$ >> '{helped.pids}'; exec sleep 60")
    hub.add_image(NAME, "latest", IMAGE)
    async with running(config_for(hub, tmp_path / "store", upstream={"credential_helper": "fake"}), clock) as mirror:
        asking = asyncio.create_task(fetch(mirror, TAG))
        await until(lambda: helped.pids.exists() and helped.pids.read_text() != "")
        asking.cancel()
        await asyncio.wait([asking])
    assert not await lives(int(helped.pids.read_text()))


async def test_helper__sees_little_of_the_environment(
    hub: FakeHub, mirror: RunningMirror, helped: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR_UPSTREAMS__X__PASSWORD", SECRET)
    monkeypatch.setenv("AWS_PROFILE", "mirror")
    helped.says(f"env >> '{helped.pids}'")
    await fetch(mirror, TAG)
    seen = helped.pids.read_text()
    assert "AWS_PROFILE=mirror\n" in seen
    assert SECRET not in seen


def test_environment() -> None:
    passed = {"PATH": "/bin", "HOME": "/root", "AWS_REGION": "x", "GOOGLE_APPLICATION_CREDENTIALS": "y"}
    kept = {"MIRROR_CONFIG": "x", "LD_PRELOAD": "y", "SECRET": "z", "MY_AWS_KEY": "k"}
    assert helper_environment(passed | kept) == passed


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"Username": "u"}',
        b'{"Username": "", "Secret": "s"}',
        b'{"Username": "u", "Secret": ""}',
        b'{"Username": 1, "Secret": "s"}',
        b'{"Username": "u", "Secret": ["s"]}',
        b'{"Username": "u:v", "Secret": "s"}',
        b'{"Username": "u", "Secret": "\\ud800"}',
        b'{"Username": "u", "Secret": "s"',
        b"\xff",
        b"[" * 60_000,
    ],
    ids=lambda output: str(output)[:40],
)
def test_answer_that_is_no_login(output: bytes) -> None:
    assert parse_login(output) is None


def test_login_is_not_shown() -> None:
    login = parse_login(f'{{"Username": "u", "Secret": "{SECRET}", "More": 1}}'.encode())
    assert login == Login("u", SECRET)
    assert SECRET not in f"{login!r} {login}"
