"""Rows of upload sessions: whose they are and since when. How far one is, its file says."""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, insert, select

from storage.index.schema import upload_sessions

_ADD = insert(upload_sessions)
_REPOSITORY = select(upload_sessions.c.repository).where(upload_sessions.c.id == bindparam("session"))
_REMOVE = delete(upload_sessions).where(upload_sessions.c.id == bindparam("session"))


def add(connection: Connection, begun: Iterable[tuple[str, str, float]]) -> None:
    """Ids, whose they are, and since when."""
    connection.execute(_ADD, [{"id": id, "repository": whose, "created_at": since} for id, whose, since in begun])


def repository_of(connection: Connection, session_id: str) -> str | None:
    return connection.execute(_REPOSITORY, {"session": session_id}).scalar()


def remove(connection: Connection, session_id: str) -> None:
    connection.execute(_REMOVE, {"session": session_id})


def begun_before(connection: Connection, moment: float) -> list[str]:
    statement = select(upload_sessions.c.id).where(upload_sessions.c.created_at < moment)
    return list(connection.execute(statement).scalars())


def all_ids(connection: Connection) -> set[str]:
    return set(connection.execute(select(upload_sessions.c.id)).scalars())
