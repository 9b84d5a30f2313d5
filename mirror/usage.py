"""Keeps count of what is pulled and served, in memory, and writes it down every few seconds.

A request adds to a number and goes on. What a killed server had not written down yet is lost: some seconds of counting.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable

from ocispec.digest import Digest
from storage.errors import StorageError
from storage.finding import Finding
from storage.repository import Repository
from storage.views import Pulls

_EVERY_SECONDS = 10.0
# Of one transaction, which others wait for.
_AT_ONCE = 500

log = logging.getLogger(__name__)


class Usage:
    """Owner of the task that writes; `close` writes for the last time."""

    def __init__(self, finding: Finding, clock: Callable[[], float]) -> None:
        self._finding, self._clock = finding, clock
        self._pulls: dict[tuple[Repository, Digest], Pulls] = {}
        self._traffic = Counter[str]()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.flush()

    def pulled(self, repository: Repository, digest: Digest) -> None:
        """A client got a manifest."""
        before = self._pulls.get((repository, digest))
        count = 1 if before is None else before.count + 1
        self._pulls[repository, digest] = Pulls(repository, digest, count, self._clock())

    def add(self, what: str, amount: int = 1) -> None:
        """To the traffic of this hour."""
        self._traffic[what] += amount

    async def flush(self) -> None:
        """Write down what was counted. What cannot be written is counted on."""
        pulls, self._pulls = list(self._pulls.values()), {}
        traffic, self._traffic = self._traffic, Counter[str]()
        try:
            while pulls or traffic:
                await self._finding.record(pulls[:_AT_ONCE], traffic)
                del pulls[:_AT_ONCE]
                traffic = Counter[str]()
        except StorageError as error:
            log.warning("cannot write down what was used", extra={"reason": str(error)})
            self._traffic += traffic  # pulls are let go of: there may be many

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            await self.flush()
