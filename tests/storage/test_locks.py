"""One at a time for each key."""

import asyncio
import gc

import pytest

from storage.locks import KeyedLocks, to_the_end


async def test_one_at_a_time_for_each_key() -> None:
    locks, inside, most = KeyedLocks(), {"a": 0, "b": 0}, {"a": 0, "b": 0}

    async def enter(key: str) -> None:
        async with locks.of(key):
            inside[key] += 1
            most[key] = max(most[key], inside[key])
            await asyncio.sleep(0)
            inside[key] -= 1

    await asyncio.gather(*(enter(key) for key in "ab" * 50))
    assert most == {"a": 1, "b": 1}


async def test_keys_do_not_wait_for_each_other() -> None:
    locks = KeyedLocks()
    async with locks.of("a"), asyncio.timeout(1), locks.of("b"):
        assert locks.of("a").locked()
        assert locks.of("b").locked()


async def test_a_lock_lives_as_long_as_somebody_holds_or_awaits_it() -> None:
    locks, order = KeyedLocks(), []

    async def enter(name: int) -> None:
        async with locks.of("key"):
            gc.collect()
            order.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(*(enter(n) for n in range(5)))
    assert order == list(range(5))
    gc.collect()
    assert len(locks._locks) == 0


async def test_whoever_gives_up_waiting_lets_the_next_one_in() -> None:
    locks = KeyedLocks()

    async def enter() -> str:
        async with locks.of("key"):
            return "in"

    async with locks.of("key"):
        gives_up, waits = asyncio.create_task(enter()), asyncio.create_task(enter())
        await asyncio.sleep(0)
        gives_up.cancel()
    assert await waits == "in"
    assert gives_up.cancelled()


async def test_work_that_must_not_stop_midway_does_not() -> None:
    steps = []

    async def work() -> str:
        steps.append("begun")
        await asyncio.sleep(0.01)
        steps.append("ended")
        return "result"

    assert await to_the_end(work()) == "result"
    cancelled = asyncio.create_task(to_the_end(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    assert cancelled.cancelled()
    assert steps == ["begun", "ended"] * 2


async def test_its_error_comes_out_or_is_seen() -> None:
    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await to_the_end(fail())
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    cancelled = asyncio.create_task(to_the_end(fail()))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    gc.collect()
    assert cancelled.cancelled()
    assert complaints == []
