"""What the handlers of commands are given."""

from dataclasses import dataclass

from aiohttp import web

from mirror.control.orders import Orders
from mirror.discovery.browse import Browse
from mirror.discovery.search import Search
from mirror.flights import Flights
from mirror.management.upstreams import Upstreams
from mirror.pull.refresh import Refreshes
from mirror.pull.schedule import Schedules
from mirror.pull.status import Statuses
from mirror.pull.warm import Warming
from mirror.routing import Names


@dataclass(frozen=True, slots=True)
class Commands:
    """The use cases of commands."""

    names: Names
    refreshes: Refreshes
    statuses: Statuses
    warming: Warming
    schedules: Schedules
    orders: Orders
    upstreams: Upstreams
    browse: Browse
    search: Search
    document: bytes  # what describes this API, in OpenAPI's form
    answers: Flights

    async def close(self) -> None:
        """Nothing more is done that nobody waits for, nor what takes long."""
        await self.schedules.close()
        await self.orders.close()


COMMANDS = web.AppKey("commands", Commands)
# Where this server can be reached by clients.
URL = web.AppKey("url", str)
# Whether only this machine can reach the port.
LOCAL = web.AppKey("local", bool)
