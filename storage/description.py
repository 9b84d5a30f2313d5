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


def manifest_came(connection: Connection, content: Content, repository_id: int, manifest: Digest) -> None:
    _describe(connection, content, images.of_manifest(connection, repository_id, manifest))


def blob_came(connection: Connection, content: Content, repository_id: int, blob: Digest) -> None:
    _describe(connection, content, images.with_config(connection, repository_id, blob))


def is_behind(connection: Connection) -> bool:
    """Whether there is any that an earlier version left undescribed."""
    return bool(images.some(connection, 1))


def catch_up(connection: Connection, content: Content, limit: int = 100) -> None:
    """Describe some of these."""
    _describe(connection, content, images.some(connection, limit))


def _describe(connection: Connection, content: Content, found: Iterable[Undescribed]) -> None:
    for image in found:
        body = content.read(image.config, image.size)
        config = (None if body is None else parse_image_config(body)) or ImageConfig()
        images.put(connection, image.repository_id, image.manifest, config)
        terms.add(connection, image.repository_id, image.manifest, config.labels, [config.platform])
