"""The migrations make what `storage.index.schema` describes, from wherever and however often they are run."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text

from storage.errors import StoreUnusable
from storage.index import migrate, search
from storage.index.engine import sqlite_module, write_engine
from storage.index.migrate import HEAD, scripts, upgrade
from storage.index.schema import metadata
from tests.storage.samples import EVERYTHING


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


@contextmanager
def connected(path: Path) -> Iterator[Connection]:
    engine = write_engine(path, sqlite_module())
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def configuration(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()))
    config.attributes["connection"] = connection
    return config


def statements(path: Path) -> dict[str, str]:
    """What SQLite remembers of how each table and index was made, but for Alembic's own."""
    with connected(path) as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {name: " ".join(sql.split()) for name, sql in rows if name != "alembic_version"}


def version(path: Path) -> str | None:
    with connected(path) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def test_from_nothing_to_the_newest_version(path: Path) -> None:
    assert upgrade(path, sqlite_module())
    assert version(path) == HEAD
    with connected(path) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert changes(context) == []
        tables = {name for name in inspect(connection).get_table_names() if not is_full_text(name)}
        assert tables == {*metadata.tables, "alembic_version"}


def test_tables_columns_keys_and_indexes_are_those_of_the_schema(path: Path, tmp_path: Path) -> None:
    """As the database itself describes them: compare_metadata does not look at everything."""
    upgrade(path, sqlite_module())
    with connected(tmp_path / "schema.sqlite") as connection:
        metadata.create_all(connection)
        connection.commit()
        expected = described(connection)
    with connected(path) as connection:
        found = described(connection)
    found.pop("alembic_version")
    assert found == expected


def changes(context: MigrationContext) -> list[object]:
    """What Alembic would change, but for what only a migration can say."""
    found = compare_metadata(context, metadata)
    return [one for one in found if not (one[0] == "remove_table" and is_full_text(one[1].name))]


def is_full_text(table: str) -> bool:
    """The full-text indexes and what SQLite keeps them in: only a migration can say how those are made."""
    return table.startswith(("search_names", "search_index"))


def described(connection: Connection) -> dict[str, object]:
    look = inspect(connection)
    options = MetaData()
    options.reflect(connection)
    return {
        name: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in look.get_columns(name)
            ],
            "primary key": look.get_pk_constraint(name),
            "foreign keys": sorted(map(repr, look.get_foreign_keys(name))),
            "indexes": sorted(map(repr, look.get_indexes(name))),
            "unique": sorted(map(repr, look.get_unique_constraints(name))),
            "options": look.get_table_options(name),
        }
        for name in look.get_table_names()
        if not is_full_text(name)
    }


def test_every_index_and_constraint_has_a_name(path: Path) -> None:
    """SQLite can change a table only by copying it, and Alembic finds what to copy by name."""
    upgrade(path, sqlite_module())
    with connected(path) as connection:
        look = inspect(connection)
        for table in metadata.tables:
            assert look.get_pk_constraint(table)["name"] == f"pk_{table}"
            assert all(key["name"] for key in look.get_foreign_keys(table))
            assert all(index["name"] for index in look.get_indexes(table))


def test_there_is_one_newest_version_and_the_server_knows_it() -> None:
    directory = ScriptDirectory.from_config(configuration())
    assert directory.get_heads() == [HEAD]
    assert len(directory.get_bases()) == 1


def test_versions_are_numbered_in_their_order() -> None:
    """The server tells a newer index by comparing the numbers as text."""
    found = [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()]
    assert found == sorted(found, reverse=True)
    assert all(len(revision) == 4 and revision.isdecimal() for revision in found)


def test_a_second_time_there_is_nothing_to_do(path: Path) -> None:
    assert upgrade(path, sqlite_module())
    before = path.read_bytes()
    assert not upgrade(path, sqlite_module())
    assert path.read_bytes() == before


def test_a_second_time_by_hand_is_harmless(path: Path) -> None:
    upgrade(path, sqlite_module())
    before = statements(path)
    for _ in range(2):
        migrate._run(path, sqlite_module())
    assert statements(path) == before


def test_there_and_back_and_there_again(path: Path) -> None:
    upgrade(path, sqlite_module())
    made = statements(path)
    with connected(path) as connection:
        command.downgrade(configuration(connection), "base")
        connection.commit()
    assert statements(path) == {}
    assert version(path) is None
    assert upgrade(path, sqlite_module())
    assert statements(path) == made


def test_a_migration_that_fails_leaves_nothing_half_done(path: Path) -> None:
    with connected(path) as connection:
        connection.execute(text("CREATE TABLE store_facts (unexpected INTEGER)"))  # the last table to be made
        connection.commit()
    before = statements(path)
    with pytest.raises(StoreUnusable, match="already exists"):
        upgrade(path, sqlite_module())
    assert statements(path) == before
    assert version(path) is None
    with connected(path) as connection:
        connection.execute(text("DROP TABLE store_facts"))
        connection.commit()
    assert upgrade(path, sqlite_module())


def test_a_newer_index_is_refused_and_left_alone(path: Path) -> None:
    upgrade(path, sqlite_module())
    with connected(path) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    before = statements(path)
    with pytest.raises(StoreUnusable, match=r"9999.*newer"):
        upgrade(path, sqlite_module())
    assert statements(path) == before


def test_the_foreign_keys_hold(path: Path) -> None:
    upgrade(path, sqlite_module())
    with connected(path) as connection:
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"


UPGRADE = """
    import pathlib, sys
    from storage.index.engine import sqlite_module
    from storage.index.migrate import upgrade

    sys.stdin.readline()
    print(upgrade(pathlib.Path(sys.argv[1]), sqlite_module()))
"""


def start(path: Path, folder: Path) -> subprocess.Popen[str]:
    """Another process, in another folder, that upgrades when it is told to."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(UPGRADE), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
    )


def test_processes_that_upgrade_at_once(path: Path, tmp_path: Path) -> None:
    processes = [start(path, tmp_path) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, [error for _, error in ends]
    assert "True\n" in [printed for printed, _ in ends]
    assert version(path) == HEAD
    with connected(path) as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
        assert changes(MigrationContext.configure(connection)) == []


def test_from_another_folder(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    printed, error = start(path, elsewhere).communicate("go\n", timeout=60)
    assert (printed, error) == ("True\n", "")
    assert list(elsewhere.iterdir()) == []
    assert version(path) == HEAD


def test_the_scripts_of_an_installed_package_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "storage" / "index" / "migrate.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    monkeypatch.setattr(migrate, "__file__", str(installed))
    assert scripts() == tmp_path / "migrations"
    (tmp_path / "storage" / "_migrations").mkdir()
    assert scripts() == tmp_path / "storage" / "_migrations"


def test_what_was_there_before_there_was_a_search_is_found(path: Path) -> None:
    with connected(path) as connection:
        command.upgrade(configuration(connection), "0001")
        for statement in (
            "INSERT INTO repositories(id, upstream, name, path, created_at) VALUES (1, '', 'team/app', 'team/app', 1)",
            "INSERT INTO blobs VALUES ('sha256:aa', 1, 1)",
            "INSERT INTO manifests(repository_id, digest, media_type, size, created_at) "
            "VALUES (1, 'sha256:aa', '', 1, 1)",
            "INSERT INTO tags VALUES (1, 'bookworm', 'sha256:aa', 1, NULL)",
        ):
            connection.execute(text(statement))
        connection.commit()
    assert upgrade(path, sqlite_module())
    with connected(path) as connection:
        for word in ("eam/ap", "bookw"):
            (hit,) = search.find(connection, [word], EVERYTHING, 10).hits
            assert (hit.repository.path, hit.pulls) == ("team/app", 0)
