"""What a manifest refers to, as far as a pull needs it. Pure."""

from collections.abc import Iterator, Sequence

from ocispec import media_types
from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.manifest import Manifest
from ocispec.platform import Platform


def role_of(media_type: str) -> str:
    return "index" if media_type in media_types.INDEXES else "manifest"


def manifests_of(manifest: Manifest, platforms: Sequence[Platform]) -> Iterator[Descriptor]:
    """The manifests of an index that are wanted."""
    return (entry for entry in manifest.entries(platforms) if _is_manifest(entry))


def blobs_of(manifest: Manifest, platforms: Sequence[Platform]) -> Iterator[tuple[str, Descriptor]]:
    """What has to be pulled as blobs, and as what."""
    for blob in manifest.required_blobs():
        yield ("config" if blob is manifest.config else "layer"), blob
    # BuildKit keeps its caches as an index whose entries are layers.
    yield from (("blob", entry) for entry in manifest.entries(platforms) if not _is_manifest(entry))


def lacking(manifest: Manifest, platforms: Sequence[Platform]) -> list[str]:
    """What to say of platforms that an index has nothing for."""
    return [f"there is no manifest for {platform}" for platform in manifest.lacks(platforms)]


def _is_manifest(entry: Descriptor) -> bool:
    return entry.media_type in media_types.MANIFESTS or not entry.media_type


class Seen:
    """What of an image has been met already: layers are shared between platforms, and a list may name one twice."""

    def __init__(self) -> None:
        self._digests: set[Digest] = set()

    def is_new(self, piece: Descriptor) -> bool:
        """Whether it is met for the first time; from now on it is not."""
        known = len(self._digests)
        self._digests.add(piece.digest)
        return len(self._digests) > known
