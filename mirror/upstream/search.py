"""A registry's own search, which is another service than the registry itself.

It is a help and nothing that anybody depends on: it gets little time, what it says is kept for some minutes, and where
it fails nothing was found.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from cachetools import TLRUCache
from yarl import URL

from mirror.config import Upstream
from mirror.flights import Flights
from mirror.upstream.errors import UpstreamBroken, UpstreamError
from mirror.upstream.sessions import Sessions
from mirror.upstream.translation import mapped
from ocispec.search import MAX_PAGE, SearchHit, parse_results

log = logging.getLogger(__name__)

_SECONDS = 3.0
_MAX_BYTES = 2**20
_REMEMBERED = 256
_KEPT_SECONDS, _FAILED_SECONDS = 300.0, 30.0
_MAX_QUERY = 200


class UpstreamSearch:
    """Asks the search of one upstream, as nobody in particular. Make it in a running loop; `close` it in the end."""

    def __init__(self, config: Upstream, clock: Callable[[], float]) -> None:
        self._url, self._host, self._clock = URL(config.search_url) / "v1" / "search", config.host, clock
        self._sessions = Sessions(config, self._url)
        self._flights = Flights()
        self._found: TLRUCache[str, Sequence[SearchHit]] = TLRUCache(
            _REMEMBERED, lambda _, __, now: now + _KEPT_SECONDS, clock
        )
        self._failed_at: float | None = None

    async def close(self) -> None:
        await self._flights.close()
        await self._sessions.close()

    async def find(self, query: str) -> Sequence[SearchHit]:
        """The first page of what it finds; nothing where it cannot say."""
        if not query or len(query) > _MAX_QUERY or self._has_failed():
            return ()
        found = self._found.get(query)
        return await self._flights.join(query, lambda: self._ask(query)) if found is None else found

    def _has_failed(self) -> bool:
        return self._failed_at is not None and abs(self._clock() - self._failed_at) < _FAILED_SECONDS

    async def _ask(self, query: str) -> Sequence[SearchHit]:
        try:
            found = self._found[query] = await self._answer(query)
        except UpstreamError as error:
            self._failed_at = self._clock()
            log.info("an upstream's search fails", extra={"upstream": self._host, "reason": str(error)})
            return ()
        self._failed_at = None
        return found

    async def _answer(self, query: str) -> Sequence[SearchHit]:
        url = self._url.update_query(q=query, n=MAX_PAGE)
        with mapped():
            async with asyncio.timeout(_SECONDS), self._sessions.named.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise UpstreamBroken(f"its search gave an answer that makes no sense here ({response.status})")
                body = await response.content.read(_MAX_BYTES + 1)
                while not response.content.at_eof() and len(body) <= _MAX_BYTES:
                    body += await response.content.read(_MAX_BYTES + 1 - len(body))
        try:
            return tuple(await asyncio.to_thread(parse_results, body))
        except ValueError:
            raise UpstreamBroken("its search gave an answer that cannot be read") from None
