"""Keeps count of what is pulled and served, in memory, and writes it down every other second.

A request adds to a number and goes on. What a killed server had not written down yet is lost: two seconds of counting.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable

from mirror.pull.outcome import Outcome
from ocispec.digest import Digest
from storage.errors import StorageError
from storage.finding import Finding
from storage.repository import Repository
from storage.views import Pulls

# What traffic is counted by, besides the outcomes of pulls: bytes to clients, and bytes from upstreams.
SENT, FETCHED = "sent", "fetched"
_EVERY_SECONDS = 2.0
# Of one transaction, which others wait for.
_AT_ONCE = 500

log = logging.getLogger(__name__)


class Usage:
    """Owner of the task that writes; `close` writes for the last time. `received` are the bytes that have come from
    upstreams since the start."""

    def __init__(self, finding: Finding, received: Callable[[], int], clock: Callable[[], float]) -> None:
        self._finding, self._received, self._clock = finding, received, clock
        self._known = 0  # of what was received from upstreams, so much is written down
        self._pulls: dict[tuple[Repository, Digest], tuple[int, float]] = {}
        self._traffic = Counter[str]()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._closing.set()  # and not cancelled: what is being written down is not counted a second time
        if self._task is not None:
            await self._task
        await self.flush()

    def pulled(self, repository: Repository, digest: Digest) -> None:
        """A client got a manifest."""
        count, _ = self._pulls.get((repository, digest), (0, 0.0))
        self._pulls[repository, digest] = (count + 1, self._clock())

    def answered(self, outcome: Outcome, sent: int) -> None:
        """A client got content, `sent` bytes of it."""
        self._traffic[outcome] += 1
        self._traffic[SENT] += sent

    async def flush(self) -> None:
        """Write down what was counted. Where that fails traffic is counted on, and pulls are let go of: there may be
        many."""
        pulls = [Pulls(repository, digest, *used) for (repository, digest), used in self._pulls.items()]
        traffic, self._pulls, self._traffic = self._traffic, {}, Counter[str]()
        received = self._received()
        traffic[FETCHED] += received - self._known
        self._known = received
        try:
            while pulls or +traffic:
                await self._finding.record(pulls[:_AT_ONCE], traffic)
                del pulls[:_AT_ONCE]
                traffic = Counter[str]()
        except StorageError as error:
            log.warning("cannot write down what was used", extra={"reason": str(error)})
            self._traffic += traffic

    async def _run(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._closing.wait()
            try:
                await self.flush()
            except Exception:
                log.exception("cannot count what is used")
