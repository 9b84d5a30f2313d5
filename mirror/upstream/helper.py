"""A credential helper: a program that is asked for a login in Docker's protocol (`docker-credential-NAME get`).

The registry goes in on standard input, a login comes out on standard output, as JSON. What it writes is secret, also
where it fails: nothing of that is logged, and standard error is not even read.
"""

import asyncio
import json
import logging
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from contextlib import suppress

from mirror.upstream.errors import UpstreamNoLogin
from mirror.upstream.login import Login

log = logging.getLogger(__name__)

_SECONDS = 20.0
_MAX_OUTPUT = 64 * 1024
# How Docker says that the secret is an identity token, and that there is no name to it.
_IDENTITY_TOKEN = "<token>"  # noqa: S105 - a mark, not a secret
# What helpers find their programs, files, keyrings, proxies and cloud accounts by. Not the rest: our own passwords may
# be there.
_PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|TMPDIR|SSL_CERT_(FILE|DIR)|(?i:https?_proxy|no_proxy)"
    r"|DOCKER_CONFIG|GNUPGHOME|PASSWORD_STORE_DIR|DBUS_SESSION_BUS_ADDRESS|XDG_(CONFIG|CACHE|DATA)_HOME|XDG_RUNTIME_DIR"
    r"|(AWS|AZURE|GOOGLE|CLOUDSDK)_.+|GCE_METADATA_HOST"
)
# What fits into a header: no half of a character, and in a name nothing that would end it.
_NAME, _SECRET = re.compile(r"[^:\ud800-\udfff]+"), re.compile(r"[^\ud800-\udfff]+")


async def ask_helper(name: str, server: str) -> Login:
    """The login that the helper has for this server. Raises UpstreamNoLogin; the log then has what is known."""
    code: int | None = None
    try:
        code, output = await _run(f"docker-credential-{name}", server)
        login = parse_login(output) if code == 0 else None
        if login is not None:
            return login
        reason = "it failed" if code else "its answer makes no sense"
    except _TooLong:
        reason = f"it wrote more than {_MAX_OUTPUT} bytes"
    except TimeoutError:
        reason = f"it did not end within {_SECONDS:g} seconds"
    except OSError as error:
        reason = f"it cannot be started: {error.strerror}"
    log.warning("a credential helper gave no login", extra={"helper": name, "code": code, "reason": reason})
    raise UpstreamNoLogin("the upstream's credential helper gave no login; the log of the mirror says why")


class _TooLong(Exception):
    """It writes more than a login can be."""


async def _run(program: str, server: str) -> tuple[int | None, bytes]:
    """Its exit code and output. Raises OSError where it cannot be started, TimeoutError, _TooLong."""
    loop = asyncio.get_running_loop()
    environment = helper_environment(os.environ)
    transport, talk = await loop.subprocess_exec(
        _Talk, program, "get", stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, start_new_session=True
    )
    try:
        talk.say(transport, server)
        async with asyncio.timeout(_SECONDS):
            await asyncio.shield(talk.answered)
        return transport.get_returncode(), bytes(talk.output)
    finally:
        if not talk.over.done():
            # It has a session of its own, so this reaches whatever it has started, too.
            with suppress(ProcessLookupError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
        transport.close()
        await asyncio.wait([talk.over], timeout=1)


class _Talk(asyncio.SubprocessProtocol):
    """What is said to a helper and what it answers, up to a limit."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.output = bytearray()
        self.answered: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()  # the program and its pipes are gone

    def say(self, transport: asyncio.SubprocessTransport, server: str) -> None:
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport), "it has been asked for"
        stdin.write(server.encode())
        stdin.close()

    def pipe_data_received(self, _fd: int, data: bytes) -> None:
        if self.answered.done():
            return
        self.output += data
        if len(self.output) > _MAX_OUTPUT:
            self.answered.set_exception(_TooLong())

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_result(None)
        self.over.set_result(None)


def helper_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What a helper is told of our environment."""
    return {name: value for name, value in environment.items() if _PASSED.fullmatch(name)}


def parse_login(output: bytes) -> Login | None:
    """Read a helper's answer; None where it is no login."""
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError):
        return None
    username, secret = (answer.get("Username"), answer.get("Secret")) if isinstance(answer, dict) else (None, None)
    if not isinstance(username, str) or not isinstance(secret, str):
        return None
    if not _NAME.fullmatch(username) or not _SECRET.fullmatch(secret):
        return None
    return Login("", secret, is_identity_token=True) if username == _IDENTITY_TOKEN else Login(username, secret)
