"""Which SQLite may open the index, and how it is told to behave."""

import sqlite3
import types
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from storage.errors import StoreUnusable
from storage.index import engine as module
from storage.index.engine import is_safe, read_engine, sqlite_module, write_engine


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 7, 0), False),
        ((3, 40, 1), False),  # Debian 12
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 44, 9), True),
        ((3, 45, 0), False),
        ((3, 45, 9), False),
        ((3, 46, 1), False),  # Debian 13
        ((3, 49, 99), False),
        ((3, 50, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((3, 53, 4), True),
        ((3, 100, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_which_versions_are_safe(version: tuple[int, int, int], safe: bool) -> None:
    assert is_safe(version) is safe


def test_the_sqlite_that_is_used_is_safe() -> None:
    assert is_safe(sqlite_module().sqlite_version_info)


def modules(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Let only these modules be there, at these versions."""

    def import_module(name: str) -> Any:
        if name not in versions:
            raise ImportError(name)
        version = versions[name]
        numbers = tuple(map(int, version.split(".")))
        return types.SimpleNamespace(__name__=name, sqlite_version=version, sqlite_version_info=numbers)

    monkeypatch.setattr(module, "importlib", types.SimpleNamespace(import_module=import_module))


def test_the_first_safe_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    modules(monkeypatch, pysqlite3="3.53.4", sqlite3="3.52.0")
    assert sqlite_module().__name__ == "pysqlite3"
    modules(monkeypatch, pysqlite3="3.51.1", sqlite3="3.52.0")
    assert sqlite_module().__name__ == "sqlite3"
    modules(monkeypatch, sqlite3="3.51.3")
    assert sqlite_module().__name__ == "sqlite3"


@pytest.mark.parametrize(
    ("versions", "named"),
    [({"pysqlite3": "3.51.1", "sqlite3": "3.40.1"}, "3.51.1, 3.40.1"), ({"sqlite3": "3.46.1"}, "3.46.1"), ({}, "none")],
)
def test_an_unsafe_one_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], named: str
) -> None:
    modules(monkeypatch, **versions)
    with pytest.raises(StoreUnusable, match=named) as caught:
        sqlite_module()
    assert "install pysqlite3" in str(caught.value)


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("busy_timeout", 10000),
        ("foreign_keys", 1),
        ("journal_size_limit", 64 * 2**20),
        ("mmap_size", 0),
        ("trusted_schema", 0),
    ],
)
def test_both_engines_are_told_the_same(tmp_path: Path, pragma: str, value: object) -> None:
    writer, reader = write_engine(tmp_path / "i", sqlite_module()), read_engine(tmp_path / "i", sqlite_module(), 2)
    for engine in (writer, reader):
        with engine.connect() as connection:
            assert connection.execute(text(f"PRAGMA {pragma}")).scalar() == value
        engine.dispose()


def test_the_writer_syncs_and_the_readers_cannot_write(tmp_path: Path) -> None:
    writer, reader = write_engine(tmp_path / "i", sqlite_module()), read_engine(tmp_path / "i", sqlite_module(), 1)
    with writer.begin() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    with reader.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("INSERT INTO t VALUES (1)"))
    for engine in (writer, reader):
        engine.dispose()


def test_a_transaction_that_writes_is_one_from_its_first_statement(tmp_path: Path) -> None:
    """Otherwise a second writer could come between what it read and what it writes, and it would fail at once."""
    engine = write_engine(tmp_path / "i", sqlite_module())
    other = sqlite_module().connect(tmp_path / "i", timeout=0, isolation_level=None)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        with pytest.raises(sqlite_module().OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
    engine.dispose()


def test_a_disk_without_wal_is_refused(tmp_path: Path) -> None:
    """In memory there is none; over NFS it would be unsafe."""
    engine = write_engine(Path(":memory:"), sqlite_module())
    with pytest.raises(StoreUnusable, match="WAL"):
        engine.connect()
    engine.dispose()


def test_the_standard_librarys_module_would_do(tmp_path: Path) -> None:
    """Where Python comes with a safe SQLite, nothing else is needed; the interface is the same."""
    engine = write_engine(tmp_path / "i", sqlite3)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    engine.dispose()
