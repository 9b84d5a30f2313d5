"""The index as the rest of the store uses it: a unit of work is a function of a connection, run in a thread.

One hop for a whole unit, never one per statement, and never an await while a transaction is open. One transaction
writes at a time. Units that wait while it commits share the next one, so a hundred pushes at once cost a few syncs and
not a hundred.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from storage.errors import StorageError, StoreFull, StoreUnavailable, TooSlow
from storage.index.engine import read_engine, write_engine

T = TypeVar("T")
Unit = Callable[[Connection], T]

_READERS = 4
# For people, beside those: however long what they look for takes, no pull waits for it.
_LOOKERS = 2
_PATIENCE = 2.0
# So many steps of SQLite's machine are some milliseconds; whoever asks for the time more often waits for Python's lock.
_STEPS = 20_000
# They only wait for their turn; as many can share a transaction.
_WRITERS = 16
_FULL = "full"  # SQLITE_FULL: "database or disk is full"
_INTERRUPTED = "interrupted"  # SQLITE_INTERRUPT


@dataclass(slots=True, eq=False)
class _Write:
    """A unit on its way; in the end it has a result or an error."""

    unit: Unit[Any]
    durable: bool
    done: bool = False
    result: Any = None
    error: Exception | None = None

    def end(self, result: Any = None, error: Exception | None = None) -> None:
        self.result, self.error, self.done = result, error, True


class StoreIndex:
    """Reads and writes of the index. Open it inside a running loop and `close` it at the end."""

    def __init__(self, path: Path, module: ModuleType) -> None:
        self._write_engine = write_engine(path, module)
        self._read_engine = read_engine(path, module, _READERS)
        self._look_engine = read_engine(path, module, _LOOKERS)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="index-read")
        self._lookers = ThreadPoolExecutor(_LOOKERS, thread_name_prefix="index-look")
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="index-write")
        self._waiting: deque[_Write] = deque()
        self._turn = threading.Lock()
        # These two belong to whoever has the turn. The connection is held: to check it out costs as much as a commit.
        self._connection: Connection | None = None
        self._synchronous = ""

    async def read(self, unit: Unit[T]) -> T:
        """Run `unit` on one consistent snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, unit)

    def _read(self, unit: Unit[T]) -> T:
        try:
            with self._read_engine.connect() as connection:
                return unit(connection)
        except DBAPIError as error:
            raise index_error(error) from error

    async def look(self, unit: Unit[T], patience: float = _PATIENCE) -> T:
        """`read` for people: no pull waits for it. Raises TooSlow where it has not ended `patience` seconds from now.

        The wait for a thread counts, so a queue of what is slow is gone as soon as the first of it.
        """
        work = partial(self._look, unit, time.monotonic() + patience)
        return await asyncio.get_running_loop().run_in_executor(self._lookers, work)

    def _look(self, unit: Unit[T], deadline: float) -> T:
        def is_late() -> bool:
            return time.monotonic() > deadline

        try:
            with self._look_engine.connect() as connection, _interrupted(connection, is_late):
                return unit(connection)
        except DBAPIError as error:
            if is_late() and _INTERRUPTED in str(error.orig):
                raise TooSlow("index: what was looked for takes too long to find") from error
            raise index_error(error) from error

    async def write(self, unit: Unit[T], *, durable: bool = True) -> T:
        """`commit`, off the loop.

        Whoever is cancelled leaves when the commit is over, and not beside it: what it holds a lock for is not done.
        """
        try:
            future = self._writers.submit(partial(self.commit, unit, durable=durable))
        except RuntimeError as error:  # no thread to be had, or closed
            raise StoreUnavailable(f"index: {error}") from error
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            if not future.cancel():  # it has begun
                await asyncio.wait([waiting])
                waiting.exception()  # nobody is left to be told
            raise

    def commit(self, unit: Unit[T], *, durable: bool = True) -> T:
        """Run `unit` in a transaction and commit it; its exception rolls it back and comes out here. Blocking.

        With `durable` the commit has reached the device. Without, it survives a killed process but maybe not a power
        cut: enough for what nobody was promised.
        """
        write = _Write(unit, durable)
        self._waiting.append(write)
        with self._turn:
            if not write.done:  # else somebody else's transaction took it along
                self._commit([self._waiting.popleft() for _ in range(len(self._waiting))])
        if write.error is not None:
            raise write.error
        result: T = write.result
        return result

    def _commit(self, batch: list[_Write]) -> None:
        """End each with its result, or its exception; if the commit itself fails, with that exception."""
        try:
            connection = self._connection = self._connection or self._write_engine.connect()
            self._set_synchronous(connection, "FULL" if any(write.durable for write in batch) else "NORMAL")
            outcomes = _run(connection, batch)
        except Exception as error:
            self._let_go()
            for write in batch:
                write.end(error=index_error(error))
        else:
            for write, (result, failure) in zip(batch, outcomes, strict=True):
                write.end(result, failure)

    def _set_synchronous(self, connection: Connection, level: str) -> None:
        # Outside a transaction, on the raw connection: SQLAlchemy would begin one for it, and SQLite ignores it there.
        raw = connection.connection.dbapi_connection
        assert raw is not None
        if level == self._synchronous:
            return
        try:
            raw.cursor().execute(f"PRAGMA synchronous={level}")
        except Exception as error:  # the module's own, which SQLAlchemy has not seen
            raise StoreUnavailable(f"index: {error}") from error
        self._synchronous = level

    def _let_go(self) -> None:
        """Of a connection that has seen an error; the next batch begins with another one."""
        connection, self._connection, self._synchronous = self._connection, None, ""
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    async def close(self) -> None:
        """Commit what waits, then close every connection."""
        self._writers.shutdown()
        self._readers.shutdown()
        self._lookers.shutdown()
        self._let_go()
        self._read_engine.dispose()
        self._look_engine.dispose()
        self._write_engine.dispose()


@contextlib.contextmanager
def _interrupted(connection: Connection, is_late: Callable[[], bool]) -> Iterator[None]:
    """End what a connection is doing when it is late (sqlite.org/c3ref/progress_handler.html)."""
    raw: Any = connection.connection.dbapi_connection
    raw.set_progress_handler(is_late, _STEPS)
    try:
        yield
    finally:
        raw.set_progress_handler(None, 0)


def _run(connection: Connection, batch: list[_Write]) -> list[tuple[Any, Exception | None]]:
    """All units in one transaction, committed; what each gave. Raises what makes all of them void."""
    with connection.begin():
        if len(batch) == 1:
            return [(batch[0].unit(connection), None)]
        return [_in_savepoint(connection, write.unit) for write in batch]


def _in_savepoint(connection: Connection, unit: Unit[Any]) -> tuple[Any, Exception | None]:
    savepoint = connection.begin_nested()
    try:
        result = unit(connection)
    except OperationalError:
        # The disk, not the unit: nothing of this batch may be acknowledged. SQLite may have rolled all of it back
        # already, so rolling this one back would only hide the error.
        raise
    except Exception as error:
        savepoint.rollback()
        return None, index_error(error)
    savepoint.commit()
    return result, None


def index_error(error: Exception) -> Exception:
    """What an error of SQLite means for the store; other exceptions pass through."""
    if not isinstance(error, DBAPIError):
        return error
    reason = str(error.orig)
    found: StorageError = StoreFull(reason) if _FULL in reason else StoreUnavailable(f"index: {reason}")
    found.__cause__ = error
    return found
