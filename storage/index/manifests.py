"""Rows of manifests: what is where, what it refers to, what refers to it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, bindparam, delete, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.manifest import Manifest
from ocispec.names import Reference, Tag
from storage.index import terms
from storage.index.many import rows_of
from storage.index.repositories import key
from storage.index.schema import manifest_children, manifests, repositories, tags
from storage.repository import Repository


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """What the index knows of a manifest. `checked_at` belongs to the tag it was found by, if it was."""

    digest: Digest
    media_type: str
    size: int
    checked_at: float | None = None


# A list of referrers is no longer than a manifest may be; the rest is another page.
_LIST_BYTES = 2 * 2**20
_ENTRY_BYTES = 512

_OF_REPOSITORY = (repositories.c.upstream == bindparam("upstream"), repositories.c.name == bindparam("name"))
_HERE = (
    select(manifests.c.digest, manifests.c.media_type, manifests.c.size)
    .join(repositories, repositories.c.id == manifests.c.repository_id)
    .where(*_OF_REPOSITORY)
)
_BY_DIGEST = _HERE.where(manifests.c.digest == bindparam("reference"))
_BY_DIGESTS = _HERE.where(manifests.c.digest.in_(bindparam("digests", expanding=True)))
_BY_TAG = (
    select(manifests.c.digest, manifests.c.media_type, manifests.c.size, tags.c.checked_at)
    .join(tags, (tags.c.repository_id == manifests.c.repository_id) & (tags.c.digest == manifests.c.digest))
    .join(repositories, repositories.c.id == tags.c.repository_id)
    .where(*_OF_REPOSITORY, tags.c.name == bindparam("reference"))
)


def find(connection: Connection, repository: Repository, reference: Reference) -> ManifestRow | None:
    statement = _BY_TAG if isinstance(reference, Tag) else _BY_DIGEST
    row = connection.execute(statement, {**key(repository), "reference": str(reference)}).first()
    return None if row is None else ManifestRow(Digest.parse(row[0]), *row[1:])


def among(connection: Connection, repository: Repository, digests: Iterable[Digest]) -> set[Digest]:
    """Those of `digests` that are manifests of this repository."""
    return {Digest.parse(row.digest) for row in rows_of(connection, _BY_DIGESTS, key(repository), digests)}


def put(connection: Connection, repository_id: int, digest: Digest, size: int, manifest: Manifest, now: float) -> None:
    """Record a manifest whose file is there (its blob row must be, too)."""
    row = {
        "repository_id": repository_id,
        "digest": str(digest),
        "media_type": manifest.media_type,
        "size": size,
        "artifact_type": manifest.artifact_type,
        "subject": str(manifest.subject.digest) if manifest.subject else None,
        "annotations": json.dumps(manifest.annotations) if manifest.subject and manifest.annotations else None,
        "created_at": now,
    }
    # The same bytes pushed under another type are another manifest to their readers: the last push says which.
    changed = {name: row[name] for name in ("media_type", "artifact_type", "subject", "annotations")}
    keys = ["repository_id", "digest"]
    connection.execute(insert(manifests).values(row).on_conflict_do_update(index_elements=keys, set_=changed))
    _put_children(connection, repository_id, digest, manifest)
    platforms = [child.platform for child in manifest.manifests]
    terms.add(connection, repository_id, digest, manifest.annotations, platforms)


def _put_children(connection: Connection, repository_id: int, digest: Digest, manifest: Manifest) -> None:
    mine = (manifest_children.c.repository_id == repository_id, manifest_children.c.manifest == str(digest))
    connection.execute(delete(manifest_children).where(*mine))
    rows = [
        {
            "repository_id": repository_id,
            "manifest": str(digest),
            "position": position,
            "role": role,
            "digest": str(child.digest),
            "size": child.size,
            "media_type": child.media_type,
            "platform": str(child.platform) if child.platform else None,
        }
        for position, (role, child) in enumerate(_children(manifest))
    ]
    if rows:
        connection.execute(insert(manifest_children), rows)


def _children(manifest: Manifest) -> Iterator[tuple[str, Descriptor]]:
    if manifest.config is not None:
        yield "config", manifest.config
    yield from (("layer", layer) for layer in manifest.layers)
    yield from (("manifest", child) for child in manifest.manifests)


def absent(connection: Connection, repository_id: int, digests: Iterable[Digest]) -> list[Digest]:
    """Those of `digests` that are no manifest of the repository, in their order."""
    has = select(manifests.c.digest).where(
        manifests.c.repository_id == repository_id, manifests.c.digest == bindparam("digest")
    )
    return [digest for digest in digests if connection.execute(has, {"digest": str(digest)}).first() is None]


def remove(connection: Connection, repository_id: int, digest: Digest) -> bool:
    """Remove a manifest that no tag points to any more; whether it was there."""
    mine = (manifests.c.repository_id == repository_id, manifests.c.digest == str(digest))
    return bool(connection.execute(delete(manifests).where(*mine)).rowcount)


def child_size(connection: Connection, repository: Repository, digest: Digest) -> int | None:
    """How long a blob must be, by a manifest of this repository that refers to it; None where none does."""
    statement = (
        select(manifest_children.c.size)
        .join(repositories, repositories.c.id == manifest_children.c.repository_id)
        .where(*_OF_REPOSITORY, manifest_children.c.digest == bindparam("digest"))
        .limit(1)
    )
    return connection.execute(statement, {**key(repository), "digest": str(digest)}).scalar()


def referrers(
    connection: Connection,
    repository: Repository,
    subject: Digest,
    artifact_type: str | None,
    after: Digest | None = None,
) -> tuple[list[Descriptor], bool]:
    """Manifests whose subject is this digest, oldest first (distribution-spec, "Listing Referrers"): as many as a list
    has room for, beginning after `after`; and whether more follow."""
    wanted: list[ColumnElement[bool]] = [*_OF_REPOSITORY, manifests.c.subject == bindparam("subject")]
    if artifact_type is not None:
        wanted.append(manifests.c.artifact_type == artifact_type)
    order = (manifests.c.created_at, manifests.c.digest)
    if after is not None:
        same = select(*order).join(repositories, repositories.c.id == manifests.c.repository_id).where(*_OF_REPOSITORY)
        here = same.where(manifests.c.digest == str(after))
        wanted.append(tuple_(*order) > here.scalar_subquery())
    columns = (manifests.c.media_type, manifests.c.digest, manifests.c.size)
    statement = (
        select(*columns, manifests.c.artifact_type, manifests.c.annotations)
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .where(*wanted)
        .order_by(*order)
    )
    found: list[Descriptor] = []
    room = _LIST_BYTES
    for media_type, digest, size, kind, annotations in connection.execute(
        statement, {**key(repository), "subject": str(subject)}
    ):
        room -= len(annotations or "") + _ENTRY_BYTES
        if room < 0 and found:
            return found, True
        found.append(Descriptor(media_type, Digest.parse(digest), size, kind, json.loads(annotations or "{}")))
    return found, False
