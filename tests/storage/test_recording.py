"""When a session gets its row: late, once, and for certain, whatever is cancelled, fails or stops meanwhile."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storage import uploads as module
from storage.errors import StoreUnavailable
from storage.store import Store, open_store
from tests.conftest import Clock
from tests.storage.samples import APP, get_blob, index_of, layout_of, open_files
from tests.storage.test_uploads import DATA, DIGEST, append, finish, sessions


@contextmanager
def slow_commits(store: Store, seconds: float = 0.05) -> Iterator[None]:
    index = index_of(store)
    original = index.commit

    def commit(unit: Callable[[Any], Any], *, durable: bool = True) -> Any:
        time.sleep(seconds)
        return original(unit, durable=durable)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "commit", commit)
        yield


@contextmanager
def failing_writes(store: Store, error: Exception | None = None) -> Iterator[list[float]]:
    """No row can be written; the moments of the attempts."""
    attempts: list[float] = []

    async def write(*_arguments: object, **_options: object) -> None:
        attempts.append(time.monotonic())
        await asyncio.sleep(0.001)
        raise error or StoreUnavailable("no")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_of(store), "write", write)
        yield attempts


async def cancelled(work: asyncio.Task[None]) -> None:
    await asyncio.sleep(0.02)
    work.cancel()
    await asyncio.wait([work])


async def test_a_stop_in_the_middle_of_the_commit_forgets_none(tmp_path: Path, clock: Clock) -> None:
    async with open_store(tmp_path / "store", clock) as store:
        first = await store.uploads.start(APP.name)
        with slow_commits(store):
            await asyncio.sleep(0.07)  # its row is being written
            second = await store.uploads.start(APP.name)
            await store.uploads.close()
        assert await sessions(store) == {first.id, second.id}


async def test_a_cancelled_append_does_not_keep_others_from_being_written_down(tmp_path: Path, clock: Clock) -> None:
    async with open_store(tmp_path / "store", clock) as store:
        session = await store.uploads.start(APP.name)
        with slow_commits(store):
            await cancelled(asyncio.create_task(append(store, session, b"x")))
        others = [await store.uploads.start(APP.name) for _ in range(5)]
        await append(store, session, b"y")
    async with open_store(tmp_path / "store", clock) as store:
        assert await sessions(store) == {session.id, *(other.id for other in others)}


async def test_a_cancelled_end_is_an_end(tmp_path: Path, clock: Clock) -> None:
    async with open_store(tmp_path / "store", clock) as store:
        session = await store.uploads.start(APP.name)
        with slow_commits(store):
            await cancelled(asyncio.create_task(finish(store, session, last=DATA)))
        assert session.ended
        assert APP in store.repositories
    async with open_store(tmp_path / "store", clock) as store:
        assert await get_blob(store, APP, DIGEST) == DATA
        assert await sessions(store) == set()


async def test_many_at_once_beside_an_index_that_fails_do_not_pile_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_OPEN", 32)
    monkeypatch.setattr(module, "_MAX_WAIT_SECONDS", 0.1)
    begun = 0

    async def client() -> None:
        nonlocal begun
        for _ in range(50):
            try:
                await store.uploads.start(APP.name)
                begun += 1
            except StoreUnavailable:
                pass

    with failing_writes(store):
        await asyncio.gather(*(client() for _ in range(16)))
    assert begun == 32
    await asyncio.sleep(0.6)
    assert len(await sessions(store)) == 32
    await asyncio.gather(*(client() for _ in range(4)))
    await asyncio.sleep(0.2)
    assert len(await sessions(store)) == 32 + 200


async def test_many_at_once_leave_no_more_files_open_than_may_be(store: Store) -> None:
    begun = await asyncio.gather(*(store.uploads.start(APP.name) for _ in range(400)))
    for session in begun:
        await append(store, await store.uploads.find(APP.name, session.id), b"x")
    folder = str(layout_of(store).uploads)
    assert sum(name.startswith(folder) for name in open_files()) <= 256
    assert await sessions(store) == {session.id for session in begun}


async def test_many_old_ones_do_not_make_a_new_one_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_OPEN", 16)
    for _ in range(16):
        await store.uploads.start(APP.name)
    await asyncio.sleep(0.2)
    with failing_writes(store) as attempts:
        for _ in range(10):
            await store.uploads.start(APP.name)
        assert attempts == []


@pytest.mark.parametrize("error", [StoreUnavailable("no"), RuntimeError("nobody expected that")], ids=repr)
async def test_a_failure_is_said_and_not_repeated_at_once(
    store: Store, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with failing_writes(store, error) as attempts:
        session = await store.uploads.start(APP.name)
        await asyncio.sleep(1)
    assert 1 <= len(attempts) <= 3
    assert "uploads that were begun cannot be written down" in caplog.text
    await store.uploads.record(session)
    assert await sessions(store) == {session.id}
