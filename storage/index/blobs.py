"""Rows of blobs, and the links that make a blob readable in a repository."""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, exists, select
from sqlalchemy.dialects.sqlite import insert

from ocispec.digest import Digest
from storage.index.many import rows_of
from storage.index.repositories import key
from storage.index.schema import blobs, manifests, repositories, repository_blobs
from storage.repository import Repository

_SIZE = select(blobs.c.size).where(blobs.c.digest == bindparam("digest"))
_LINKED = (
    select(blobs.c.size, blobs.c.digest)
    .join(repository_blobs, repository_blobs.c.digest == blobs.c.digest)
    .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
    .where(repositories.c.upstream == bindparam("upstream"), repositories.c.name == bindparam("name"))
)
_LINKED_SIZE = _LINKED.where(blobs.c.digest == bindparam("digest"))
_LINKED_SIZES = _LINKED.where(blobs.c.digest.in_(bindparam("digests", expanding=True)))
_ADD = insert(blobs)
_ADD = _ADD.on_conflict_do_update(index_elements=["digest"], set_={"size": _ADD.excluded.size})
_LINK = insert(repository_blobs).on_conflict_do_nothing()
_UNLINK = delete(repository_blobs).where(
    repository_blobs.c.repository_id == bindparam("repository"), repository_blobs.c.digest == bindparam("text")
)
_HAS = select(repository_blobs.c.digest).where(
    repository_blobs.c.repository_id == bindparam("repository"), repository_blobs.c.digest == bindparam("text")
)
_IS_PUSHED = (
    select(repository_blobs.c.digest)
    .join(repositories, repositories.c.id == repository_blobs.c.repository_id)
    .where(repository_blobs.c.digest == bindparam("text"), repositories.c.upstream == "")
    .limit(1)
)


def size(connection: Connection, digest: Digest) -> int | None:
    """Bytes of a blob, whoever has it; None where nobody does."""
    return connection.execute(_SIZE, {"digest": str(digest)}).scalar()


def linked_size(connection: Connection, repository: Repository, digest: Digest) -> int | None:
    """Bytes of a blob that this repository has; None where it has not."""
    return connection.execute(_LINKED_SIZE, {**key(repository), "digest": str(digest)}).scalar()


def linked_sizes(connection: Connection, repository: Repository, digests: Iterable[Digest]) -> dict[Digest, int]:
    """Bytes of those of `digests` that this repository has."""
    rows = rows_of(connection, _LINKED_SIZES, key(repository), digests)
    return {Digest.parse(row.digest): row.size for row in rows}


def is_pushed(connection: Connection, digest: Digest) -> bool:
    """Whether a hosted repository has it."""
    return connection.execute(_IS_PUSHED, {"text": str(digest)}).first() is not None


def add(connection: Connection, digest: Digest, size: int, now: float) -> None:
    """Say that the file is there. Its size is what the door measured; an older row gives way."""
    connection.execute(_ADD, {"digest": str(digest), "size": size, "created_at": now})


def link(connection: Connection, repository_id: int, digest: Digest, now: float) -> None:
    connection.execute(_LINK, {"repository_id": repository_id, "digest": str(digest), "created_at": now})


def unlink(connection: Connection, repository_id: int, digest: Digest) -> bool:
    """Whether there was a link to take away."""
    return bool(connection.execute(_UNLINK, {"repository": repository_id, "text": str(digest)}).rowcount)


def unlinked(connection: Connection, repository_id: int, digests: Iterable[Digest]) -> list[Digest]:
    """Those of `digests` that the repository has no blob for, in their order."""
    return [
        digest
        for digest in digests
        if connection.execute(_HAS, {"repository": repository_id, "text": str(digest)}).first() is None
    ]


def drop_unreferenced(connection: Connection, digest: Digest) -> bool:
    """Remove the row if no repository has it as blob or manifest; True means: now the file has to go."""
    text = str(digest)
    statement = delete(blobs).where(
        blobs.c.digest == text,
        ~exists().where(repository_blobs.c.digest == text),
        ~exists().where(manifests.c.digest == text),
    )
    return bool(connection.execute(statement).rowcount)


def among(connection: Connection, digests: Iterable[Digest]) -> set[Digest]:
    """Those of `digests` that have a row."""
    return {digest for digest in digests if connection.execute(_SIZE, {"digest": str(digest)}).first() is not None}
