"""Rows of images: what their configs say, as far as lists need it."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Row, bindparam, exists, literal, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from ocispec.digest import Digest
from ocispec.image_config import MAX_BYTES, MEDIA_TYPES, ImageConfig
from storage.index.schema import images, manifest_children, repository_blobs


@dataclass(frozen=True, slots=True)
class Undescribed:
    """An image whose config is here, and has not been read. `size` is the config's length."""

    repository_id: int
    manifest: Digest
    config: Digest
    size: int


_CHILD = manifest_children.c
_UNDESCRIBED = (
    select(_CHILD.repository_id, _CHILD.manifest, _CHILD.digest, _CHILD.size)
    .where(_CHILD.role == "config", _CHILD.media_type.in_(MEDIA_TYPES), _CHILD.size <= MAX_BYTES)
    .where(~exists().where(images.c.repository_id == _CHILD.repository_id, images.c.digest == _CHILD.manifest))
    .where(
        exists().where(
            repository_blobs.c.repository_id == _CHILD.repository_id, repository_blobs.c.digest == _CHILD.digest
        )
    )
)
_WITH_CONFIG = _UNDESCRIBED.where(_CHILD.repository_id == bindparam("repository"), _CHILD.digest == bindparam("config"))
_OF_MANIFEST = _UNDESCRIBED.where(
    _CHILD.repository_id == bindparam("repository"), _CHILD.manifest == bindparam("manifest")
)


def with_config(connection: Connection, repository_id: int, config: Digest) -> list[Undescribed]:
    """The undescribed images of a repository that have this config."""
    return _read(connection.execute(_WITH_CONFIG, {"repository": repository_id, "config": str(config)}))


def of_manifest(connection: Connection, repository_id: int, manifest: Digest) -> list[Undescribed]:
    """This one, if it is undescribed."""
    return _read(connection.execute(_OF_MANIFEST, {"repository": repository_id, "manifest": str(manifest)}))


def after(connection: Connection, last: Undescribed | None, limit: int) -> list[Undescribed]:
    """As many as `limit` of all repositories, in the order of the index; those that follow `last`."""
    repository, manifest = (last.repository_id, str(last.manifest)) if last else (0, "")
    place = tuple_(_CHILD.repository_id, _CHILD.manifest) > tuple_(literal(repository), literal(manifest))
    rows = _UNDESCRIBED.where(place).order_by(_CHILD.repository_id, _CHILD.manifest).limit(limit)
    return _read(connection.execute(rows))


def put(connection: Connection, repository_id: int, manifest: Digest, config: ImageConfig) -> None:
    row = {
        "repository_id": repository_id,
        "digest": str(manifest),
        "platform": str(config.platform) if config.platform else None,
        "created": config.created[:64] or None,
    }
    connection.execute(insert(images).values(row).on_conflict_do_nothing())


def _read(rows: Iterable[Row[int, str, str, int]]) -> list[Undescribed]:
    return [Undescribed(id, Digest.parse(manifest), Digest.parse(config), size) for id, manifest, config, size in rows]
