"""The index as the rest of the store uses it: a unit of work is a function of a connection, run in a thread.

One hop for a whole unit, never one per statement, and never an await while a transaction is open. Writes go through
one thread; those that wait while a commit is under way share the next one, so a hundred pushes at once cost a few
syncs and not a hundred.
"""

import asyncio
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
        self._waiting: list[_Write] = []
        self._committing: asyncio.Task[None] | None = None

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
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_waiting())
        try:
            return await asyncio.shield(write.done)
        except asyncio.CancelledError:
            if write in self._waiting:
                self._waiting.remove(write)  # it was not begun, and now never will be
            else:
                await asyncio.wait([write.done])
            raise

    async def _commit_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                outcomes = await loop.run_in_executor(self._writer, self._commit, batch)
            except RuntimeError as error:  # no thread to be had, or closed
                outcomes = [StoreUnavailable(f"index: {error}")] * len(batch)
            for write, outcome in zip(batch, outcomes, strict=True):
                _settle(write.done, outcome)
        self._committing = None

    def _commit(self, batch: list[_Write]) -> list[Any]:
        """The result of each unit, or its exception; if the commit itself fails, that exception for all."""
        try:
            with self._write_engine.connect() as connection:
                durable = any(write.durable for write in batch)
                _set_synchronous(connection, full=durable)
                with connection.begin():
                    if len(batch) == 1:
                        return [batch[0].unit(connection)]
                    return [_in_savepoint(connection, write.unit) for write in batch]
        except Exception as error:
            return [index_error(error)] * len(batch)

    async def close(self) -> None:
        """Commit what waits, then close every connection."""
        if self._committing is not None:
            await self._committing
        self._writer.shutdown()
        self._readers.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()


def _set_synchronous(connection: Connection, *, full: bool) -> None:
    # Outside a transaction, on the raw connection: SQLAlchemy would begin one for it, and SQLite ignores it there.
    raw = connection.connection.dbapi_connection
    assert raw is not None
    try:
        raw.cursor().execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
    except Exception as error:  # the module's own, which SQLAlchemy has not seen
        raise StoreUnavailable(f"index: {error}") from error


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
