"""Orders end with the server, whatever they wait for."""

import asyncio

import pytest

from mirror.control.orders import OrderEnded, Orders
from ocispec.errors import Unavailable


async def test_an_order_that_comes_to_its_end() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)

    await Orders().carry_out(work())
    assert done == [1]


async def test_what_it_raises_is_raised() -> None:
    async def work() -> None:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it is ours
        await Orders().carry_out(work())


async def test_the_server_stops() -> None:
    orders = Orders()
    order = asyncio.create_task(orders.carry_out(asyncio.Event().wait()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    orders.check()
    await orders.close()
    with pytest.raises(OrderEnded):
        await order
    with pytest.raises(Unavailable):
        orders.check()
    with pytest.raises(OrderEnded):
        await orders.carry_out(asyncio.sleep(3600))


async def test_who_gave_it_is_gone() -> None:
    """Its handler is cancelled; so is the order."""
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    order = asyncio.create_task(Orders().carry_out(work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    order.cancel()
    with pytest.raises(asyncio.CancelledError):
        await order
    await asyncio.wait_for(ended.wait(), 5)
