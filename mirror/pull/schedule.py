"""Keep images fresh before anybody asks for them: `[[warm]]` of the configuration, each again and again.

A run asks about every tag, by one HEAD where nothing has changed, and fetches what is not here. Clients wait for none
of it: one run at a time, few pieces at a time, and never with the last pulls of a budget.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mirror.config import Warm
from mirror.errors import ConfigError
from mirror.pull.outcome import Outcome
from mirror.pull.warm import Stage, Step, Warming
from mirror.values import parse_image
from ocispec.image import ImageName

log = logging.getLogger(__name__)

# So that servers that start together do not ask together, and schedules of one length do not stay in step.
_FIRST_SECONDS = (2.0, 30.0)
_JITTER = 0.1
# Of one run; the rest are only counted.
_MAX_NAMED = 20


@dataclass(slots=True)
class Run:
    """What became of one run. `failed`: why, by image as it is written; `problem`: what kept it from trying more;
    `fetched` is in bytes."""

    started_at: float
    images: int = 0
    fetched: int = 0
    seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    problem: str | None = None

    async def note(self, step: Step) -> None:
        if step.role == "image":
            self.images += 1
            if step.stage is Stage.FAILED:
                self.failed[str(step.image)] = step.reason or ""
        elif step.outcome in (Outcome.MISS, Outcome.JOINED):
            self.fetched += step.size or 0


@dataclass(slots=True)
class State:
    """A schedule as it stands; times in seconds since 1970."""

    section: Warm
    next_at: float
    is_running: bool = False
    last: Run | None = None


class Schedules:
    """Owner of the tasks that keep images fresh, one for each section."""

    def __init__(self, sections: Sequence[Warm], warming: Warming, clock: Callable[[], float] = time.time) -> None:
        self._warming, self._clock = warming, clock
        self._turn = asyncio.Lock()
        self._states = [State(section, clock()) for section in sections]
        self._tasks = [asyncio.create_task(self._keep(state)) for state in self._states]

    def states(self) -> Sequence[State]:
        """In the order of the configuration."""
        return self._states

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, state: State) -> None:
        wait = _first_wait()
        while True:
            state.next_at = self._clock() + wait
            await _pause(wait)
            async with self._turn:
                await self._run(state)
            wait = _next_wait(state.section.every)

    async def _run(self, state: State) -> None:
        run, began = Run(self._clock()), time.monotonic()
        state.is_running = True
        try:
            images = await self._images(state.section, run)
            await self._warming.warm(images, state.section.platforms, run.note)
        except Exception:
            log.exception("keeping images warm failed")
            run.problem = "internal error; the server's log has it"
        finally:
            state.is_running = False
        run.seconds = time.monotonic() - began
        state.last = run
        _tell(run)

    @staticmethod
    async def _images(section: Warm, run: Run) -> list[ImageName]:
        """All that can be read of them; what cannot is noted."""
        images = list(section.images)
        try:
            lines = await asyncio.to_thread(section.read_file)
        except ConfigError as error:
            log.warning("the list of images to keep warm cannot be read", extra={"reason": str(error)})
            run.problem = "the list of images cannot be read"
            return images
        for _, line in lines:
            try:
                images.append(parse_image(line))
            except ValueError as error:
                run.images += 1
                run.failed[line] = str(error)
        return images


_pause = asyncio.sleep


def _first_wait() -> float:
    return random.uniform(*_FIRST_SECONDS)  # noqa: S311 - jitter, not a secret


def _next_wait(every: float) -> float:
    return every * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter, not a secret


def _tell(run: Run) -> None:
    for image, reason in list(run.failed.items())[:_MAX_NAMED]:
        log.warning("could not keep an image warm", extra={"image": image, "reason": reason})
    facts = {"images": run.images, "failed": len(run.failed), "bytes": run.fetched, "seconds": round(run.seconds, 3)}
    log.info("kept images warm", extra=facts)
