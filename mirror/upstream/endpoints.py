"""All endpoints of one upstream: which one is asked, and which next.

What they share is the pace at which they are asked, and the record of what became of it.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from mirror.config import Upstream
from mirror.upstream.errors import (
    UpstreamError,
    UpstreamNotAsked,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamUnavailable,
)
from mirror.upstream.limits import Kind
from mirror.upstream.pace import Pace
from mirror.upstream.record import Record
from mirror.upstream.retry import repeated
from mirror.upstream.state import UpstreamState
from mirror.upstream.transport import Transport

T = TypeVar("T")
log = logging.getLogger(__name__)


class Endpoints:
    """In the order of the configuration. Make it inside a running loop; `close` it in the end. `clock` is the time of
    day."""

    def __init__(self, config: Upstream, clock: Callable[[], float]) -> None:
        self._config = config
        self._pace, self._record = Pace(config), Record(clock)
        self.all = [Transport(config, url, self._pace, self._record, clock) for url in config.endpoints]
        self._passed_over: set[tuple[Kind, Transport]] = set()

    async def close(self) -> None:
        for endpoint in self.all:
            await endpoint.close()

    def suspect(self, reason: str) -> None:
        """Whoever waited for an answer has given up. Where they may have waited for their turn, that says nothing."""
        asked = next((endpoint for endpoint in self.all if not endpoint.breaker.is_open), None)
        if asked is not None and not self._pace.waiting:
            asked.breaker.suspect(reason)

    @property
    def are_asked(self) -> bool:
        """Whether a question would be put to any of them."""
        return not self._config.offline and not all(endpoint.breaker.is_open for endpoint in self.all)

    @property
    def are_scarce(self) -> bool:
        return all(endpoint.is_scarce for endpoint in self.all)

    @property
    def may_fetch_ahead(self) -> bool:
        """Whether blobs may be asked for that nobody waits for."""
        willing = any(endpoint.may_fetch_ahead for endpoint in self.all)
        return willing and not self._config.offline and self._pace.leaves_room

    @property
    def received(self) -> int:
        """Bytes of bodies since the start."""
        return self._pace.received

    @property
    def state(self) -> UpstreamState:
        return UpstreamState(
            host=self._config.host,
            is_offline=self._config.offline,
            endpoints=tuple(endpoint.state for endpoint in self.all),
            under_way=self._pace.under_way,
            waiting=self._pace.waiting,
            received=self.received,
            requests=dict(self._record.requests),
            troubles=self._record.troubles,
        )

    async def first(self, kind: Kind, ask: Callable[[Transport], Awaitable[T]], begin: int = 0) -> T:
        """What the first endpoint says that says anything; `begin` is the one to begin with.

        What a later one does not have, or refuses, proves nothing where an earlier one could not be asked.
        """
        failures: list[UpstreamError] = []
        for endpoint in self._in_turn(kind, begin):
            try:
                found = await ask(endpoint)
                self._asked_again(kind, endpoint)
                if found is not None or not failures:
                    return found
                break
            except (UpstreamUnavailable, UpstreamRateLimited) as error:
                failures.append(error)
                if len(failures) < len(self.all):
                    self._pass_over(kind, endpoint, error)
            except UpstreamRefused:
                if not failures:
                    raise
                break
        raise min(failures, key=_telling)

    def _in_turn(self, kind: Kind, begin: int) -> Sequence[Transport]:
        """The endpoints as they are asked: for pulls, those first that grant some more of them."""
        begin %= len(self.all)
        endpoints = self.all[begin:] + self.all[:begin]
        # Only these are counted; and asking for others tells what the budget is now.
        return sorted(endpoints, key=lambda one: one.is_scarce) if kind is Kind.MANIFEST else endpoints

    def _pass_over(self, kind: Kind, endpoint: Transport, error: UpstreamError) -> None:
        """One line when it begins, and not one for each request."""
        level = logging.DEBUG if (kind, endpoint) in self._passed_over else logging.INFO
        self._passed_over.add((kind, endpoint))
        facts = {"upstream": self._config.host, "endpoint": endpoint.base.authority, "kind": kind, "reason": str(error)}
        log.log(level, "asking the next endpoint", extra=facts)

    def _asked_again(self, kind: Kind, endpoint: Transport) -> None:
        if (kind, endpoint) in self._passed_over:
            self._passed_over.remove((kind, endpoint))
            facts = {"upstream": self._config.host, "endpoint": endpoint.base.authority, "kind": kind}
            log.info("an endpoint that was passed over answers again", extra=facts)

    async def persistently(self, kind: Kind, ask: Callable[[Transport], Awaitable[T]]) -> T:
        """The same, asked again where that can help."""
        return await repeated(lambda: self.first(kind, ask))


def _telling(error: UpstreamError) -> int:
    """What is most worth saying of several failures: to wait, before what went wrong, before that nobody asked."""
    return 0 if isinstance(error, UpstreamRateLimited) else 2 if isinstance(error, UpstreamNotAsked) else 1
