"""Rows of repositories."""

from collections.abc import Callable
from itertools import islice

from sqlalchemy import Connection, bindparam, insert, select

from ocispec.names import RepositoryName
from ocispec.pagination import Page
from storage.index.schema import repositories
from storage.repository import Repository

_ROWS = 256
_FIND = select(repositories.c.id).where(
    repositories.c.upstream == bindparam("upstream"), repositories.c.name == bindparam("name")
)


def key(repository: Repository) -> dict[str, str]:
    """The parameters that name a repository in a statement."""
    return {"upstream": repository.upstream, "name": str(repository.name)}


def find(connection: Connection, repository: Repository) -> int | None:
    return connection.execute(_FIND, key(repository)).scalar()


def ensure(connection: Connection, repository: Repository, now: float) -> int:
    """The row's id; the row is made where there is none."""
    found = find(connection, repository)
    if found is not None:
        return found
    row = {**key(repository), "path": repository.path, "created_at": now}
    made = connection.execute(insert(repositories).values(row)).inserted_primary_key
    assert made is not None
    return int(made[0])


def paths(connection: Connection, page: Page, is_shown: Callable[[Repository], bool]) -> tuple[list[str], bool]:
    """The paths that follow `page.last`, in lexical order, and whether more follow; see `Store.catalog`."""
    statement = (
        select(repositories.c.name, repositories.c.upstream)
        .where(repositories.c.path > page.last)
        .order_by(repositories.c.path)
    )
    rows = connection.execute(statement).yield_per(_ROWS)
    known = (Repository(RepositoryName(name), upstream) for name, upstream in rows)
    found = list(islice((repository.path for repository in known if is_shown(repository)), page.limit + 1))
    return found[: page.limit], len(found) > page.limit


def every(connection: Connection) -> list[Repository]:
    rows = connection.execute(select(repositories.c.name, repositories.c.upstream))
    return [Repository(RepositoryName(name), upstream) for name, upstream in rows]
