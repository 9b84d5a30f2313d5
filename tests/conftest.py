"""What the whole suite shares: a settable clock, an open store, a registry to pull from, and the real server before it.

While a test runs, a blocking call that the server makes on the event loop fails the test. Where `CI=true` nothing may
be skipped.
"""

import io
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, web
from blockbuster import BlockBuster, BlockBusterFunction, BlockingError, blockbuster
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket
from multidict import CIMultiDictProxy

from mirror import app, serving
from mirror.config import Config
from mirror.http.keys import SERVICES
from mirror.pages import render
from mirror.usage import Usage
from storage.index.engine import sqlite_module
from storage.store import Store, open_store
from tests.fakes.upstream import FakeHub

_GUARDED = ("mirror", "storage", "ocispec")
_GUARDED_TESTS = ("storage", "mirror", "http", "control")

# Calls that wait for the disk and that blockbuster does not know of itself. fstat and close are not among them: on an
# open file neither waits for the device.
_DISK_CALLS = ("open", "pread", "pwrite", "fsync", "fdatasync", "ftruncate", "truncate", "chmod")
_FILE_CALLS = ("read", "readall", "readinto", "write")
_SQLITE_CALLS = {
    "Cursor": ("execute", "executemany", "executescript", "fetchone", "fetchmany", "fetchall"),
    "Connection": ("execute", "executemany", "executescript", "commit", "rollback"),
}

# Before the first request and after the last one nobody waits for the loop: there it may block. Python's own first
# look at a source file (an import, a traceback), the files that pytest logs to, and the millisecond that asyncio takes
# to start a program are not ours to judge.
_MAY_BLOCK = (
    ("<frozen importlib._bootstrap>", {"_find_and_load"}),
    ("linecache.py", {"updatecache"}),
    ("logging/__init__.py", {"callHandlers"}),
    ("asyncio/unix_events.py", {"_start"}),
    ("storage/store.py", {"open_store", "migrate_store"}),
    ("storage/index/migrate.py", {"upgrade"}),
    ("storage/files.py", {"close"}),
    ("storage/index/unit.py", {"__init__", "close"}),
    ("mirror/config.py", {"read_password"}),
    ("mirror/app.py", {"build"}),
)


@pytest.fixture(autouse=True)
def nothing_blocks_the_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which our own code blocks the event loop. What the test itself does there is its own affair.

    `clients` and `crash` drive a server in another process: nothing of it can be seen from here.
    """
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    if folder not in _GUARDED_TESTS or any(request.node.get_closest_marker(name) for name in ("clients", "crash")):
        yield
        return
    seen: list[str] = []

    class Blocked(BlockingError):
        """Is also remembered: whoever called may have taken it for an error of the disk."""

        def __init__(self, call: str) -> None:
            super().__init__(call)
            seen.append(call)

    # Not the `monkeypatch` fixture: what the test patches has to be undone before the guard is.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blockbuster, "BlockingError", Blocked)
        guard = _guard()
        guard.activate()
        try:
            yield
        finally:
            guard.deactivate()
    assert not seen, f"blocking calls on the event loop: {', '.join(seen)}"


def _guard() -> BlockBuster:
    guard = BlockBuster(list(_GUARDED))
    module = sqlite_module()
    more = [BlockBusterFunction(os, name, scanned_modules=list(_GUARDED)) for name in _DISK_CALLS]
    more += [
        BlockBusterFunction(io.FileIO, name, scanned_modules=list(_GUARDED), can_block_predicate=_is_terminal)
        for name in _FILE_CALLS
    ]
    if module.__name__ != "sqlite3":  # which blockbuster knows
        more += [
            BlockBusterFunction(getattr(module, kind), name, scanned_modules=list(_GUARDED))
            for kind, names in _SQLITE_CALLS.items()
            for name in names
        ]
    guard.functions.update({function.full_name: function for function in more})
    for function in guard.functions.values():
        for file, names in _MAY_BLOCK:
            function.can_block_in(file, names)
    return guard


def _is_terminal(file: io.FileIO, *_arguments: object) -> bool:
    """Standard input, output and error: where the log goes."""
    return file.fileno() <= 2


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _must_not_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _must_not_skip(report)
    return report


def _must_not_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") == "true":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"nothing may be skipped where CI=true: {reason}"


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Removed at once: a store has five hundred folders, and pytest would keep those of three whole runs."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


class _Compiled(BytecodeCache):
    """The templates, compiled once in a run and not once for each server that a test starts (0.1 s)."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if (code := self._code.get(bucket.key)) is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(autouse=True, scope="session")
def templates_are_compiled_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "Environment", partial(Environment, bytecode_cache=_Compiled()))
        yield


class Clock:
    """The time, as the test has it."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """A new store on a real disk."""
    async with open_store(tmp_path / "store", clock) as opened:
        yield opened


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    """Docker Hub on loopback, empty."""
    async with FakeHub() as running:
        yield running


@dataclass(frozen=True)
class Answer:
    """An answer of the server with its whole body."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RunningMirror:
    """The real server on a port of its own, and a client for it that changes nothing of what goes over the wire."""

    def __init__(self, url: str, config: Config, application: web.Application, session: ClientSession) -> None:
        self.url, self.config, self.application, self.session = url, config, application, session

    @property
    def store(self) -> Store:
        """What the server keeps, past its HTTP side."""
        return self.application[SERVICES].store

    @property
    def usage(self) -> Usage:
        return self.application[SERVICES].usage

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        """Send one request and read the whole answer; redirects are not followed. `path` may be a whole URL."""
        url = path if path.startswith("http") else self.url + path
        async with self.session.request(method, url, allow_redirects=False, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    get = partialmethod(request, "GET")
    head = partialmethod(request, "HEAD")
    put = partialmethod(request, "PUT")
    post = partialmethod(request, "POST")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")


# So that a test sees the requests that it made, and each of them; what these do has tests of its own.
PLAIN = {"prefetch": "off", "negative_ttl": 0}


def config_for(hub: FakeHub, root: Path, **sections: Any) -> Config:
    """The configuration of a server before `hub`; `sections` are laid over it: `registry={"upload_ttl": "1h"}`.

    `upstream` is that of the hub, `upstreams` are more of them.
    """
    docker_hub = {
        **PLAIN,
        "host": "docker.io",
        "url": hub.url,
        "default": True,
        "token_hosts": [hub.token_host],
        "redirect_hosts": [hub.cdn_host],
        **sections.get("upstream", {}),
    }
    return Config.model_validate(
        {
            "server": {"listen": "127.0.0.1:0", "drain_timeout": 1, **sections.get("server", {})},
            "storage": {"root": root, **sections.get("storage", {})},
            "registry": sections.get("registry", {}),
            "hosted": sections.get("hosted", {}),
            "upstreams": {
                "dockerhub": docker_hub,
                **{name: {**PLAIN, **upstream} for name, upstream in sections.get("upstreams", {}).items()},
            },
            "warm": sections.get("warm", ()),
            "log": sections.get("log", {}),
        }
    )


@asynccontextmanager
async def running(config: Config, clock: Callable[[], float]) -> AsyncIterator[RunningMirror]:
    """Serve `config` as the program does, by the test's clock."""
    applications: list[web.Application] = []
    original = app.build

    @asynccontextmanager
    async def build(config: Config) -> AsyncIterator[web.Application]:
        async with original(config, clock) as application:
            applications.append(application)
            yield application

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "build", build)
        server = serving.serving(config)
        url = await server.__aenter__()
    try:
        # A test that hangs should say where, long before the suite's own limit ends it.
        timeout = ClientTimeout(total=30)
        async with ClientSession(auto_decompress=False, cookie_jar=DummyCookieJar(), timeout=timeout) as session:
            yield RunningMirror(url, config, applications[0], session)
    finally:
        await server.__aexit__(None, None, None)


Server = Callable[..., Awaitable[RunningMirror]]


@pytest.fixture
async def server(hub: FakeHub, tmp_path: Path, clock: Clock) -> AsyncIterator[Server]:
    """Start servers before the hub: `await server(registry={...}, root=...)`, sections as in `config_for`.

    Each has a store of its own, unless it is given a `root`. All end with the test.
    """
    async with AsyncExitStack() as stack:

        async def start(root: Path | None = None, **sections: Any) -> RunningMirror:
            config = config_for(hub, root or tmp_path / f"mirror-{os.urandom(4).hex()}", **sections)
            return await stack.enter_async_context(running(config, clock))

        yield start


@pytest.fixture
async def mirror(server: Server) -> RunningMirror:
    """One server before the hub, on the defaults."""
    return await server()
