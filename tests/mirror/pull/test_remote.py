"""What is asked of an upstream about a tag, and with which of the last pulls of a budget."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirror.pull.freshness import Freshness
from mirror.pull.remote import RemoteManifests
from mirror.upstream.client import UpstreamClient
from mirror.upstream.errors import UpstreamBroken, UpstreamRateLimited
from ocispec.digest import Digest
from ocispec.names import RepositoryName, Tag
from storage.repository import Repository
from storage.store import open_store
from tests.conftest import Clock
from tests.mirror.pull.scripted import Script

NGINX = Repository(RepositoryName("library/nginx"), "docker.io")
LATEST = Tag("latest")
NEW = Digest.of(b"new")


class Empty(Script):
    """Says something by HEAD, and has nothing when it is asked by GET."""

    def __init__(self, head: Digest | Exception | None) -> None:
        super().__init__()
        self._head, self.fetched = head, list[str]()

    async def head_manifest(self, *_: Any) -> Digest | None:
        if isinstance(self._head, Exception):
            raise self._head
        return self._head

    async def get_manifest(self, _: Any, reference: Any, *__: Any) -> None:
        self.fetched.append(str(reference))


def allowing(times: int) -> Callable[[], None]:
    """A budget that is scarce after so many questions."""
    left = iter(range(times))

    def may_fetch() -> None:
        if next(left, None) is None:
            raise UpstreamRateLimited("scarce")

    return may_fetch


async def ask(upstream: Empty, root: Path, times: int) -> None:
    clock, upstreams = Clock(), dict[str, UpstreamClient]({"docker.io": upstream})
    async with open_store(root, clock) as store:
        remote = RemoteManifests(store, upstreams, Freshness({"docker.io": upstream.config}, clock), clock)
        assert await remote.current(NGINX, LATEST, None, allowing(times)) is None


@pytest.mark.parametrize(
    ("head", "times", "fetched"),
    [
        (UpstreamBroken("does not say"), 0, []),
        (NEW, 0, []),
        (NEW, 1, [str(NEW)]),  # and after that was not there, either
    ],
)
async def test_where_head_does_not_say_that_it_is_gone_the_budget_is_spared(
    tmp_path: Path, head: Digest | Exception, times: int, fetched: list[str]
) -> None:
    upstream = Empty(head)
    with pytest.raises(UpstreamRateLimited):
        await ask(upstream, tmp_path, times)
    assert upstream.fetched == fetched


@pytest.mark.parametrize(
    ("head", "times", "fetched"),
    [
        (None, 0, ["latest"]),  # only GET may say that it is gone
        (UpstreamBroken("does not say"), 1, ["latest"]),
        (NEW, 2, [str(NEW), "latest"]),
    ],
)
async def test_what_is_asked_else(
    tmp_path: Path, head: Digest | Exception | None, times: int, fetched: list[str]
) -> None:
    upstream = Empty(head)
    await ask(upstream, tmp_path, times)
    assert upstream.fetched == fetched
