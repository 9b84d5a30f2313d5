"""What there is to see: repositories, their tags with the images behind them, how tags moved, who shares what.

All of it is for people to look at; what a pull is answered with is read elsewhere.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, func, or_, select

from ocispec.digest import Digest
from ocispec.names import RepositoryName, Tag
from ocispec.pagination import Page
from storage.index.repositories import key
from storage.index.schema import (
    blobs,
    images,
    manifest_children,
    manifests,
    repositories,
    repository_blobs,
    tag_history,
    tags,
)
from storage.repository import Repository
from storage.views import Move, RepositoryFacts, Sharing, Stored, TagFacts

# Of those who share a blob, so many are named.
_NAMED = 20
# What BuildKit writes of an attestation, which is for no machine.
_NO_PLATFORM = "unknown/unknown"

_child = manifest_children.c
_OF_INDEX = select(_child.digest).where(
    _child.repository_id == bindparam("id"), _child.manifest == bindparam("manifest"), _child.role == "manifest"
)
_PARTS = (
    select(_child.digest, _child.size)
    .where(_child.repository_id == bindparam("id"), _child.role != "manifest")
    .where(or_(_child.manifest == bindparam("manifest"), _child.manifest.in_(_OF_INDEX)))
    .distinct()
    .subquery()
)
_SIZE = select(func.coalesce(func.sum(_PARTS.c.size), 0))
_PLATFORMS = (
    select(_child.platform)
    .where(_child.repository_id == bindparam("id"), _child.manifest == bindparam("manifest"))
    .where(_child.platform.is_not(None), _child.platform != _NO_PLATFORM)
    .order_by(_child.position)
)
_PLATFORM = select(images.c.platform).where(
    images.c.repository_id == bindparam("id"),
    images.c.digest == bindparam("manifest"),
    images.c.platform.is_not(None),
)


def repository_facts(connection: Connection, repository: Repository) -> RepositoryFacts | None:
    """None where there is no such repository."""
    r = repositories.c
    size = (
        select(func.coalesce(func.sum(blobs.c.size), 0))
        .join(repository_blobs, repository_blobs.c.digest == blobs.c.digest)
        .where(repository_blobs.c.repository_id == r.id)
        .scalar_subquery()
    )
    own = (
        select(func.coalesce(func.sum(manifests.c.size), 0)).where(manifests.c.repository_id == r.id).scalar_subquery()
    )
    count = select(func.count()).select_from(tags).where(tags.c.repository_id == r.id).scalar_subquery()
    statement = select(count, size + own, r.pulls, r.created_at, r.last_pulled_at).where(
        r.upstream == bindparam("upstream"), r.name == bindparam("name")
    )
    row = connection.execute(statement, key(repository)).first()
    return None if row is None else RepositoryFacts(repository, *row)


def tag_facts(connection: Connection, repository: Repository, page: Page) -> tuple[list[TagFacts], bool]:
    """A page of tags in lexical order, and whether more follow."""
    statement = (
        select(
            tags.c.name,
            tags.c.digest,
            manifests.c.media_type,
            manifests.c.artifact_type,
            tags.c.updated_at,
            tags.c.checked_at,
            manifests.c.pulls,
            manifests.c.last_pulled_at,
            tags.c.repository_id,
        )
        .join(repositories, repositories.c.id == tags.c.repository_id)
        .join(manifests, (manifests.c.repository_id == tags.c.repository_id) & (manifests.c.digest == tags.c.digest))
        .where(repositories.c.upstream == bindparam("upstream"), repositories.c.name == bindparam("name"))
        .where(tags.c.name > page.last)
        .order_by(tags.c.name)
        .limit(page.limit + 1)
    )
    rows = connection.execute(statement, key(repository)).all()
    found = []
    for name, digest, media_type, kind, updated_at, checked_at, pulls, pulled_at, id in rows[: page.limit]:
        size, platforms = _extent(connection, id, digest)
        what = (Tag(name), Digest.parse(digest), media_type, kind, size, platforms)
        found.append(TagFacts(*what, updated_at, checked_at, pulls, pulled_at))
    return found, len(rows) > page.limit


def _extent(connection: Connection, repository_id: int, manifest: str) -> tuple[int, tuple[str, ...]]:
    """Bytes of its configs and layers, each once, and the platforms it is for, each once."""
    which = {"id": repository_id, "manifest": manifest}
    platforms = [*connection.execute(_PLATFORMS, which).scalars(), *connection.execute(_PLATFORM, which).scalars()]
    return connection.execute(_SIZE, which).scalar_one(), tuple(dict.fromkeys(platforms))


def history(
    connection: Connection, repository: Repository, tag: Tag | None, limit: int, before: int | None = None
) -> list[Move]:
    """How a tag moved (without one: every tag of the repository), the last move first; `before` is the id of the last
    one of the page before."""
    move = tag_history.c
    statement = (
        select(move.id, move.tag, move.at, move.from_digest, move.to_digest, move.cause)
        .join(repositories, repositories.c.id == move.repository_id)
        .where(repositories.c.upstream == bindparam("upstream"), repositories.c.name == bindparam("name"))
        .order_by(move.id.desc())
        .limit(limit)
    )
    if tag is not None:
        statement = statement.where(move.tag == str(tag))
    if before is not None:
        statement = statement.where(move.id < before)
    rows = connection.execute(statement, key(repository))
    return [Move(id, Tag(name), at, _digest(old), _digest(new), cause) for id, name, at, old, new, cause in rows]


def sharing(connection: Connection, digests: Iterable[Digest]) -> dict[Digest, Sharing]:
    """Who has each of these blobs."""
    return {digest: _sharing(connection, digest) for digest in dict.fromkeys(digests)}


def _sharing(connection: Connection, digest: Digest) -> Sharing:
    statement = (
        select(repositories.c.name, repositories.c.upstream, func.count().over())
        .join(repository_blobs, repository_blobs.c.repository_id == repositories.c.id)
        .where(repository_blobs.c.digest == str(digest))
        .order_by(repositories.c.path)
        .limit(_NAMED)
    )
    rows = connection.execute(statement).all()
    return Sharing(rows[0][2] if rows else 0, tuple(Repository(RepositoryName(name), host) for name, host, _ in rows))


def stored(connection: Connection) -> Stored:
    """How much there is of everything. It reads every link: for now and then."""
    links = select(func.coalesce(func.sum(blobs.c.size), 0)).join(
        repository_blobs, repository_blobs.c.digest == blobs.c.digest
    )
    statement = select(
        select(func.count()).select_from(repositories).scalar_subquery(),
        select(func.count()).select_from(tags).scalar_subquery(),
        select(func.coalesce(func.sum(blobs.c.size), 0)).scalar_subquery(),
        links.scalar_subquery() + select(func.coalesce(func.sum(manifests.c.size), 0)).scalar_subquery(),
    )
    return Stored(*connection.execute(statement).one())


def _digest(text: str | None) -> Digest | None:
    return None if text is None else Digest.parse(text)
