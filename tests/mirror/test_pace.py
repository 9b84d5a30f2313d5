"""Whose turn it is, and how much may be asked and taken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config import Upstream
from mirror.upstream import answer
from mirror.upstream import pace as pace_module
from mirror.upstream.answer import _Rate
from mirror.upstream.errors import UpstreamTimedOut
from mirror.upstream.line import Rank, Want
from mirror.upstream.pace import Bucket, Pace, Window
from tests.conftest import Clock


def pace(clock: Clock | None = None, **limits: int) -> Pace:
    config = Upstream.model_validate({"host": "ghcr.io", **{f"max_{name}": value for name, value in limits.items()}})
    return Pace(config, clock or Clock())


class Asking:
    """Requests that hold their slots until they are let go."""

    def __init__(self, pace: Pace) -> None:
        self.pace, self.begun = pace, list[str]()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def ask(self, name: str, want: Want | Rank) -> None:
        end = self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._hold(name, want if isinstance(want, Want) else Want(want), end))
        await settle()

    async def end(self, name: str) -> None:
        self._ends.pop(name).set()
        await self._tasks.pop(name)
        await settle()

    async def leave(self, name: str) -> None:
        """As a client that does not wait any longer."""
        self._ends.pop(name)
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.wait([task])
        await settle()

    async def _hold(self, name: str, want: Want, end: asyncio.Event) -> None:
        async with self.pace.slot(want):
            self.begun.append(name)
            await end.wait()

    async def close(self) -> None:
        for name in list(self._tasks):
            await self.leave(name)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def asking(pace: Pace) -> AsyncIterator[Asking]:
    requests = Asking(pace)
    yield requests
    await requests.close()
    assert (pace.under_way, pace.waiting) == (0, 0)


async def test_slots__without_a_limit_everybody_has_one() -> None:
    async with asking(pace()) as requests:
        for number in range(100):
            await requests.ask(str(number), Rank.AHEAD)
        assert requests.pace.under_way == 100


async def test_slots__go_to_the_most_urgent_and_then_in_turn() -> None:
    async with asking(pace(requests_at_once=3)) as requests:
        for name in ("a", "b", "c"):
            await requests.ask(name, Rank.BLOB)
        for name, rank in [
            ("ahead", Rank.AHEAD),
            ("part", Rank.PART),
            ("blob 1", Rank.BLOB),
            ("blob 2", Rank.BLOB),
            ("tag", Rank.QUESTION),
        ]:
            await requests.ask(name, rank)
        assert requests.begun == ["a", "b", "c"]
        for name in ("a", "b", "c", "tag", "blob 1"):
            await requests.end(name)
        assert requests.begun[3:] == ["tag", "blob 1", "blob 2", "part", "ahead"]


@pytest.mark.parametrize(("slots", "most"), [(2, 1), (3, 2), (4, 2), (5, 3), (10, 5)])
async def test_slots__ahead_gets_half_of_them_at_most(slots: int, most: int) -> None:
    limited = pace(requests_at_once=slots)
    assert limited.leaves_room
    async with asking(limited) as requests:
        for number in range(20):
            await requests.ask(str(number), Rank.AHEAD)
        assert len(requests.begun) == most
        await requests.ask("client", Rank.BLOB)
        assert requests.begun[most:] == ["client"]


@pytest.mark.parametrize(("slots", "most"), [(1, 1), (2, 2), (3, 3), (4, 3), (10, 9)])
async def test_slots__of_several_one_is_kept_from_blobs(slots: int, most: int) -> None:
    async with asking(pace(requests_at_once=slots)) as requests:
        for number in range(20):
            await requests.ask(str(number), Rank.BLOB)
        assert len(requests.begun) == most
        await requests.ask("tag", Rank.QUESTION)
        assert ("tag" in requests.begun) == (slots > most)


async def test_slots__ahead_gets_the_only_one_while_no_client_wants_it() -> None:
    limited = pace(requests_at_once=1)
    assert not limited.leaves_room
    async with asking(limited) as requests:
        await requests.ask("ahead 1", Rank.AHEAD)
        for name, rank in [("ahead 2", Rank.AHEAD), ("blob", Rank.BLOB), ("tag", Rank.QUESTION)]:
            await requests.ask(name, rank)
        for name in ("ahead 1", "tag", "blob"):
            await requests.end(name)
        assert requests.begun == ["ahead 1", "tag", "blob", "ahead 2"]


async def test_slots__that_clients_wait_long_for_is_said_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(pace_module, "_LONG_SECONDS", 0.0)
    async with asking(pace(requests_at_once=1)) as requests:
        for name, rank in [("first", Rank.BLOB), ("ahead", Rank.AHEAD), ("second", Rank.BLOB), ("third", Rank.BLOB)]:
            await requests.ask(name, rank)
        await asyncio.sleep(0.01)
    (said,) = [record for record in caplog.records if record.name == "mirror.upstream.pace"]
    assert (said.getMessage(), vars(said)["upstream"]) == ("requests wait for limits of your own", "ghcr.io")


async def test_slots__a_client_that_comes_puts_it_forward() -> None:
    async with asking(pace(requests_at_once=2)) as requests:
        held, wanted = Want(Rank.AHEAD), Want(Rank.AHEAD)
        await requests.ask("held", held)
        await requests.ask("wanted", wanted)
        await requests.ask("other", Rank.AHEAD)
        assert requests.begun == ["held"]
        wanted.hurry()
        await settle()
        assert requests.begun == ["held", "wanted"]
        await requests.end("wanted")
        assert requests.begun == ["held", "wanted"]
        held.hurry()  # so that what nobody waits for has its half again
        await settle()
        assert requests.begun == ["held", "wanted", "other"]


async def test_slots__a_part_is_as_urgent_as_the_whole_when_its_file_waits_for_it() -> None:
    whole = Want(Rank.AHEAD)
    part = Want(Rank.PART, whole)
    assert part.is_ahead
    whole.hurry()
    assert (whole.rank, part.rank) == (Rank.BLOB, Rank.PART)
    part.hurry()
    assert part.rank is Rank.BLOB
    assert Want(Rank.BLOB, Want(Rank.AHEAD)).is_ahead


async def test_slots__whoever_leaves_the_line_leaves_no_gap() -> None:
    async with asking(pace(requests_at_once=1)) as requests:
        for name in ("first", "second", "third"):
            await requests.ask(name, Rank.BLOB)
        await requests.leave("second")
        await requests.leave("first")
        assert requests.begun == ["first", "third"]


async def test_slots__one_who_is_called_and_has_left_in_the_same_moment_gives_it_back() -> None:
    limited = pace(requests_at_once=1)
    async with limited.slot(Want(Rank.BLOB)):
        task = asyncio.create_task(limited.slot(Want(Rank.BLOB)).__aenter__())
        await settle()
        assert limited.waiting == 1
    assert limited.under_way == 1  # it is called, and does not know yet
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), limited.under_way, limited.waiting) == (True, 0, 0)


async def test_slots__many_that_leave_in_the_same_moment() -> None:
    limited = pace(requests_at_once=1)

    async def hold() -> None:
        async with limited.slot(Want(Rank.BLOB)):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(4)]
    await settle()
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 4
    assert (limited.under_way, limited.waiting) == (0, 0)


@given(st.lists(st.tuples(st.sampled_from(Rank), st.integers(0, 30)), max_size=40), st.integers(1, 6))
def test_slots__are_never_more_than_there_are(steps: list[tuple[Rank, int]], slots: int) -> None:
    """Requests of any rank that come, end and leave at any moment: all of them are served in the end."""

    async def run() -> None:
        limited = pace(requests_at_once=slots)
        requests = Asking(limited)
        for number, (rank, other) in enumerate(steps):
            await requests.ask(str(number), rank)
            assert limited.under_way <= slots
            if str(other) in requests.begun and str(other) in requests._ends:
                await requests.end(str(other))
            assert limited.under_way <= slots
        await requests.close()
        assert (limited.under_way, limited.waiting) == (0, 0)

    asyncio.run(run())


def test_window__any_sixty_seconds_have_no_more_than_the_limit() -> None:
    clock = Clock()
    window = Window(3, clock)
    begun = []
    for _ in range(10):
        clock.advance(window.delay(3))
        window.note()
        begun.append(clock.now)
        clock.advance(7)
    assert all(later - earlier >= 60 for earlier, later in zip(begun, begun[3:], strict=False))
    assert begun[-1] - begun[0] == 3 * 60  # and it is made use of


async def test_window__ahead_gets_half_of_the_minute() -> None:
    clock = Clock()
    async with asking(pace(clock, requests_per_minute=4)) as requests:
        for number in range(5):
            await requests.ask(f"ahead {number}", Rank.AHEAD)
        assert requests.begun == ["ahead 0", "ahead 1"]
        for number in range(3):
            await requests.ask(f"client {number}", Rank.QUESTION)
        assert requests.begun[2:] == ["client 0", "client 1"]
        clock.advance(60)
        await requests.end("client 0")
        assert requests.begun[4:] == ["client 2", "ahead 2"]


@pytest.mark.parametrize(
    "sizes", [[65_536] * 100, [2**21, 1, 1, 2**21], [10, 0, 5_000_000]], ids=["even", "odd", "big"]
)
def test_bucket__takes_as_long_as_the_bytes_do(sizes: list[int]) -> None:
    clock = Clock(0.0)
    bucket = Bucket(1_000_000, clock)
    for size in sizes:
        clock.advance(bucket.delay())
        bucket.take(size)
    clock.advance(bucket.delay())
    assert clock.now == pytest.approx(sum(sizes) / 1_000_000)


def test_bucket__what_was_not_taken_is_not_paid_for_and_rest_is_not_saved_up() -> None:
    clock = Clock(0.0)
    bucket = Bucket(1000, clock)
    bucket.take(2000)
    bucket.take(-1500)
    assert bucket.delay() == pytest.approx(0.5)
    clock.advance(100)
    bucket.take(1000)
    assert bucket.delay() == pytest.approx(1)


async def test_bytes__go_to_clients_first() -> None:
    clock = Clock()
    limited = pace(clock, bytes_per_second=1000)
    read: list[str] = []

    async def one(name: str, want: Want) -> None:
        await limited.before_reading(want, 1000)
        read.append(name)

    await one("first", Want(Rank.BLOB))
    wants = {"ahead": Want(Rank.AHEAD), "hurried": Want(Rank.AHEAD), "client": Want(Rank.BLOB)}
    tasks = [asyncio.create_task(one(name, want)) for name, want in wants.items()]
    await settle()
    wants["hurried"].hurry()
    for _ in tasks:
        clock.advance(1)
        limited._bytes.move()
        await settle()
    assert read == ["first", "hurried", "client", "ahead"]
    await asyncio.gather(*tasks)
    limited.after_reading(1000, expected=1000)
    assert limited.received == 1000


async def test_bytes__one_who_leaves_just_when_it_is_its_turn_holds_nobody_up() -> None:
    clock = Clock()
    limited = pace(clock, bytes_per_second=1000)
    await limited.before_reading(Want(Rank.BLOB), 1000)
    first, second = (asyncio.create_task(limited.before_reading(Want(Rank.BLOB), 1000)) for _ in range(2))
    await settle()
    clock.advance(1)
    first.cancel()
    limited._bytes.move()  # as the timer does, before the first one knows
    await asyncio.wait([first, second], timeout=5)
    assert (first.cancelled(), second.done(), len(limited._bytes)) == (True, True, 0)


def test_rate__counts_the_time_in_which_it_was_waited_for() -> None:
    rate, enough = _Rate(), answer._MIN_BYTES_PER_PERIOD
    for _ in range(100):
        rate.note(enough // 10, answer._PERIOD_SECONDS / 20)
    rate = _Rate()
    rate.note(enough - 2, answer._PERIOD_SECONDS * 0.9)
    with pytest.raises(UpstreamTimedOut):
        rate.note(1, answer._PERIOD_SECONDS * 0.1)
