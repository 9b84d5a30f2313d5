"""Scopes: who decides in Python and who decides in SQL say the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from mirror.values import repository_pattern
from ocispec.names import RepositoryName
from storage.index import repositories
from storage.index.engine import sqlite_module, write_engine
from storage.index.migrate import upgrade
from storage.index.schema import repositories as rows
from storage.index.scope import within
from storage.repository import Repository
from storage.scope import Rules, Scope

NAMES = ["a", "ab", "abc", "b", "a/b", "a/bc", "b/a", "c-d", "c.d/a", "c_d", "0", "a/0/b", "library/a", "b/ab/c"]
HOSTS = ["", "docker.io", "quay.io"]
HERE = [Repository(RepositoryName(name), host) for name in NAMES for host in HOSTS]


def is_pattern(text: str) -> bool:
    try:
        return repository_pattern(text) == text
    except ValueError:
        return False


PATTERNS = st.lists(st.text("abcd0/._-*?[]!", min_size=1, max_size=8).filter(is_pattern), max_size=4)
RULES = st.builds(Rules, PATTERNS, PATTERNS)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    upgrade(tmp_path / "index.sqlite", sqlite_module())
    engine = write_engine(tmp_path / "index.sqlite", sqlite_module())
    with engine.connect() as connection:
        for repository in HERE:
            repositories.ensure(connection, repository, 1)
        yield connection
    engine.dispose()


def listed(connection: Connection, scope: Scope) -> set[Repository]:
    found = connection.execute(select(rows.c.name, rows.c.upstream).where(within(scope)))
    return {Repository(RepositoryName(name), upstream) for name, upstream in found}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(HOSTS), RULES))
def test_the_index_lists_what_the_scope_has(connection: Connection, rules: dict[str, Rules]) -> None:
    scope = Scope(rules)
    assert listed(connection, scope) == {repository for repository in HERE if scope.has(repository)}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a*", {"a", "ab", "abc", "a/b", "a/bc", "a/0/b"}),
        ("[!a]", {"b", "0"}),
        ("[a-b]", {"a", "b"}),
        ("?", {"a", "b", "0"}),
        ("c[._-]d*", {"c-d", "c_d", "c.d/a"}),
    ],
)
def test_patterns(connection: Connection, pattern: str, names: set[str]) -> None:
    scope = Scope({"": Rules([pattern])})
    assert {str(repository.name) for repository in listed(connection, scope)} == names
    refused = Scope({"": Rules(deny=[pattern])})
    assert {str(repository.name) for repository in listed(connection, refused)} == set(NAMES) - names


def test_thousands_of_patterns(connection: Connection) -> None:
    many = [f"x{n}/*" for n in range(3000)]
    assert listed(connection, Scope({"": Rules(deny=[*many, "a"])})) == {
        repository for repository in HERE if repository.is_hosted and repository.name != "a"
    }
    assert listed(connection, Scope({"": Rules([*many, "a"])})) == {Repository(RepositoryName("a"))}


def test_only() -> None:
    scope = Scope({"": Rules(["a"]), "docker.io": Rules()})
    assert scope.only("").has(Repository(RepositoryName("a")))
    assert not scope.only("").has(Repository(RepositoryName("a"), "docker.io"))
    assert scope.only("quay.io") == Scope({})
