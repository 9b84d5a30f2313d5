"""What there is to see: repositories, their tags with the images behind them, how tags moved, who shares what.

All of it is for people to look at; what a pull is answered with is read elsewhere.
"""

import json
from collections.abc import Collection

from sqlalchemy import Connection, Select, bindparam, func, not_, select, union

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
from storage.index.scope import within
from storage.repository import Repository
from storage.scope import Scope
from storage.views import Move, RepositoryFacts, Sharing, Stored, TagFacts

# Of those who share a blob, so many are named.
_NAMED = 20
# What BuildKit writes of an attestation, which is for no machine.
_NO_PLATFORM = "unknown/unknown"


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
    digests = {row.digest for row in rows}
    id = rows[0].repository_id if rows else 0
    sizes, platforms = _sizes(connection, id, digests), _platforms(connection, id, digests)
    found = []
    for name, digest, media_type, kind, updated_at, checked_at, pulls, pulled_at, _ in rows[: page.limit]:
        what = (Tag(name), Digest.parse(digest), media_type, kind, sizes.get(digest, 0), platforms.get(digest, ()))
        found.append(TagFacts(*what, updated_at, checked_at, pulls, pulled_at))
    return found, len(rows) > page.limit


def _sizes(connection: Connection, repository_id: int, tops: Collection[str]) -> dict[str, int]:
    """Of each manifest, image or index: the bytes of the configs and layers below it, each once."""
    parts, entries = manifest_children.alias("parts"), manifest_children.alias("entries")
    own = select(parts.c.manifest.label("top"), parts.c.digest, parts.c.size).where(
        parts.c.repository_id == repository_id, parts.c.manifest.in_(tops), parts.c.role != "manifest"
    )
    below = (
        select(entries.c.manifest, parts.c.digest, parts.c.size)
        .join(parts, (parts.c.repository_id == entries.c.repository_id) & (parts.c.manifest == entries.c.digest))
        .where(entries.c.repository_id == repository_id, entries.c.manifest.in_(tops))
        .where(entries.c.role == "manifest", parts.c.role != "manifest")
    )
    once = union(own, below).subquery()
    rows = connection.execute(select(once.c.top, func.sum(once.c.size)).group_by(once.c.top))
    return {row.top: row[1] for row in rows}


def _platforms(connection: Connection, repository_id: int, tops: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Of each manifest: the platforms it is for, as its index or its config says, each once."""
    child, image = manifest_children.c, images.c
    entries = (
        select(child.manifest, child.platform)
        .where(child.repository_id == repository_id, child.manifest.in_(tops))
        .where(child.platform.is_not(None), child.platform != _NO_PLATFORM)
        .order_by(child.manifest, child.position)
    )
    own = select(image.digest, image.platform).where(
        image.repository_id == repository_id, image.digest.in_(tops), image.platform.is_not(None)
    )
    found: dict[str, dict[str, None]] = {}
    for statement in (entries, own):
        for top, platform in connection.execute(statement):
            found.setdefault(top, {})[platform] = None
    return {top: tuple(platforms) for top, platforms in found.items()}


def history(
    connection: Connection, repository: Repository, tag: Tag | None, limit: int, before: int | None = None
) -> list[Move]:
    """How a tag moved (without one: every tag of the repository), the last move first; `before` is the id of the last
    one of the page before."""
    move = tag_history.c
    # Where it is one tag, not by the index that has the id: that is of all tags of the repository.
    id = move.id if tag is None else move.id + 0
    statement = (
        select(move.id, move.tag, move.at, move.from_digest, move.to_digest, move.cause)
        .join(repositories, repositories.c.id == move.repository_id)
        .where(repositories.c.upstream == bindparam("upstream"), repositories.c.name == bindparam("name"))
        .order_by(id.desc())
        .limit(limit)
    )
    if tag is not None:
        statement = statement.where(move.tag == str(tag))
    if before is not None:
        statement = statement.where(id < before)
    rows = connection.execute(statement, key(repository))
    return [Move(id, Tag(name), at, _digest(old), _digest(new), cause) for id, name, at, old, new, cause in rows]


def sharing(connection: Connection, digests: Collection[Digest], scope: Scope) -> dict[Digest, Sharing]:
    """Which repositories of a scope have each of these blobs."""
    link, asked = repository_blobs.c, func.json_each(bindparam("digests")).table_valued("value")
    mine = (link.digest == asked.c.value, link.repository_id.not_in(_outside(scope)))
    count = select(func.count()).select_from(repository_blobs).where(*mine).scalar_subquery()
    first = (
        select(repositories.c.name, repositories.c.upstream)
        .join(repository_blobs, link.repository_id == repositories.c.id)
        .where(*mine)
        .order_by(link.repository_id)
        .limit(_NAMED)
        .correlate(asked)
        .subquery()
    )
    pairs = func.json_group_array(func.json_array(first.c.name, first.c.upstream))
    statement = select(asked.c.value, count, select(pairs).correlate(asked).scalar_subquery())
    rows = connection.execute(statement, {"digests": json.dumps([str(digest) for digest in dict.fromkeys(digests)])})
    return {Digest.parse(digest): Sharing(have, _repositories(named)) for digest, have, named in rows}


def _repositories(pairs: str) -> tuple[Repository, ...]:
    return tuple(Repository(RepositoryName(name), host) for name, host in json.loads(pairs))


def _outside(scope: Scope) -> Select[tuple[int]]:
    """What a scope has not: those are few, and the others may be many."""
    return select(repositories.c.id).where(not_(within(scope)))


def stored(connection: Connection, scope: Scope) -> Stored:
    """How many repositories and tags a scope has, and how much there is of everything. It reads every link: for now
    and then."""
    links = select(func.coalesce(func.sum(blobs.c.size), 0)).join(
        repository_blobs, repository_blobs.c.digest == blobs.c.digest
    )
    statement = select(
        select(func.count()).select_from(repositories).where(within(scope)).scalar_subquery(),
        select(func.count()).select_from(tags).where(tags.c.repository_id.not_in(_outside(scope))).scalar_subquery(),
        select(func.coalesce(func.sum(blobs.c.size), 0)).scalar_subquery(),
        links.scalar_subquery() + select(func.coalesce(func.sum(manifests.c.size), 0)).scalar_subquery(),
    )
    return Stored(*connection.execute(statement).one())


def _digest(text: str | None) -> Digest | None:
    return None if text is None else Digest.parse(text)
