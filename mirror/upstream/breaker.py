"""The breaker of an endpoint: while nothing is heard from it nobody waits for it, and a probe finds out when it is
back.

When it opens is decided in mirror/upstream/health.py; what is asked as a probe, by the endpoint.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from mirror.moments import moment
from mirror.upstream import health
from mirror.upstream.errors import UpstreamError, UpstreamNotAsked, UpstreamUnavailable
from mirror.upstream.health import Health

log = logging.getLogger(__name__)

# A registry that takes longer than this to say hello is not there.
_PROBE_SECONDS = 5.0


class Breaker:
    """Owner of the task that probes; `close` cancels it. `endpoint` is its host and port.

    `probe` asks for what costs nothing, and raises UpstreamError. `clock` is the time of day, for `since`.
    """

    def __init__(
        self, upstream: str, endpoint: str, probe: Callable[[], Awaitable[None]], clock: Callable[[], float]
    ) -> None:
        self.since: float | None = None  # when it last opened or closed
        self.is_known = False  # whether there was any answer since the start
        self.reason: str | None = None  # why there was none the last time
        self._facts = {"upstream": upstream, "endpoint": endpoint}
        self._probe, self._clock = probe, clock
        self._health = Health()
        self._probing: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._health.is_open

    def admit(self, *, urgent: bool) -> None:
        """Raises UpstreamNotAsked while it is open. `urgent`: what is wanted is not here, so that the next probe
        should come soon."""
        if not self.is_open:
            return
        if urgent:
            self._wanted.set()
        silent = f"{self._facts['upstream']} has not been answering since {moment(self.since or 0)}"
        raise UpstreamNotAsked(f"{silent} ({self.reason}); it is probed until it does")

    def answered(self) -> None:
        """Whatever the answer was."""
        if self.is_open:
            self.since = self._clock()
        self.is_known, self.reason = True, None
        self._health.answered()

    def heard(self) -> None:
        """Something, if not what was asked for."""
        self.is_known = True

    def suspect(self, reason: str) -> None:
        """It did not answer, or not as soon as it should have. A probe finds out whether it is only this one question,
        or the place that it redirects to."""
        self.reason = reason
        if self._health.failed() and (self._probing is None or self._probing.done()):
            self._probing = asyncio.create_task(self._probe_until_answered(reason))

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])

    async def _probe_until_answered(self, reason: str) -> None:
        while not await self._answers():
            if not self.is_open:
                self._health.open()
                self.since = self._clock()
                facts = {**self._facts, "reason": reason}
                log.warning("an upstream does not answer: it is not asked until it does", extra=facts)
            await self._pause(self._health.next_probe())
        if self.is_open:
            log.info("an upstream answers again", extra=self._facts)
        self.answered()

    async def _pause(self, seconds: float) -> None:
        """Between two probes: shorter where somebody wants something that is not here."""
        least = min(seconds, health.FIRST_PROBE)
        await asyncio.sleep(least)
        self._wanted.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds - least):
                await self._wanted.wait()

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._probe()
        except UpstreamUnavailable as error:
            self.reason = str(error)
            return False
        except TimeoutError:
            self.reason = "the upstream did not answer in time"
            return False
        except UpstreamError:
            return True  # not what anybody wants to hear, but an answer
        except Exception:
            log.exception("unexpected error", extra=self._facts)  # whoever asks next will see
        return True
