"""Upload sessions: what clients are pushing, a file each, growing at its end.

A session outlives the request, the connection and the server: its file says how far it is, its row says whose it is.
Only the running hash is kept in memory; a session found again after a restart is hashed once more when it ends.

One that has no bytes yet has nothing to lose, and most end at once: its row is written when it has been idle for a
moment, or when it is about to get bytes that will not be its last (docs/decisions/0011).
"""

import asyncio
import contextlib
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from functools import partial

from ocispec.names import RepositoryName
from storage.errors import SessionUnknown, StorageError, StoreUnavailable
from storage.files import Disk, modified, remove
from storage.index import sessions
from storage.index.unit import StoreIndex
from storage.ingest import Ingest
from storage.layout import Layout
from storage.locks import KeyedLocks, to_the_end

log = logging.getLogger(__name__)

# Sessions with an open file; beyond that the longest idle ones are closed and found again when they are asked for.
_MAX_OPEN = 256
# How long a request waits for another one that is writing to the same session.
_TURN_SECONDS = 10
# How long an idle session may be without its row; and between two attempts where it cannot be written.
_MOMENT_SECONDS, _MAX_WAIT_SECONDS = 0.05, 5.0


class UploadSession:
    """One push in progress. Whoever holds its turn may write to `ingest`."""

    def __init__(self, session_id: str, repository: RepositoryName, ingest: Ingest, *, is_recorded: bool) -> None:
        """`is_recorded`: it has a row."""
        self.id, self.repository, self.ingest, self.is_recorded = session_id, repository, ingest, is_recorded
        self.ended = False  # published or cancelled: whoever waited for a turn comes too late
        self._turn = asyncio.Lock()
        self._users = 0

    @property
    def offset(self) -> int:
        """How many bytes are here."""
        return self.ingest.size

    @property
    def idle(self) -> bool:
        """Whether nobody has its turn or waits for it: between two turns the lock alone would say so, too."""
        return self._users == 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[Ingest]:
        """Write alone; raises StoreUnavailable where another request does not let go of the session."""
        self._users += 1
        try:
            await self._wait_for_turn()
            try:
                yield self.ingest
            finally:
                self._turn.release()
        finally:
            self._users -= 1

    async def _wait_for_turn(self) -> None:
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise StoreUnavailable("another request is writing to this upload") from None


class Uploads:
    """All sessions of a store."""

    def __init__(self, disk: Disk, layout: Layout, index: StoreIndex, clock: Callable[[], float]) -> None:
        self._disk, self._layout, self._index, self._clock = disk, layout, index, clock
        self._open: OrderedDict[str, UploadSession] = OrderedDict()
        self._finding = KeyedLocks()
        self._recorder: asyncio.Task[None] | None = None  # as long as there are sessions without a row
        self._recording = asyncio.Lock()

    async def start(self, repository: RepositoryName) -> UploadSession:
        """Raises StorageError where there are too many sessions to keep without writing them down, and that fails."""
        if len(self._open) >= _MAX_OPEN:
            await self._make_room()
        session_id = secrets.token_hex(16)
        ingest = Ingest(self._disk, self._layout.upload(session_id))
        session = await self._remember(UploadSession(session_id, repository, ingest, is_recorded=False))
        if self._recorder is None or self._recorder.done():
            self._recorder = asyncio.create_task(self._record_in_a_moment())
        return session

    async def record(self, session: UploadSession) -> None:
        """Write down a session that is about to get bytes. For whoever has its turn."""
        if not session.is_recorded:
            await to_the_end(self._record([session]))

    async def _record_in_a_moment(self) -> None:
        wait = _MOMENT_SECONDS
        while any(not session.is_recorded for session in self._open.values()):
            await asyncio.sleep(wait)
            try:
                await self._record_fresh()
                wait = _MOMENT_SECONDS
            except Exception as error:  # whoever brings bytes will be told, too
                wait = min(10 * wait, _MAX_WAIT_SECONDS)
                log.error("uploads that were begun cannot be written down", extra={"reason": str(error)})

    async def _make_room(self) -> None:
        """See to it that one can be closed, unless all are in use."""
        async with self._recording:
            if self._closable() is None:
                await self._record_idle()

    async def _record_fresh(self) -> None:
        async with self._recording:
            await self._record_idle()

    async def _record_idle(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if fresh := self._fresh():
                for session in fresh:
                    await stack.enter_async_context(session.turn())
                await to_the_end(self._record(fresh))

    def _fresh(self) -> list[UploadSession]:
        return [one for one in self._open.values() if one.idle and not one.is_recorded and not one.ended]

    async def _record(self, fresh: list[UploadSession]) -> None:
        now = self._clock()
        begun = [(session.id, session.repository, now) for session in fresh]
        # The rows need not survive a power cut: the bytes might not, either.
        await self._index.write(lambda on: sessions.add(on, begun), durable=False)
        for session in fresh:
            session.is_recorded = True

    async def find(self, repository: RepositoryName, session_id: str) -> UploadSession:
        """Raises SessionUnknown: also for another repository's session, as if there were none."""
        path = self._layout.upload(session_id)
        async with self._finding.of(session_id):
            session = self._open.get(session_id)
            if session is None:
                owner = await self._index.read(lambda on: sessions.repository_of(on, session_id))
                if owner != repository:
                    raise SessionUnknown(session_id)
                return await self._remember(
                    UploadSession(session_id, repository, await Ingest.resume(self._disk, path), is_recorded=True)
                )
        if session.repository != repository:
            raise SessionUnknown(session_id)
        self._open.move_to_end(session_id)
        return session

    async def cancel(self, session: UploadSession) -> None:
        """Forget a session and its bytes."""
        try:
            if session.is_recorded:
                await self._index.write(lambda on: sessions.remove(on, session.id), durable=False)
        finally:
            self.forget(session)
            await session.ingest.discard()

    def forget(self, session: UploadSession) -> None:
        """The session has ended: its file has been published or removed."""
        session.ended = True
        self._open.pop(session.id, None)

    async def expire(self, max_age_seconds: float) -> int:
        """Remove sessions that nothing was added to for that long; how many."""
        moment = self._clock() - max_age_seconds
        old = await self._index.read(lambda on: sessions.begun_before(on, moment))
        return sum([await self._expire(session_id, moment) for session_id in old])

    async def _expire(self, session_id: str, moment: float) -> bool:
        async with self._finding.of(session_id):
            if await self._disk.run(modified, self._layout.upload(session_id)) >= moment:
                return False
            session = self._open.get(session_id)
            if session is not None and not session.idle:
                return False
            if session is not None:
                self.forget(session)  # whoever found it before comes too late
                await session.ingest.close()
            await self._index.write(partial(sessions.remove, session_id=session_id), durable=False)
            await self._disk.run(remove, self._layout.upload(session_id))
            return True

    async def remove_strays(self) -> None:
        """Remove files that have no session: a crash came between the two."""
        known = await self._index.read(sessions.all_ids)
        for path in await self._disk.run(lambda: list(self._layout.uploads.iterdir())):
            if path.name not in known:
                await self._disk.run(remove, path)

    async def close(self) -> None:
        """Close every file; the sessions stay."""
        if self._recorder is not None:
            self._recorder.cancel()
            await asyncio.wait([self._recorder])
        with contextlib.suppress(StorageError):
            await self._record_fresh()
        while self._open:
            _, session = self._open.popitem()
            await session.ingest.close()

    async def _remember(self, session: UploadSession) -> UploadSession:
        self._open[session.id] = session
        while len(self._open) > _MAX_OPEN and (old := self._closable(session)):
            del self._open[old.id]
            await old.ingest.close()
        return session

    def _closable(self, spared: UploadSession | None = None) -> UploadSession | None:
        """The one that has been left alone for longest, and can be found again."""
        return next((one for one in self._open.values() if one.idle and one.is_recorded and one is not spared), None)
