"""The SQLite files: which SQLite, which pragmas, and how a transaction begins.

One connection writes, a few read (docs/decisions/0003). Only these two engines ever open the file: closing any other
descriptor on it would drop SQLite's locks.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from storage.errors import StoreUnusable

# SQLite up to 3.51.2 can corrupt a WAL database that two connections use; fixed in 3.51.3, 3.50.7 and 3.44.6
# (sqlite.org/wal.html#walresetbug).
_SAFE_SINCE = {(3, 44): 6, (3, 50): 7, (3, 51): 3}

_PRAGMAS = {
    "journal_mode": "wal",
    "busy_timeout": 10000,
    "foreign_keys": 1,
    "journal_size_limit": 64 * 2**20,
    "mmap_size": 0,
    "trusted_schema": 0,
}


def sqlite_module() -> ModuleType:
    """The DB-API module to use: the newest SQLite at hand. Raises StoreUnusable where every one of them is unsafe."""
    found: list[str] = []
    for name in ("pysqlite3", "sqlite3"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if is_safe(module.sqlite_version_info):
            return module
        found.append(module.sqlite_version)
    raise StoreUnusable(
        f"SQLite {', '.join(found) or '(none)'} can corrupt an index in WAL mode; "
        "install pysqlite3 0.6.1 or newer, or a Python built with SQLite 3.51.3 or newer"
    )


def is_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite is free of the WAL-reset bug."""
    patch = _SAFE_SINCE.get(version[:2])
    return version >= (3, 52, 0) or (patch is not None and version[2] >= patch)


def write_engine(path: Path, module: ModuleType) -> Engine:
    """For the one writer. BEGIN IMMEDIATE: a transaction that upgrades later could fail at once with BUSY."""
    return _engine(path, module, begin="BEGIN IMMEDIATE", extra={"synchronous": "FULL"}, size=1)


def read_engine(path: Path, module: ModuleType, size: int) -> Engine:
    return _engine(path, module, begin="BEGIN", extra={"query_only": 1}, size=size)


def _engine(path: Path, module: ModuleType, begin: str, extra: dict[str, object], size: int) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        module=module,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=30,
        # Transactions are begun by the event below; a connection moves between the threads of its own pool.
        connect_args={"isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        for pragma, value in (_PRAGMAS | extra).items():
            row = connection.execute(f"PRAGMA {pragma}={value}").fetchone()
            if pragma == "journal_mode" and row[0] != "wal":
                raise StoreUnusable(f"the index cannot use WAL here (journal_mode stays {row[0]}): is it on NFS?")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine
