"""What every place for the bytes has to do. Another one than the disk joins by one more entry in `PLACES`.

Nothing here knows a path: `storage/content.py` is all that is used.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from io import FileIO
from pathlib import Path

import pytest

from ocispec.digest import Digest
from storage.content import Content
from storage.errors import DigestMismatch, StoreUnavailable
from storage.files import Disk
from storage.partial import Partial
from tests.storage.samples import layout_in, random_bytes

DIGEST, DATA = random_bytes("content", 300_000)
NOTHING = Digest.of(b"")


@asynccontextmanager
async def on_disk(folder: Path) -> AsyncIterator[Content]:
    disk = Disk()
    try:
        yield Content(layout_in(folder), disk)
    finally:
        disk.close()


PLACES: dict[str, Callable[[Path], AbstractAsyncContextManager[Content]]] = {"disk": on_disk}


@pytest.fixture(params=PLACES)
async def content(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Content]:
    async with PLACES[request.param](tmp_path / "content") as opened:
        yield opened


def nothing() -> None:
    """Is done when it is durable."""


async def keep(content: Content, data: bytes, algorithm: str = "sha256") -> Digest:
    digest = Digest.of(data, algorithm)
    ingest = content.receive(algorithm)
    await ingest.append(data)
    await ingest.verify(digest)
    await content.publish(ingest, digest, nothing)
    return digest


async def has(content: Content, digest: Digest, size: int) -> bool:
    return await asyncio.to_thread(content.has, digest, size)


async def opened(content: Content, digest: Digest, size: int) -> FileIO | None:
    return await asyncio.to_thread(content.open, digest, size)


async def read(content: Content, digest: Digest, size: int) -> bytes | None:
    """By `read` and through the file of `open`, which have to agree."""
    at_once, file = await asyncio.to_thread(content.read, digest, size), await opened(content, digest, size)
    assert at_once == (None if file is None else all_of(file))
    return at_once


def all_of(file: FileIO) -> bytes:
    with file:
        return file.readall()


async def everything(content: Content) -> set[Digest]:
    return {digest async for some in content.everything() for digest in some}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("data", [b"", b"x", DATA], ids=["nothing", "a byte", "much"])
async def test_what_is_kept_is_there_byte_for_byte(content: Content, data: bytes, algorithm: str) -> None:
    digest = await keep(content, data, algorithm)
    assert await has(content, digest, len(data))
    assert await read(content, digest, len(data)) == data
    assert await everything(content) == {digest}


async def test_what_is_not_there(content: Content) -> None:
    assert not await has(content, DIGEST, len(DATA))
    assert await read(content, DIGEST, len(DATA)) is None
    assert await everything(content) == set()
    await content.remove(DIGEST)


@pytest.mark.parametrize("size", [0, len(DATA) - 1, len(DATA) + 1])
async def test_another_length_is_not_there(content: Content, size: int) -> None:
    await keep(content, DATA)
    assert not await has(content, DIGEST, size)
    assert await read(content, DIGEST, size) is None


async def test_wrong_bytes_are_found_before_they_are_kept(content: Content) -> None:
    ingest = content.receive()
    await ingest.append(DATA[:-1] + b"x")
    with pytest.raises(DigestMismatch):
        await ingest.verify(DIGEST)
    await ingest.discard()
    assert await everything(content) == set()


async def test_nothing_is_there_before_it_is_published(content: Content) -> None:
    ingest = content.receive()
    await ingest.append(DATA)
    assert not await has(content, DIGEST, len(DATA))
    assert await everything(content) == set()
    there = await content.publish(ingest, DIGEST, lambda: content.has(DIGEST, len(DATA)))
    assert there, "what is done then finds it"


async def test_the_same_again_changes_nothing_for_who_reads(content: Content) -> None:
    await keep(content, DATA)
    reading = await opened(content, DIGEST, len(DATA))
    assert reading is not None
    with reading:
        await keep(content, DATA)
        assert reading.readall() == DATA
    assert await everything(content) == {DIGEST}


async def test_who_reads_what_is_removed_reads_on(content: Content) -> None:
    await keep(content, DATA)
    reading = await opened(content, DIGEST, len(DATA))
    assert reading is not None
    with reading:
        await content.remove(DIGEST)
        assert not await has(content, DIGEST, len(DATA))
        assert reading.readall() == DATA
    assert await everything(content) == set()


async def test_a_download_is_gone_on_with_by_one_at_a_time(content: Content) -> None:
    first = await content.receive_download(DIGEST)
    await first.append(DATA[:1000])
    with pytest.raises(StoreUnavailable):
        await content.receive_download(DIGEST)
    await first.close()
    second = await content.receive_download(DIGEST)
    assert second.size == 1000
    await second.append(DATA[1000:])
    await second.verify(DIGEST)
    await content.publish(second, DIGEST, nothing)
    assert await read(content, DIGEST, len(DATA)) == DATA


async def test_a_download_is_followed_under_either_name(content: Content) -> None:
    ingest = await content.receive_download(DIGEST)
    partial = Partial(DIGEST, ingest)
    with await content.open_download(partial) as early:
        await ingest.append(DATA)
        await content.publish(ingest, DIGEST, nothing)
        assert early.readall() == DATA
    with await content.open_download(partial) as late:
        assert late.readall() == DATA
    await content.remove(DIGEST)
    with pytest.raises(StoreUnavailable):
        await content.open_download(partial)


async def test_only_downloads_that_nobody_goes_on_with_are_removed(content: Content) -> None:
    held, left = await content.receive_download(DIGEST), await content.receive_download(NOTHING)
    await held.append(DATA[:10])
    await left.append(b"x")
    await left.close()
    assert await content.remove_old_downloads(moment=0) == 0
    assert await content.remove_old_downloads(moment=2**40) == 1
    again = await content.receive_download(NOTHING)
    assert again.size == 0
    for ingest in (held, again):
        await ingest.discard()


async def test_everything_is_listed_once(content: Content) -> None:
    kept = {await keep(content, bytes([n]), algorithm) for n in range(40) for algorithm in ("sha256", "sha512")}
    listed = [digest async for some in content.everything() for digest in some]
    assert len(listed) == len(kept)
    assert set(listed) == kept
