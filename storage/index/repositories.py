"""Rows of repositories."""

from sqlalchemy import Connection, bindparam, insert, select

from ocispec.names import RepositoryName
from ocispec.pagination import Page
from storage.index.schema import repositories
from storage.index.scope import within
from storage.repository import Repository
from storage.scope import Scope

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


def paths(connection: Connection, page: Page, scope: Scope) -> tuple[list[str], bool]:
    """The paths that follow `page.last`, in lexical order, and whether more follow; see `Store.catalog`."""
    statement = (
        select(repositories.c.path)
        .where(repositories.c.path > page.last, within(scope))
        .order_by(repositories.c.path)
        .limit(page.limit + 1)
    )
    found = list(connection.execute(statement).scalars())
    return found[: page.limit], len(found) > page.limit


def every(connection: Connection) -> list[Repository]:
    rows = connection.execute(select(repositories.c.name, repositories.c.upstream))
    return [Repository(RepositoryName(name), upstream) for name, upstream in rows]
