"""One download after the other, and who gets its blob: what depends on the moment."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.pull import download as module
from mirror.pull.download import Downloads
from mirror.upstream.errors import UpstreamBroken
from ocispec.digest import Digest
from ocispec.names import RepositoryName
from storage.ingest import Ingest
from storage.repository import Repository
from storage.store import Store, open_store
from tests.conftest import Clock
from tests.mirror.pull.scripted import Says, Script

NGINX, FORK, OTHER = (Repository(RepositoryName(name), "docker.io") for name in ("library/nginx", "org/fork", "org/a"))
DATA = b"some bytes"
DIGEST = Digest.of(DATA)
GOOD = Says(DATA, end=len(DATA), total=len(DATA))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path, Clock()) as store:
        yield store


async def test_the_next_one_begins_when_the_file_of_a_failed_one_is_put_away(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_away, go_on, waiting = module._put_away, asyncio.Event(), asyncio.Event()

    async def slowly(ingest: Ingest, failure: Exception | None) -> None:
        waiting.set()
        await go_on.wait()
        await put_away(ingest, failure)

    monkeypatch.setattr(module, "_put_away", slowly)
    downloads = Downloads(store, {"docker.io": Script([Says(then=UpstreamBroken("no")), GOOD])})
    failed, _ = await downloads.start(NGINX, DIGEST, None)
    await waiting.wait()
    following = asyncio.create_task(downloads.start(NGINX, DIGEST, None))
    await asyncio.wait([following], timeout=0.1)
    go_on.set()
    download, began = await following
    assert failed is not None
    assert download is not None
    assert began
    assert failed.partial.has_failed
    assert await download.partial.completed() == len(DATA)
    await downloads.settled(DIGEST)
    assert await store.blobs.is_here(DIGEST)


async def test_who_joins_while_it_is_being_linked_has_it_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = Downloads(store, {"docker.io": Script([GOOD])})
    link = store.blobs.link

    async def linking(repository: Repository, digest: Digest) -> bool:
        download = downloads.find(digest)
        assert download is not None
        download.admit(OTHER)
        return await link(repository, digest)

    monkeypatch.setattr(store.blobs, "link", linking)
    download, _ = await downloads.start(NGINX, DIGEST, None)
    assert download is not None
    download.admit(FORK)
    await downloads.settled(DIGEST)
    for repository in (NGINX, FORK, OTHER):
        file = await store.blobs.open(repository, DIGEST)
        assert file is not None
        file.close()
