"""What a blob's source remembers between its attempts, and what it does not take from the next one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mirror.pull import source, window
from mirror.pull.source import Source
from mirror.pull.window import Room
from mirror.upstream.errors import UpstreamBroken, UpstreamUnavailable
from mirror.upstream.line import Rank, Want
from ocispec.digest import Digest
from ocispec.names import RepositoryName
from storage.ingest import Ingest
from storage.partial import Partial
from storage.repository import Repository
from storage.store import open_store
from tests.conftest import Clock
from tests.mirror.pull.scripted import Request, Says, Script

NGINX = Repository(RepositoryName("library/nginx"), "docker.io")
DATA = bytes(range(250)) * 4
DIGEST = Digest.of(DATA)
SIZE = len(DATA)
BROKE = UpstreamUnavailable("the upstream broke off")


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "PART_BYTES", 100)
    monkeypatch.setattr(source, "_LONG_BYTES", 200)


@asynccontextmanager
async def reading(script: Script, root: Path, expected: int | None = None) -> AsyncIterator[tuple[Source, Ingest]]:
    """A source that reads what the script says into a file."""
    async with open_store(root, Clock()) as store:
        ingest = await store.content.receive_download(DIGEST)
        partial = Partial(DIGEST, ingest)
        reads = Source(script, NGINX, partial, ingest, expected, Room(), Want(Rank.BLOB))
        yield reads, ingest
        await reads.close()
        await ingest.close()


def content(ingest: Ingest) -> bytes:
    return ingest.path.read_bytes()


async def test_length_that_changes_is_not_believed(tmp_path: Path) -> None:
    """Clients have been told the first one."""
    script = Script([Says(DATA[:3], end=10, total=10, then=BROKE), Says(DATA[3:12], start=3, end=12, total=12)])
    async with reading(script, tmp_path) as (blob, ingest):
        with pytest.raises(UpstreamUnavailable):
            await blob.read()
        with pytest.raises(UpstreamBroken, match="12 bytes, and said 10 before"):
            await blob.read()
        assert content(ingest) == DATA[:3]


async def test_length_that_is_not_said_any_more_is_not_believed(tmp_path: Path) -> None:
    script = Script([Says(DATA[:3], end=10, total=10, then=BROKE), Says(DATA[:20])])
    async with reading(script, tmp_path) as (blob, ingest):
        with pytest.raises(UpstreamUnavailable):
            await blob.read()
        with pytest.raises(UpstreamBroken, match="said 10 before"):
            await blob.read()
        assert content(ingest) == DATA[:3]


@pytest.mark.parametrize("expected", [None, SIZE])
async def test_less_than_was_announced_is_gone_on_with(tmp_path: Path, expected: int | None) -> None:
    """Also where the connection itself ends as it should."""
    rest = Says(DATA[400:600], start=400, end=SIZE, total=SIZE)
    script = Script([Says(DATA[:400], end=SIZE, total=SIZE), rest, Says(DATA[600:], 600, SIZE, SIZE)])
    async with reading(script, tmp_path, expected) as (blob, ingest):
        for came in (400, 600):
            with pytest.raises(UpstreamUnavailable, match="sent less than it announced"):
                await blob.read()
            assert ingest.size == came
        await blob.read()
        assert content(ingest) == DATA


async def test_who_breaks_off_is_not_the_first_to_be_asked_again(tmp_path: Path) -> None:
    script = Script(
        [
            Says(DATA[:10], end=SIZE, total=SIZE, endpoint=1, then=BROKE),
            Says(DATA[10:], start=10, end=SIZE, total=SIZE, endpoint=2),
        ]
    )
    async with reading(script, tmp_path) as (blob, ingest):
        with pytest.raises(UpstreamUnavailable):
            await blob.read()
        await blob.read()
        assert content(ingest) == DATA
    assert [request.endpoint for request in script.requests] == [0, 2]


def part(first: int, **changes: object) -> Says:
    says = Says(DATA[first : first + 100], start=first, end=first + 100, total=SIZE, etag="one")
    return Says(**{**vars(says), **changes})


async def test_parts_come_from_the_endpoint_that_answered(tmp_path: Path) -> None:
    parts = {first: part(first) for first in range(100, SIZE, 100)}
    script = Script([part(0, endpoint=1)], parts, {"connections_per_blob": 4})
    async with reading(script, tmp_path, SIZE) as (blob, ingest):
        await blob.read()
        assert content(ingest) == DATA
    assert {request.endpoint for request in script.requests if request.is_part} == {1}


async def test_parts_of_another_entity_are_not_taken(tmp_path: Path) -> None:
    """A part breaks off, and what goes on with it is of another entity by then: nothing else of the first is wanted."""
    parts = {first: part(first) for first in range(100, SIZE, 100)}
    parts[100] = part(100, body=DATA[100:150], then=BROKE)
    another = Says(DATA[150:200], start=150, end=200, total=SIZE, etag="another")
    rest = Says(DATA[200:], start=200, end=SIZE, total=SIZE, etag="another")
    script = Script([part(0), another, rest], parts, {"connections_per_blob": 4})
    async with reading(script, tmp_path, SIZE) as (blob, ingest):
        with pytest.raises(UpstreamUnavailable):
            await blob.read()
        await blob.read()
        assert content(ingest) == DATA
    whole = [request for request in script.requests if not request.is_part]
    assert whole == [Request(0, 99, None, 0), Request(150, 199, "one", 1), Request(200, None, "another", 0)]
