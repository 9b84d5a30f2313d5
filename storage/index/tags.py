"""Rows of tags, and their history: each move is recorded in the transaction that makes it."""

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ocispec.digest import Digest
from ocispec.names import Tag
from ocispec.pagination import Page
from storage.index.repositories import key
from storage.index.schema import repositories, tag_history, tags
from storage.repository import Repository


def move(
    connection: Connection,
    repository_id: int,
    tag: Tag,
    to: Digest,
    *,
    now: float,
    checked_at: float | None,
    cause: str,
) -> None:
    """Point a tag at a manifest of the repository; the same target again only renews `checked_at`."""
    mine = (tags.c.repository_id == repository_id, tags.c.name == str(tag))
    before = connection.execute(select(tags.c.digest).where(*mine)).scalar()
    if before == str(to):
        connection.execute(update(tags).where(*mine).values(checked_at=checked_at))
        return
    row = {"digest": str(to), "updated_at": now, "checked_at": checked_at}
    if before is None:
        connection.execute(insert(tags).values(repository_id=repository_id, name=str(tag), **row))
    else:
        connection.execute(update(tags).where(*mine).values(row))
    _record(connection, repository_id, str(tag), before, str(to), now, cause)


def remove(connection: Connection, repository_id: int, tag: Tag, now: float, cause: str) -> bool:
    """Whether there was such a tag."""
    mine = (tags.c.repository_id == repository_id, tags.c.name == str(tag))
    before = connection.execute(select(tags.c.digest).where(*mine)).scalar()
    if before is None:
        return False
    connection.execute(delete(tags).where(*mine))
    _record(connection, repository_id, str(tag), before, None, now, cause)
    return True


def pointing_at(connection: Connection, repository_id: int, digest: Digest) -> list[Tag]:
    statement = select(tags.c.name).where(tags.c.repository_id == repository_id, tags.c.digest == str(digest))
    return [Tag(name) for name in connection.execute(statement).scalars()]


def names(connection: Connection, repository: Repository, page: Page) -> tuple[list[str], bool]:
    """The tags that follow `page.last`, in lexical (byte) order, and whether more follow."""
    statement = (
        select(tags.c.name)
        .join(repositories, repositories.c.id == tags.c.repository_id)
        .where(
            repositories.c.upstream == bindparam("upstream"),
            repositories.c.name == bindparam("name"),
            tags.c.name > page.last,
        )
        .order_by(tags.c.name)
        .limit(page.limit + 1)
    )
    found = list(connection.execute(statement, key(repository)).scalars())
    return found[: page.limit], len(found) > page.limit


def last_cause_of_removal(connection: Connection, repository: Repository, tag: Tag) -> str | None:
    """By what a tag went that was here; None where it is here, or never was."""
    statement = (
        select(tag_history.c.to_digest, tag_history.c.cause)
        .join(repositories, repositories.c.id == tag_history.c.repository_id)
        .where(
            repositories.c.upstream == bindparam("upstream"),
            repositories.c.name == bindparam("name"),
            tag_history.c.tag == bindparam("tag"),
        )
        .order_by((tag_history.c.id + 0).desc())  # not by the index that has it: that is of all tags of the repository
        .limit(1)
    )
    row = connection.execute(statement, {**key(repository), "tag": str(tag)}).first()
    return None if row is None or row[0] is not None else str(row[1])


def _record(
    connection: Connection, repository_id: int, tag: str, before: str | None, after: str | None, now: float, cause: str
) -> None:
    row = {"repository_id": repository_id, "tag": tag, "at": now, "from_digest": before, "to_digest": after}
    connection.execute(insert(tag_history).values(cause=cause, **row))
