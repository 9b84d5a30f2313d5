"""Kill a server in the middle of its work, start it again, hold it to what it had promised: `run`."""

import asyncio
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.crash import moments
from tests.crash.audit import Audit
from tests.crash.check import check
from tests.crash.client import Client, ServerGone
from tests.crash.content import World
from tests.crash.history import History
from tests.crash.hub import Upstream
from tests.crash.load import Puller, Pusher
from tests.crash.report import Report
from tests.crash.server import NotReady, Server
from tests.fakes.upstream import FakeHub

_PUSHERS, _PULLERS, _DOWNLOADERS = 6, 2, 2
_READY_SECONDS = 5.0
_LAST_WORDS_SECONDS = 0.3
_KILLED_AGAIN = 0.1  # how often the start after a kill is killed, too
_WHOLE_EVERY = 20  # rounds


class Rounds:
    """A store and its clients over many lives of its server."""

    def __init__(self, folder: Path, seed: int, hub: FakeHub) -> None:
        self.report = Report(seed)
        self._chance = random.Random(f"crash/{seed}")
        world = World(seed)
        self._history = History()
        self._upstream = Upstream(hub, world)
        self.server = Server(folder, self._upstream.config())
        self._audit = Audit(self.server.store)
        self._pushers = [Pusher(world, self._chance) for _ in range(_PUSHERS)]

    async def run(self, kills: int) -> None:
        rounds = 0
        while self.report.kills < kills and not self.report.broken:
            await self._round(through_upstream=rounds % 2 == 1, whole=rounds % _WHOLE_EVERY == _WHOLE_EVERY - 1)
            rounds += 1
        await self._last_round()
        self.report.acknowledged = self._history.acknowledged

    async def _round(self, *, through_upstream: bool, whole: bool) -> None:
        """Start, check, work, kill, and look at what is left."""
        await self._start()
        async with Client(self.server, self._history, self.report) as client:
            await self._check(client, everything=whole)
            before = self._history.acknowledged
            await self._work_until_killed(client, through_upstream=through_upstream)
        await self.server.ended()
        in_flight = self._history.in_flight
        self._history.forget_unanswered()
        await self._look()
        if self._history.acknowledged == before and not in_flight:
            self.report.idle_kills += 1
        else:
            self.report.kills += 1
            self.report.in_flight += in_flight
        if self._chance.random() < _KILLED_AGAIN:
            await self._kill_while_starting()

    async def _work_until_killed(self, client: Client, *, through_upstream: bool) -> None:
        moment = self._chance.choice(moments.NAMES)
        self.report.moments[moment] += 1
        self._upstream.hub.bandwidth = self._chance.choice((2e6, 10e6, 50e6))
        workers = [pusher.run(client) for pusher in self._pushers]
        workers += [Puller(self._chance).run(client) for _ in range(_PULLERS)]
        if through_upstream:
            workers += [self._upstream.pull(client, self._chance) for _ in range(_DOWNLOADERS)]
        tasks = [asyncio.create_task(worker) for worker in workers]
        try:
            await moments.kill_at(moment, self.server, self._history, self._chance)
            # Answers that it had sent off already are answers.
            await asyncio.wait(tasks, timeout=_LAST_WORDS_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            self._upstream.hub.bandwidth = None
        for error in outcomes:
            if isinstance(error, Exception):
                raise error

    async def _start(self) -> None:
        seconds = await self.server.start()
        self.report.slowest_start = max(self.report.slowest_start, seconds)
        if seconds > _READY_SECONDS:
            self.report.violate(f"the start took {seconds:.1f} s")
        left = [path.name for path in (self.server.store / "tmp").iterdir()]
        if left:
            self.report.violate(f"tmp/ is not empty after the start: {left[:5]}")

    async def _check(self, client: Client, *, everything: bool) -> None:
        self.report.checked += await check(client, everything=everything)
        self.report.checked += await self._upstream.check(client)
        self.report.resumed_downloads += self._upstream.resumed()

    async def _look(self, *, tidy: bool = False) -> None:
        """At the store of a server that has ended, and at what it had to say."""
        checked, wrong = await asyncio.to_thread(self._audit.look, tidy=tidy)
        self.report.checked += checked
        for what in [*wrong, *self.server.errors()]:
            self.report.violate(what)

    async def _kill_while_starting(self) -> None:
        self.server.spawn()
        await asyncio.sleep(self._chance.uniform(0.3, 1.1) * self.report.slowest_start)
        self.server.kill()
        await self.server.ended()
        self.report.start_kills += 1
        await self._look()

    async def _last_round(self) -> None:
        """Everything is checked, every upload is brought to its end, and nothing is left behind."""
        await self._start()
        async with Client(self.server, self._history, self.report) as client:
            await self._check(client, everything=True)
            for session in self._history.sessions.copy():
                if await client.go_on(session):
                    await client.finish(session)
            await self._check(client, everything=True)
        async with asyncio.timeout(60):
            while not self.server.has_swept():
                await asyncio.sleep(0.05)
        if (code := await self.server.stop()) != 0:
            self.report.violate(f"exit code {code} after SIGTERM")
        await self._look(tidy=True)


async def run(kills: int, seed: int, folder: Path) -> Report:
    """The figures of `kills` kills on one store in `folder`; it ends early with the first broken promise."""
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        rounds = Rounds(folder, seed, await stack.enter_async_context(FakeHub()))
        stack.push_async_callback(rounds.server.close)
        try:
            await rounds.run(kills)
        except NotReady as error:
            rounds.report.violate(str(error))
        except ServerGone:
            rounds.report.violate("a server that nobody killed has gone")
    rounds.report.seconds = time.monotonic() - began
    return rounds.report
