"""A registry's own search, which is another service than the registry itself.

It is a help and nothing that anybody depends on: it gets little time, what it says is kept for some minutes, and where
it fails that is a fact, and no error.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from aiohttp.hdrs import RETRY_AFTER
from cachetools import TLRUCache
from yarl import URL

from mirror.config import Upstream
from mirror.flights import Flights
from mirror.upstream.errors import UpstreamBroken, UpstreamError, UpstreamRateLimited
from mirror.upstream.limits import believed
from mirror.upstream.sessions import Sessions
from mirror.upstream.translation import mapped
from ocispec.limits import parse_retry_after
from ocispec.search import MAX_PAGE, SearchHit, parse_results

log = logging.getLogger(__name__)

_SECONDS = 3.0
_MAX_BYTES = 2**20
_REMEMBERED = 256
_KEPT_SECONDS, _FAILED_SECONDS = 300.0, 30.0
_MAX_QUERY = 200
# It is somebody else's service: what is typed here by many goes there by a few at a time.
_AT_ONCE = 4


class UpstreamSearch:
    """Asks the search of one upstream, as nobody in particular. Make it in a running loop; `close` it in the end."""

    def __init__(self, config: Upstream, clock: Callable[[], float]) -> None:
        self._url, self._host, self._clock = URL(config.search_url) / "v1" / "search", config.host, clock
        self._sessions = Sessions(config, self._url)
        self._flights = Flights()
        self._found: TLRUCache[str, Sequence[SearchHit]] = TLRUCache(
            _REMEMBERED, lambda _, __, now: now + _KEPT_SECONDS, clock
        )
        self._under_way = 0
        self._is_failing, self._failed_at, self._left_alone = False, 0.0, 0.0

    async def close(self) -> None:
        await self._flights.close()
        await self._sessions.close()

    async def find(self, query: str) -> Sequence[SearchHit] | None:
        """The first page of what it finds; None where it cannot say, or is not asked now."""
        if not query:
            return ()
        key = query.casefold()
        found = self._found.get(key)
        if found is not None:
            return found
        if len(query) > _MAX_QUERY or self._rest() > 0:
            return None
        return await self._flights.join(key, lambda: self._ask(key, query))

    def _rest(self) -> float:
        """For how many seconds it is still left alone. A clock that was set ends that."""
        return max(0.0, self._left_alone - abs(self._clock() - self._failed_at))

    async def _ask(self, key: str, query: str) -> Sequence[SearchHit] | None:
        if self._under_way >= _AT_ONCE:
            return None
        self._under_way += 1
        try:
            found = self._found[key] = await self._answer(query)
        except UpstreamError as error:
            self._note_failure(error)
            return None
        finally:
            self._under_way -= 1
        self._note_answer()
        return found

    def _note_failure(self, error: UpstreamError) -> None:
        seconds = believed(error.retry_after) if isinstance(error, UpstreamRateLimited) else _FAILED_SECONDS
        self._failed_at, self._left_alone = self._clock(), max(seconds, self._rest())
        if not self._is_failing:
            log.info("an upstream's search fails", extra={"upstream": self._host, "reason": str(error)})
        self._is_failing = True

    def _note_answer(self) -> None:
        if self._is_failing and not self._rest():  # and not one that was asked before it failed
            self._is_failing = False
            log.info("an upstream's search answers again", extra={"upstream": self._host})

    async def _answer(self, query: str) -> Sequence[SearchHit]:
        """Nothing where it does not like the query, which says nothing of others. Raises UpstreamError."""
        url = self._url.update_query(q=query, n=MAX_PAGE)
        with mapped():
            async with asyncio.timeout(_SECONDS), self._sessions.named.get(url, allow_redirects=False) as response:
                if response.status == 429:
                    wait = parse_retry_after(response.headers.get(RETRY_AFTER), datetime.now(UTC))
                    raise UpstreamRateLimited("its search limits our requests (429)", wait)
                if 400 <= response.status < 500 and response.status not in (401, 403):
                    return ()
                if response.status != 200:
                    raise UpstreamBroken(f"its search gave an answer that makes no sense here ({response.status})")
                body = await response.content.read(_MAX_BYTES + 1)
                while not response.content.at_eof() and len(body) <= _MAX_BYTES:
                    body += await response.content.read(_MAX_BYTES + 1 - len(body))
        try:
            return tuple(await asyncio.to_thread(parse_results, body))
        except ValueError:
            raise UpstreamBroken("its search gave an answer that cannot be read") from None
