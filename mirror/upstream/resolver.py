"""Name look-ups for redirects: an answer that is not public is no answer.

The connector connects to just the addresses that were checked here, so a name cannot change between the two.
"""

import socket

from aiohttp import ThreadedResolver
from aiohttp.abc import ResolveResult

from mirror.upstream.trust import is_public


class NotPublic(OSError):
    """A redirect leads to a name whose address is not one that strangers may send us to."""


class PublicResolver(ThreadedResolver):
    """Raises OSError for a name with any address that is private, loopback, link-local or otherwise special."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        if not all(is_public(result["host"]) for result in found):
            raise NotPublic("the name leads to an address that is not public")
        return found
