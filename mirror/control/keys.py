"""What the handlers of commands are given."""

from dataclasses import dataclass

from aiohttp import web

from mirror.management.upstreams import Upstreams
from mirror.pull.refresh import Refreshes
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
    upstreams: Upstreams


COMMANDS = web.AppKey("commands", Commands)
# Where this server can be reached by clients.
URL = web.AppKey("url", str)
