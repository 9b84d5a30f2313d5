"""Many follow one file that grows, and nobody gets its last byte before it is verified."""

import asyncio
import errno
from pathlib import Path

import pytest

from storage.errors import StoreUnavailable
from storage.files import Disk
from storage.ingest import Ingest
from storage.partial import Partial
from tests.storage.samples import random_bytes

DIGEST, DATA = random_bytes("partial", 10_000)


class Reader:
    """A client: reads what is readable, as it comes."""

    def __init__(self, partial: Partial, path: Path, start: int = 0) -> None:
        self.partial, self.path, self.start, self.seen = partial, path, start, b""

    async def read(self) -> bytes:
        offset = self.start
        while (end := await self.partial.readable(offset)) > offset:
            with self.path.open("rb") as file:
                file.seek(offset)
                self.seen += file.read(end - offset)
            offset = end
        return self.seen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "partial"


@pytest.fixture
def ingest(disk: Disk, path: Path) -> Ingest:
    return Ingest(disk, path)


@pytest.fixture
def partial(ingest: Ingest) -> Partial:
    return Partial(DIGEST, ingest)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def grow(ingest: Ingest, partial: Partial, step: int = 999) -> None:
    for start in range(ingest.size, len(DATA), step):
        await ingest.append(DATA[start : start + step])
        partial.advance()


@pytest.mark.parametrize("total", [len(DATA), None], ids=["known length", "unknown length"])
async def test_many_followers_early_and_late_get_every_byte(
    ingest: Ingest, partial: Partial, path: Path, total: int | None
) -> None:
    readers = [asyncio.create_task(Reader(partial, path).read()) for _ in range(100)]
    await settled()
    partial.announce(total)
    await ingest.append(DATA[:5_000])
    partial.advance()
    readers += [asyncio.create_task(Reader(partial, path, start).read()) for start in range(0, 9_000, 100)]
    await grow(ingest, partial)
    partial.complete()
    readers.append(asyncio.create_task(Reader(partial, path).read()))
    got = await asyncio.gather(*readers)
    assert all(body == DATA for body in (*got[:100], got[-1]))
    assert got[100:-1] == [DATA[start:] for start in range(0, 9_000, 100)]
    assert partial.is_complete
    assert partial.total == len(DATA)
    await ingest.close()


async def test_the_last_byte_is_held_back_until_the_digest_is_right(
    ingest: Ingest, partial: Partial, path: Path
) -> None:
    partial.announce(len(DATA))
    await ingest.append(DATA)
    partial.advance()
    reader = Reader(partial, path)
    task = asyncio.create_task(reader.read())
    await settled()
    assert reader.seen == DATA[:-1]
    assert not task.done()
    partial.complete()
    assert await task == DATA
    await ingest.close()


async def test_where_the_length_is_unknown_the_end_itself_is_held_back(
    ingest: Ingest, partial: Partial, path: Path
) -> None:
    partial.announce(None)
    await ingest.append(DATA)
    partial.advance()
    reader = Reader(partial, path)
    task = asyncio.create_task(reader.read())
    await settled()
    assert reader.seen == DATA
    assert not task.done()
    partial.fail(StoreUnavailable("wrong bytes"))
    with pytest.raises(StoreUnavailable):
        await task
    await ingest.close()


async def test_more_bytes_than_announced_are_not_let_out(ingest: Ingest, partial: Partial) -> None:
    partial.announce(5_000)
    await ingest.append(DATA)
    partial.advance()
    assert await partial.readable(0) == 4_999
    await ingest.close()


@pytest.mark.parametrize("total", [0, None])
async def test_nothing_at_all_ends_at_once(ingest: Ingest, partial: Partial, total: int | None) -> None:
    reading = asyncio.create_task(partial.readable(0))
    partial.announce(total)
    await settled()
    assert not reading.done()
    partial.complete()
    assert await reading == 0
    assert await partial.known() == 0


async def test_a_failure_reaches_everybody_after_what_is_there(ingest: Ingest, partial: Partial, path: Path) -> None:
    readers = [Reader(partial, path) for _ in range(50)]
    tasks = [asyncio.create_task(reader.read()) for reader in readers]
    partial.announce(len(DATA))
    await ingest.append(DATA[:4_000])
    partial.advance()
    await settled()
    error = OSError(errno.EIO, "the upstream broke off")
    partial.fail(error)
    assert await asyncio.gather(*tasks, return_exceptions=True) == [error] * 50
    late = Reader(partial, path)
    with pytest.raises(OSError, match="broke off"):
        await late.read()
    assert {reader.seen for reader in (*readers, late)} == {DATA[:4_000]}
    assert not partial.is_complete
    await ingest.close()


async def test_a_failure_before_any_answer_ends_the_waiting_for_the_length(partial: Partial) -> None:
    waiting = [asyncio.create_task(partial.known()) for _ in range(10)]
    await settled()
    partial.fail(StoreUnavailable("no answer"))
    assert {type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)} == {StoreUnavailable}
    with pytest.raises(StoreUnavailable):
        await partial.known()


async def test_verified_bytes_stay_good_where_they_cannot_be_kept(ingest: Ingest, partial: Partial) -> None:
    """A full disk at the end is the store's misfortune, not that of whoever follows: the file is still open."""
    partial.announce(len(DATA))
    await ingest.append(DATA)
    reading = asyncio.create_task(partial.readable(len(DATA) - 1))
    partial.complete()
    partial.fail(StoreUnavailable("disk full"))
    assert partial.is_complete
    assert await reading == await partial.readable(0) == len(DATA)
    assert await partial.known() == len(DATA)
    await ingest.close()


@pytest.mark.parametrize("total", [len(DATA), None])
async def test_the_length_is_known_as_soon_as_the_source_answers(partial: Partial, total: int | None) -> None:
    waiting = asyncio.create_task(partial.known())
    await settled()
    assert not waiting.done()
    partial.announce(total)
    assert await waiting == total


async def test_reading_past_the_end_ends(ingest: Ingest, partial: Partial) -> None:
    await ingest.append(DATA)
    partial.complete()
    assert await partial.readable(len(DATA)) == len(DATA)
    assert await partial.readable(len(DATA) + 5) == len(DATA) + 5
    await ingest.close()


async def test_a_reader_that_leaves_changes_nothing(ingest: Ingest, partial: Partial, path: Path) -> None:
    partial.announce(len(DATA))
    leaver, stayer = (asyncio.create_task(Reader(partial, path).read()) for _ in range(2))
    await settled()
    leaver.cancel()
    await grow(ingest, partial)
    partial.complete()
    assert await stayer == DATA
    assert leaver.cancelled()
    await ingest.close()


async def test_a_file_that_begins_anew_is_waited_for(ingest: Ingest, partial: Partial) -> None:
    partial.announce(len(DATA))
    await ingest.append(DATA[:5_000])
    partial.advance()
    assert await partial.readable(0) == 5_000
    waiting = asyncio.create_task(partial.readable(5_000))
    await ingest.restart()
    partial.announce(len(DATA))
    await ingest.append(DATA[:3_000])
    partial.advance()
    await settled()
    assert not waiting.done()
    await ingest.append(DATA[3_000:])
    partial.complete()
    assert await waiting == len(DATA)
    await ingest.close()
