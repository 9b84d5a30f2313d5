"""What an image says of itself, in the index: read from its config as soon as manifest and config are both here.

Whichever of the two comes last brings it about, in its own transaction. A config is read only where it is linked into
the repository of the manifest: that another repository has it is no reason to tell what it says.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from ocispec.digest import Digest
from ocispec.image_config import ImageConfig, parse_image_config
from storage.content import Content
from storage.index import images, terms
from storage.index.images import Undescribed

Described = tuple[Undescribed, ImageConfig]


def manifest_came(connection: Connection, content: Content, repository_id: int, manifest: Digest) -> None:
    _describe(connection, content, images.of_manifest(connection, repository_id, manifest))


def blob_came(connection: Connection, content: Content, repository_id: int, blob: Digest) -> None:
    _describe(connection, content, images.with_config(connection, repository_id, blob))


def left_behind(connection: Connection, content: Content, last: Undescribed | None, limit: int) -> list[Described]:
    """Those that an earlier version left undescribed, after `last`, with their configs; nothing is written."""
    return [(image, _read(content, image)) for image in images.after(connection, last, limit)]


def put(connection: Connection, described: Iterable[Described]) -> None:
    """Write them down. What has gone meanwhile, or has been described, is passed over."""
    for image, config in described:
        if image in images.of_manifest(connection, image.repository_id, image.manifest):
            _put(connection, image, config)


def _describe(connection: Connection, content: Content, found: Iterable[Undescribed]) -> None:
    for image in found:
        _put(connection, image, _read(content, image))


def _read(content: Content, image: Undescribed) -> ImageConfig:
    body = content.read(image.config, image.size)
    return (None if body is None else parse_image_config(body)) or ImageConfig()


def _put(connection: Connection, image: Undescribed, config: ImageConfig) -> None:
    images.put(connection, image.repository_id, image.manifest, config)
    terms.add(connection, image.repository_id, image.manifest, config.labels, [config.platform])
