"""Fixtures of all tests of the running server."""

import io
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

from mirror import logs
from mirror.pull import manifest
from mirror.upstream import health, limits, retry
from tests.fakes.search import FakeSearch, search_server

_MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one, gone with the test: each store begins with some five hundred folders."""
    usable = os.access(_MEMORY, os.W_OK) and os.statvfs(_MEMORY).f_bavail * os.statvfs(_MEMORY).f_frsize > 2**30
    with TemporaryDirectory(prefix="mirror-test-", dir=_MEMORY if usable else None) as folder:
        yield Path(folder)


@pytest.fixture
def access_log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Where the servers that are started after this write their access log."""
    stream = io.StringIO()
    monkeypatch.setattr(logs, "sys", SimpleNamespace(stderr=stream))
    monkeypatch.setattr(logs, "_MOMENT_SECONDS", 0)
    return stream


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that fails is asked again as often as ever, only sooner."""
    monkeypatch.setattr(retry, "_FIRST_WAIT", 0.02)
    monkeypatch.setattr(retry, "_PROBED_WAIT", 0.1)


@pytest.fixture(autouse=True)
def no_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request finds out for itself how its upstream is; the tests of the breaker have their own figures."""
    monkeypatch.setattr(health, "_FAILURES", 1_000_000)
    monkeypatch.setattr(manifest, "_PUT_OFF_SECONDS", 0.0)
    monkeypatch.setattr(limits, "_LIMITED", 0.0)
    monkeypatch.setattr(limits, "_MAX_LIMITED", 0.0)


@pytest.fixture
async def searching() -> AsyncIterator[tuple[FakeSearch, str]]:
    """Docker Hub's search, and its URL."""
    async with search_server() as running:
        yield running
