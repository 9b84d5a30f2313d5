"""The index as the rest of the store uses it: a unit of work is a function of a connection, run in a thread.

One hop for a whole unit, never one per statement, and never an await while a transaction is open. Writes go through
one thread; those that wait while a commit is under way share the next one, so a hundred pushes at once cost a few
syncs and not a hundred.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from storage.errors import StorageError, StoreFull, StoreUnavailable
from storage.index.engine import read_engine, write_engine

T = TypeVar("T")
Unit = Callable[[Connection], T]

_READERS = 4
_FULL = "full"  # SQLITE_FULL: "database or disk is full"


@dataclass(slots=True)
class _Write:
    unit: Unit[Any]
    durable: bool
    done: asyncio.Future[Any]


class StoreIndex:
    """Reads and writes of the index. Open it inside a running loop and `close` it at the end."""

    def __init__(self, path: Path, module: ModuleType) -> None:
        self._write_engine = write_engine(path, module)
        self._read_engine = read_engine(path, module, _READERS)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="index-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="index-write")
        self._writing: Connection | None = None  # held: to check one out costs as much as a small commit
        self._synchronous = ""
        self._waiting: list[_Write] = []
        self._committing: list[_Write] = []

    async def read(self, unit: Unit[T]) -> T:
        """Run `unit` on one consistent snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, unit)

    def _read(self, unit: Unit[T]) -> T:
        try:
            with self._read_engine.connect() as connection:
                return unit(connection)
        except DBAPIError as error:
            raise index_error(error) from error

    async def write(self, unit: Unit[T], *, durable: bool = True) -> T:
        """Run `unit` in a transaction and commit it; its exception rolls it back and comes out here.

        With `durable` the commit has reached the device. Without, it survives a killed process but maybe not a power
        cut: enough for what nobody was promised.

        Whoever is cancelled leaves when the commit is over, and not beside it: what it holds a lock for is not done.
        """
        write = _Write(unit, durable, asyncio.get_running_loop().create_future())
        self._waiting.append(write)
        if not self._committing:
            self._begin(asyncio.get_running_loop())
        try:
            return await asyncio.shield(write.done)
        except asyncio.CancelledError:
            if write in self._waiting:
                self._waiting.remove(write)  # it was not begun, and now never will be
            else:
                await asyncio.wait([write.done])
            raise

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand all that waits to the writer thread."""
        batch, self._waiting = self._waiting, []
        self._committing = batch
        try:
            future = self._writer.submit(self._commit, batch)
        except RuntimeError as error:  # no thread to be had, or closed
            self._end(loop, batch, [StoreUnavailable(f"index: {error}")] * len(batch))
        else:
            # Not by asyncio's own futures: each costs another turn of the loop, and a push waits for two commits.
            future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._end, loop, batch, done.result()))

    def _end(self, loop: asyncio.AbstractEventLoop, batch: list[_Write], outcomes: list[Any]) -> None:
        for write, outcome in zip(batch, outcomes, strict=True):
            _settle(write.done, outcome)
        self._committing = []
        if self._waiting:
            self._begin(loop)

    def _commit(self, batch: list[_Write]) -> list[Any]:
        """The result of each unit, or its exception; if the commit itself fails, that exception for all."""
        try:
            connection = self._writing = self._writing or self._write_engine.connect()
            self._set_synchronous(connection, "FULL" if any(write.durable for write in batch) else "NORMAL")
            with connection.begin():
                if len(batch) == 1:
                    return [batch[0].unit(connection)]
                return [_in_savepoint(connection, write.unit) for write in batch]
        except Exception as error:
            self._let_go()
            return [index_error(error)] * len(batch)

    def _set_synchronous(self, connection: Connection, level: str) -> None:
        # Outside a transaction, on the raw connection: SQLAlchemy would begin one for it, and SQLite ignores it there.
        raw = connection.connection.dbapi_connection
        assert raw is not None
        if level != self._synchronous:
            try:
                raw.cursor().execute(f"PRAGMA synchronous={level}")
            except Exception as error:  # the module's own, which SQLAlchemy has not seen
                raise StoreUnavailable(f"index: {error}") from error
            self._synchronous = level

    def _let_go(self) -> None:
        """Of a connection that has seen an error; the next batch begins with another one."""
        connection, self._writing, self._synchronous = self._writing, None, ""
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

    async def close(self) -> None:
        """Commit what waits, then close every connection."""
        while self._committing:
            await asyncio.wait([write.done for write in self._committing])
        self._writer.submit(self._let_go)
        self._writer.shutdown()
        self._readers.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()


def _in_savepoint(connection: Connection, unit: Unit[Any]) -> Any:
    savepoint = connection.begin_nested()
    try:
        result = unit(connection)
    except OperationalError:
        # The disk, not the unit: nothing of this batch may be acknowledged. SQLite may have rolled all of it back
        # already, so rolling this one back would only hide the error.
        raise
    except Exception as error:
        savepoint.rollback()
        return index_error(error)
    savepoint.commit()
    return result


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():  # whoever asked has been cancelled; the commit stands
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def index_error(error: Exception) -> Exception:
    """What an error of SQLite means for the store; other exceptions pass through."""
    if not isinstance(error, DBAPIError):
        return error
    reason = str(error.orig)
    found: StorageError = StoreFull(reason) if _FULL in reason else StoreUnavailable(f"index: {reason}")
    found.__cause__ = error
    return found
