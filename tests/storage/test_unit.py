"""Units of work on the index: isolated from each other, committed together, never half."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from storage.errors import MissingContent, StoreFull, StoreUnavailable, TooSlow
from storage.index import facts
from storage.index.engine import sqlite_module
from storage.index.migrate import upgrade
from storage.index.unit import _LOOKERS, _WRITERS, StoreIndex


def put(name: str, value: str = "1") -> Callable[[Connection], object]:
    return lambda connection: facts.put(connection, name, value)


async def names(index: StoreIndex) -> set[str]:
    return await index.read(lambda on: set(on.execute(text("SELECT key FROM store_facts")).scalars()))


async def begin_together(index: StoreIndex, *units: Callable[[Connection], object]) -> list[asyncio.Task[object]]:
    """Units that all wait for their turn, in this order."""
    tasks: list[asyncio.Task[object]] = []
    for unit in units:
        before = len(index._waiting)
        tasks.append(asyncio.create_task(index.write(unit)))
        while len(index._waiting) == before:
            await asyncio.sleep(0.001)
    return tasks


async def write_together(index: StoreIndex, *units: Callable[[Connection], object]) -> Sequence[object]:
    """The outcomes of units that share a commit."""
    with index._turn:
        tasks = await begin_together(index, *units)
    return await asyncio.gather(*tasks, return_exceptions=True)


def kinds(outcomes: Sequence[object]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


async def test_what_is_written_can_be_read_from_then_on(index: StoreIndex) -> None:
    def unit(connection: Connection) -> str:
        facts.put(connection, "a", "1")
        return "its result"

    assert await index.write(unit) == "its result"
    assert await index.read(lambda connection: facts.get(connection, "a")) == "1"


async def test_units_run_off_the_loop(index: StoreIndex) -> None:
    here = threading.current_thread()
    assert await index.read(lambda _: threading.current_thread()) is not here
    assert await index.write(lambda _: threading.current_thread()) is not here


async def test_reading_cannot_write(index: StoreIndex) -> None:
    with pytest.raises(StoreUnavailable):
        await index.read(put("a"))
    assert await names(index) == set()


async def test_a_read_sees_one_moment(index: StoreIndex) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def unit(connection: Connection) -> tuple[str | None, str | None]:
        before = facts.get(connection, "a")
        entered.set()
        go_on.wait(10)
        return before, facts.get(connection, "a")

    reading = asyncio.create_task(index.read(unit))
    await asyncio.to_thread(entered.wait, 10)
    await index.write(put("a", "changed"))
    go_on.set()
    assert await reading == (None, None)
    assert await index.read(lambda connection: facts.get(connection, "a")) == "changed"


ENDLESS = text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")


async def test_what_people_look_for_has_an_end(index: StoreIndex) -> None:
    with pytest.raises(TooSlow):
        await index.look(lambda connection: connection.execute(ENDLESS).scalar(), patience=0.01)
    assert await index.look(lambda connection: facts.get(connection, "a"), patience=600) is None


async def test_the_end_of_a_look_is_no_end_of_the_next_one(index: StoreIndex) -> None:
    for _ in range(2 * _LOOKERS):  # each connection has had one
        with pytest.raises(TooSlow):
            await index.look(lambda connection: connection.execute(ENDLESS).scalar(), patience=0.01)
    counted = text(
        "SELECT count(*) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) "
        "SELECT i FROM n)"
    )
    assert await index.look(lambda connection: connection.execute(counted).scalar(), patience=600) == 200_000


async def test_reads_do_not_wait_for_people(index: StoreIndex) -> None:
    go_on = threading.Event()
    looking = [asyncio.create_task(index.look(lambda _: go_on.wait(30))) for _ in range(3 * _LOOKERS)]
    await index.write(put("a"))
    assert await names(index) == {"a"}
    assert not any(task.done() for task in looking)
    go_on.set()
    assert all(await asyncio.gather(*looking))


async def test_looking_cannot_write(index: StoreIndex) -> None:
    with pytest.raises(StoreUnavailable):
        await index.look(put("a"))


@pytest.mark.parametrize("error", [ValueError("mine"), MissingContent(()), KeyError("k")])
async def test_a_unit_that_raises_leaves_nothing(index: StoreIndex, error: Exception) -> None:
    def unit(connection: Connection) -> None:
        facts.put(connection, "a", "1")
        raise error

    with pytest.raises(type(error)) as caught:
        await index.write(unit)
    assert caught.value is error
    assert await names(index) == set()
    await index.write(put("b"))
    assert await names(index) == {"b"}


async def test_writes_that_wait_share_a_commit(index: StoreIndex) -> None:
    transactions: list[object] = []

    def unit(connection: Connection) -> None:
        transactions.append(connection.get_transaction())

    await write_together(index, *[unit] * _WRITERS)
    assert len(transactions) == _WRITERS
    assert len(set(transactions)) == 1


async def test_one_that_fails_does_not_touch_the_others(index: StoreIndex) -> None:
    def fail(connection: Connection) -> None:
        facts.put(connection, "never", "1")
        raise ValueError("mine")

    def violate(connection: Connection) -> None:
        facts.put(connection, "never either", "1")
        connection.execute(text("INSERT INTO tags VALUES (1, 'latest', 'sha256:none', 0, NULL)"))

    outcomes = await write_together(index, put("a"), fail, put("b"), violate, lambda _: "result", fail, put("c"))
    nothing = type(None)
    assert kinds(outcomes) == [nothing, ValueError, nothing, StoreUnavailable, str, ValueError, nothing]
    assert await names(index) == {"a", "b", "c"}


async def test_units_of_a_batch_see_those_before_them(index: StoreIndex) -> None:
    def increase(connection: Connection) -> int:
        number = int(facts.get(connection, "n") or 0) + 1
        facts.put(connection, "n", str(number))
        return number

    assert await write_together(index, *[increase] * 10) == list(range(1, 11))
    assert await asyncio.gather(*(index.write(increase) for _ in range(10))) == list(range(11, 21))


def violate_at_commit(connection: Connection) -> None:
    """Is noticed only when everything is committed."""
    connection.execute(text("PRAGMA defer_foreign_keys=1"))
    connection.execute(text("INSERT INTO tags VALUES (1, 'latest', 'sha256:none', 0, NULL)"))


async def test_a_commit_that_fails_is_a_failure_for_all(index: StoreIndex) -> None:
    assert kinds(await write_together(index, put("a"), violate_at_commit, lambda _: "result")) == [StoreUnavailable] * 3
    assert await names(index) == set()
    with pytest.raises(StoreUnavailable):
        await index.write(violate_at_commit)
    await index.write(put("b"))
    assert await names(index) == {"b"}


async def test_a_full_disk_is_a_failure_for_all_until_there_is_space(index: StoreIndex) -> None:
    def limit(pages: int) -> Callable[[Connection], object]:
        return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar()

    def fill(connection: Connection) -> None:
        facts.put(connection, "large", "x" * 2**20)

    pages = await index.write(lambda on: on.exec_driver_sql("PRAGMA page_count").scalar_one())
    await index.write(limit(pages + 2))
    assert kinds(await write_together(index, put("a"), fill, put("b"))) == [StoreFull] * 3
    with pytest.raises(StoreFull):
        await index.write(fill)
    assert await names(index) == set()
    await index.write(put("small"))
    await index.write(limit(10**6))
    await index.write(fill)
    assert await names(index) == {"small", "large"}


async def test_only_what_was_promised_waits_for_the_device(index: StoreIndex) -> None:
    def synchronous(connection: Connection) -> object:
        return connection.exec_driver_sql("PRAGMA synchronous").scalar()

    normal, full = 1, 2
    for durable in (True, False, True, True, False, False, True):
        assert await index.write(synchronous, durable=durable) == (full if durable else normal)


async def test_one_durable_write_makes_its_batch_durable(index: StoreIndex) -> None:
    def synchronous(connection: Connection) -> object:
        return connection.exec_driver_sql("PRAGMA synchronous").scalar()

    with index._turn:
        batch = [asyncio.create_task(index.write(synchronous, durable=n == 2)) for n in range(4)]
        while len(index._waiting) < len(batch):
            await asyncio.sleep(0.001)
    assert await asyncio.gather(*batch) == [2] * 4


async def test_another_writer_is_waited_for(index: StoreIndex, tmp_path: Path) -> None:
    other = sqlite_module().connect(tmp_path / "index.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(index.write(put("a")))
    await asyncio.sleep(0.05)
    assert not writing.done()
    assert await names(index) == set()  # who only reads never waits
    await asyncio.to_thread(other.execute, "COMMIT")
    await writing
    other.close()
    assert await names(index) == {"a"}


async def test_whoever_gives_up_knows_that_nothing_is_under_way_any_more(index: StoreIndex) -> None:
    """A write cannot be called back once it is handed over; what is done next must not run beside it."""
    entered, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        entered.set()
        go_on.wait(10)
        facts.put(connection, "a", "1")

    writing = asyncio.create_task(index.write(slow))
    await asyncio.to_thread(entered.wait, 10)
    writing.cancel()
    await asyncio.sleep(0.02)
    assert not writing.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await names(index) == {"a"}


async def test_what_was_given_up_before_its_turn_is_not_done(index: StoreIndex) -> None:
    with index._turn:
        before = await begin_together(index, *[put("first")] * _WRITERS)
        gives_up = asyncio.create_task(index.write(put("a")))
        stays = asyncio.create_task(index.write(put("b")))
        await asyncio.sleep(0.01)
        gives_up.cancel()
        await asyncio.sleep(0.01)
        assert gives_up.cancelled()
    await asyncio.gather(*before, stays)
    assert await names(index) == {"first", "b"}


async def test_who_gives_up_does_not_hide_what_the_others_get(index: StoreIndex) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        entered.set()
        go_on.wait(10)
        violate_at_commit(connection)

    with index._turn:
        tasks = await begin_together(index, slow, put("a"))
    await asyncio.to_thread(entered.wait, 10)
    tasks[0].cancel()
    await asyncio.sleep(0.01)
    go_on.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert kinds(outcomes) == [asyncio.CancelledError, StoreUnavailable]
    assert await names(index) == set()


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    upgrade(path, sqlite_module())
    index = StoreIndex(path, sqlite_module())
    writes = [asyncio.create_task(index.write(put(f"n{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await index.close()
    await asyncio.gather(*writes)
    again = StoreIndex(path, sqlite_module())
    assert len(await names(again)) == 20
    await again.close()


async def test_nothing_is_left_open_or_in_a_log_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    upgrade(path, sqlite_module())
    index = StoreIndex(path, sqlite_module())
    await index.write(put("a"))
    await names(index)
    await index.close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.sqlite"]


@pytest.fixture
async def closed(tmp_path: Path) -> StoreIndex:
    upgrade(tmp_path / "closed.sqlite", sqlite_module())
    index = StoreIndex(tmp_path / "closed.sqlite", sqlite_module())
    await index.close()
    return index


async def test_a_closed_index_says_so(closed: StoreIndex) -> None:
    for _ in range(2):
        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable):
                await closed.write(put("late"))


async def test_a_table_that_is_gone_is_an_error_of_the_store(index: StoreIndex) -> None:
    await index.write(put("a"))
    with pytest.raises(StoreUnavailable, match="no such table"):
        await index.read(lambda connection: connection.execute(text("SELECT * FROM absent")).all())
    with pytest.raises(StoreUnavailable, match="no such table"):
        await index.write(lambda connection: connection.execute(text("DELETE FROM absent")))


async def test_a_hundred_writers_and_readers_at_once(index: StoreIndex) -> None:
    await asyncio.gather(
        *(index.write(put(f"n{n}"), durable=n % 2 == 0) for n in range(100)),
        *(names(index) for _ in range(100)),
    )
    assert len(await names(index)) == 100
