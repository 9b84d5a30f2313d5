"""Upload sessions: one writer at a time, only for their own repository, over restarts, until they expire."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from ocispec.digest import Digest
from ocispec.names import RepositoryName
from storage import uploads as module
from storage.errors import DigestMismatch, SessionUnknown, StoreUnavailable
from storage.store import Store, open_store
from storage.uploads import UploadSession
from tests.conftest import Clock
from tests.storage.samples import APP, WEB, files_of, get_blob, index_of, layout_of, open_files, query, random_bytes

DIGEST, DATA = random_bytes("upload", 5_000)
HOUR = 3600.0


async def append(store: Store, session: UploadSession, data: bytes) -> None:
    async with session.turn() as ingest:
        await store.uploads.record(session)
        await ingest.append(data)


async def finish(store: Store, session: UploadSession, digest: Digest = DIGEST, last: bytes = b"") -> None:
    async with session.turn():
        await store.blobs.publish_upload(session, digest, APP, last)
        store.uploads.forget(session)


async def sessions(store: Store) -> set[object]:
    return {session for (session,) in await query(store, "SELECT id FROM upload_sessions")}


async def test_a_blob_is_pushed_in_pieces(store: Store) -> None:
    session = await store.uploads.start(APP.name)
    assert session.offset == 0
    for start in range(0, len(DATA), 999):
        found = await store.uploads.find(APP.name, session.id)
        await append(store, found, DATA[start : start + 999])
    assert session.offset == len(DATA)
    await finish(store, session)
    assert await get_blob(store, APP, DIGEST) == DATA
    assert files_of(layout_of(store))["uploads"] == []
    assert await sessions(store) == set()
    with pytest.raises(SessionUnknown):
        await store.uploads.find(APP.name, session.id)


async def test_another_repositorys_session_is_unknown(store: Store) -> None:
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA)
    for name in (WEB.name, RepositoryName("team"), RepositoryName("team/app/more")):
        with pytest.raises(SessionUnknown):
            await store.uploads.find(name, session.id)
    await store.uploads.close()  # and when it is not in memory
    with pytest.raises(SessionUnknown):
        await store.uploads.find(WEB.name, session.id)
    assert (await store.uploads.find(APP.name, session.id)).offset == len(DATA)


@pytest.mark.parametrize(
    "session",
    ["", "0" * 32, "f" * 31, "../index.sqlite", "../../etc/passwd", "..", "a" * 32 + "\n", "A" * 32, "x" * 9999],
    ids=lambda session: ascii(session)[:20],
)
async def test_an_id_that_we_never_gave_out_is_unknown(store: Store, session: str) -> None:
    before = files_of(layout_of(store))
    with pytest.raises(SessionUnknown):
        await store.uploads.find(APP.name, session)
    assert files_of(layout_of(store)) == before


async def test_ids_cannot_be_guessed_from_each_other(store: Store) -> None:
    ids = {(await store.uploads.start(APP.name)).id for _ in range(20)}
    assert len(ids) == 20
    assert {len(session) for session in ids} == {32}


async def test_a_session_survives_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with open_store(tmp_path / "store", clock) as store:
        empty, half = await store.uploads.start(APP.name), await store.uploads.start(APP.name)
        await append(store, half, DATA[:2_000])
    async with open_store(tmp_path / "store", clock) as store:
        assert (await store.uploads.find(APP.name, empty.id)).offset == 0
        found = await store.uploads.find(APP.name, half.id)
        assert found.offset == 2_000
        await append(store, found, DATA[2_000:])
        await finish(store, found)
        assert await get_blob(store, APP, DIGEST) == DATA


async def test_what_is_cancelled_is_gone(store: Store) -> None:
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA)
    async with session.turn():
        await store.uploads.cancel(session)
    assert session.ended
    assert await sessions(store) == set()
    assert files_of(layout_of(store))["uploads"] == []
    with pytest.raises(SessionUnknown):
        await store.uploads.find(APP.name, session.id)


async def test_a_wrong_digest_leaves_the_session_as_it_is(store: Store) -> None:
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA[:-1])
    with pytest.raises(DigestMismatch):
        await finish(store, session)
    assert await sessions(store) == {session.id}
    assert session.offset == len(DATA) - 1


# Turns.


async def test_two_writers_take_turns(store: Store) -> None:
    session = await store.uploads.start(APP.name)

    async def write(character: bytes) -> None:
        found = await store.uploads.find(APP.name, session.id)
        async with found.turn() as ingest:
            for _ in range(10):
                await ingest.append(character * 100)
                await asyncio.sleep(0)

    await asyncio.gather(*(write(character) for character in (b"a", b"b", b"c")))
    body = layout_of(store).upload(session.id).read_bytes()
    assert sorted(body[start : start + 1000] for start in range(0, 3000, 1000)) == [
        character * 1000 for character in (b"a", b"b", b"c")
    ]
    await finish(store, session, Digest.of(body))


async def test_who_waits_too_long_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN_SECONDS", 0.02)
    session = await store.uploads.start(APP.name)
    async with session.turn():
        with pytest.raises(StoreUnavailable, match="another request"):
            await append(store, session, DATA)
    await append(store, session, DATA)
    assert session.offset == len(DATA)


async def test_who_leaves_in_the_middle_lets_the_next_one_in(store: Store) -> None:
    session = await store.uploads.start(APP.name)

    async def stall() -> None:
        async with session.turn() as ingest:
            await ingest.append(DATA[:100])
            await asyncio.sleep(60)

    stalled = asyncio.create_task(stall())
    while session.offset < 100:
        await asyncio.sleep(0.001)
    stalled.cancel()
    await append(store, session, DATA[100:])
    await finish(store, session)
    assert await get_blob(store, APP, DIGEST) == DATA


async def test_who_waited_while_it_ended_finds_that_out(store: Store) -> None:
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA)

    async def too_late() -> bool:
        async with session.turn():
            return session.ended

    async with session.turn():
        waiting = asyncio.create_task(too_late())
        await asyncio.sleep(0)
        await store.blobs.publish_upload(session, DIGEST, APP)
        store.uploads.forget(session)
    assert await waiting


async def test_requests_at_once_find_the_same_session(store: Store) -> None:
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA[:1000])
    await store.uploads.close()
    found = await asyncio.gather(*(store.uploads.find(APP.name, session.id) for _ in range(20)))
    assert len({id(one) for one in found}) == 1


# Many sessions.


async def test_more_sessions_than_may_be_open_go_on_working(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_OPEN", 16)
    begun = [await store.uploads.start(APP.name) for _ in range(50)]
    contents = {session.id: random_bytes(f"many/{session.id}", 3000) for session in begun}

    async def push(session_id: str) -> None:
        digest, data = contents[session_id]
        for start in range(0, len(data), 1000):
            session = await store.uploads.find(APP.name, session_id)
            await append(store, session, data[start : start + 1000])
            await asyncio.sleep(0)
        await finish(store, await store.uploads.find(APP.name, session_id), digest)

    await asyncio.gather(*(push(session_id) for session_id in contents))
    for digest, data in contents.values():
        assert await get_blob(store, APP, digest) == data
    assert files_of(layout_of(store))["uploads"] == []


async def test_only_so_many_files_are_open(store: Store) -> None:
    """257 and more, with the real limit: the longest idle ones are closed, and found again."""
    begun = [await store.uploads.start(APP.name) for _ in range(300)]
    for session in begun:
        await append(store, await store.uploads.find(APP.name, session.id), b"first ")
    folder = str(layout_of(store).uploads)
    assert sum(name.startswith(folder) for name in open_files()) <= 256
    for session in begun[:20]:
        found = await store.uploads.find(APP.name, session.id)
        assert found is not session
        await append(store, found, b"second")
        assert layout_of(store).upload(session.id).read_bytes() == b"first second"


async def test_a_session_that_is_waited_for_is_not_idle(store: Store) -> None:
    """Between two turns nobody holds it; who closed or expired it then would pull the file from under the next one."""
    session = await store.uploads.start(APP.name)
    assert session.idle
    async with session.turn():
        assert not session.idle
        waiting = asyncio.create_task(append(store, session, DATA))
        await asyncio.sleep(0)
    assert not session.idle
    await waiting
    assert session.idle


async def test_who_gives_up_waiting_leaves_it_idle(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN_SECONDS", 0.01)
    session = await store.uploads.start(APP.name)
    async with session.turn():
        with pytest.raises(StoreUnavailable):
            await append(store, session, DATA)
        cancelled = asyncio.create_task(append(store, session, DATA))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
    assert session.idle


async def test_a_busy_session_is_not_closed_for_another_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_OPEN", 1)
    session = await store.uploads.start(APP.name)
    async with session.turn() as ingest:
        await ingest.append(DATA[:100])
        for _ in range(3):
            await store.uploads.start(APP.name)
        assert await store.uploads.find(APP.name, session.id) is session
        await ingest.append(DATA[100:])
    await finish(store, session)
    assert await get_blob(store, APP, DIGEST) == DATA


# Expiry.


def nothing_was_added_since(store: Store, moment: float) -> None:
    """Let every file of an upload look as if it was last written to at that time."""
    for file in layout_of(store).uploads.iterdir():
        os.utime(file, (moment, moment))


async def test_old_sessions_expire_and_young_ones_stay(store: Store, clock: Clock) -> None:
    old, closed = await store.uploads.start(APP.name), await store.uploads.start(APP.name)
    for session in (old, closed):
        await append(store, session, DATA)
    await store.uploads.close()
    old = await store.uploads.find(APP.name, old.id)
    nothing_was_added_since(store, clock.now)
    clock.advance(2 * HOUR)
    young = await store.uploads.start(APP.name)
    await append(store, young, DATA)
    assert await store.uploads.expire(HOUR) == 2
    assert await store.uploads.expire(HOUR) == 0
    assert await sessions(store) == {young.id}
    assert files_of(layout_of(store))["uploads"] == [young.id]
    for session in (old, closed):
        with pytest.raises(SessionUnknown):
            await store.uploads.find(APP.name, session.id)


async def test_expiry_spares_whoever_is_writing(store: Store, clock: Clock) -> None:
    session = await store.uploads.start(APP.name)
    clock.advance(2 * HOUR)
    async with session.turn() as ingest:
        await ingest.append(DATA[:100])
        nothing_was_added_since(store, clock.now - 2 * HOUR)
        assert await store.uploads.expire(HOUR) == 0
        await ingest.append(DATA[100:])
    await finish(store, session)
    assert await get_blob(store, APP, DIGEST) == DATA


async def test_an_upload_that_goes_on_slowly_does_not_expire(store: Store, clock: Clock) -> None:
    """What counts is how long nothing came, not how long ago it began."""
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA[:100])
    clock.advance(2 * HOUR)
    nothing_was_added_since(store, clock.now - HOUR / 2)
    assert await store.uploads.expire(HOUR) == 0
    nothing_was_added_since(store, clock.now - HOUR - 1)
    assert await store.uploads.expire(HOUR) == 1


async def test_whoever_holds_an_expired_session_is_told(store: Store, clock: Clock) -> None:
    """It must not begin the removed file again in its middle, which its running hash would call right."""
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA[:3_000])
    nothing_was_added_since(store, clock.now)
    clock.advance(2 * HOUR)
    assert await store.uploads.expire(HOUR) == 1
    assert session.ended
    with pytest.raises(StoreUnavailable):
        await append(store, session, DATA[3_000:])
    assert files_of(layout_of(store))["uploads"] == []


async def test_expiry_beside_a_request_that_finds_the_session(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session is found or it is expired; never both, with a file that nobody knows of."""
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA[:100])
    await store.uploads.close()
    nothing_was_added_since(store, clock.now)
    clock.advance(2 * HOUR)
    path, original = layout_of(store).upload(session.id), os.open
    reached, go_on = threading.Event(), threading.Event()

    def slow(name: Path, flags: int, mode: int = 0o777) -> int:
        if name == path:
            reached.set()
            go_on.wait(10)
        return original(name, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", slow)
        finding = asyncio.create_task(store.uploads.find(APP.name, session.id))
        await asyncio.to_thread(reached.wait, 10)
        expiring = asyncio.create_task(store.uploads.expire(HOUR))
        await asyncio.sleep(0.05)
        go_on.set()
        found, expired = await asyncio.gather(finding, expiring)
    assert expired == 1
    assert found.ended
    assert await sessions(store) == set()
    assert not path.exists()
    assert str(path) not in open_files()


async def test_a_clock_that_is_set_back_expires_nothing(store: Store, clock: Clock) -> None:
    await store.uploads.start(APP.name)
    clock.advance(-1000 * HOUR)
    assert await store.uploads.expire(HOUR) == 0


# What a crash left.


async def test_files_without_a_session_are_removed_and_only_those(store: Store) -> None:
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA)
    for name in ("0" * 32, "not ours"):
        (layout_of(store).uploads / name).write_bytes(b"stray")
    await store.uploads.remove_strays()
    assert files_of(layout_of(store))["uploads"] == [session.id]
    await finish(store, session)


async def test_a_session_whose_file_was_lost_begins_anew(store: Store) -> None:
    """Its bytes need not have reached the device before a power cut; its row might have."""
    session = await store.uploads.start(APP.name)
    await append(store, session, DATA)
    await store.uploads.close()
    layout_of(store).upload(session.id).unlink()
    found = await store.uploads.find(APP.name, session.id)
    assert found.offset == 0
    await append(store, found, DATA)
    await finish(store, found)
    assert await get_blob(store, APP, DIGEST) == DATA


async def test_a_session_that_has_lived_for_a_moment_is_written_down(store: Store) -> None:
    begun = [await store.uploads.start(APP.name) for _ in range(3)]
    assert await sessions(store) == set()
    await asyncio.sleep(0.2)
    assert await sessions(store) == {session.id for session in begun}


async def test_one_that_ended_before_is_not(store: Store) -> None:
    pushed, cancelled = await store.uploads.start(APP.name), await store.uploads.start(APP.name)
    await finish(store, pushed, last=DATA)
    await store.uploads.cancel(cancelled)
    await asyncio.sleep(0.2)
    assert await sessions(store) == set()
    assert await get_blob(store, APP, DIGEST) == DATA


async def test_one_that_somebody_is_at_is_written_down_after_that(store: Store) -> None:
    session = await store.uploads.start(APP.name)
    async with session.turn():
        await asyncio.sleep(0.2)
        assert await sessions(store) == set()
    await asyncio.sleep(0.2)
    assert await sessions(store) == {session.id}


async def test_an_index_that_cannot_be_written_stops_sessions_before_they_are_too_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_OPEN", 16)

    async def write(*_arguments: object, **_options: object) -> None:
        raise StoreUnavailable("no")

    with monkeypatch.context() as patch:
        patch.setattr(index_of(store), "write", write)
        for _ in range(16):
            await store.uploads.start(APP.name)
        with pytest.raises(StoreUnavailable):
            await store.uploads.start(APP.name)
    await store.uploads.start(APP.name)
    await asyncio.sleep(0.2)
    assert len(await sessions(store)) == 17


async def test_beginning_a_session_does_not_wait_for_the_device(store: Store) -> None:
    await store.uploads.record(await store.uploads.start(APP.name))
    level = await index_of(store).write(lambda on: on.exec_driver_sql("PRAGMA synchronous").scalar(), durable=False)
    assert level == 1
