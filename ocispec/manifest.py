"""Read what a manifest refers to. The bytes themselves are never changed: they are what the digest names.

A manifest that two readers could understand differently is refused (CVE-2021-41190 and its kin): both `layers` and
`manifests`, a `mediaType` that contradicts the Content-Type, a key given twice.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ocispec import media_types
from ocispec.descriptor import Descriptor, annotations_of, check_names, text_of
from ocispec.digest import Digest
from ocispec.documents import count_parts
from ocispec.errors import ManifestInvalid
from ocispec.platform import Platform

# What Distribution, zot and most registries accept; larger ones could not be pushed anywhere else.
MAX_BYTES = 4 * 2**20
_MAX_DEPTH = 64
# Real manifests have a few hundred; a million would hold everybody else up.
_MAX_NODES = 50_000


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image manifest or an image index, as far as a registry has to understand it."""

    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_index(self) -> bool:
        return self.media_type in media_types.INDEXES

    def blobs(self) -> Iterator[Descriptor]:
        """Config and layers: what must be pulled as blobs."""
        if self.config is not None:
            yield self.config
        yield from self.layers

    def required_blobs(self) -> Iterator[Descriptor]:
        """The blobs a registry has to hold: all but the non-distributable layers."""
        return (blob for blob in self.blobs() if blob.media_type not in media_types.NONDISTRIBUTABLE)

    def entries(self, platforms: Sequence[Platform]) -> Iterator[Descriptor]:
        """The entries of an index that are for one of `platforms`, or do not say for which; all, where it is empty."""
        return (child for child in self.manifests if child.platform is None or child.platform.is_one_of(platforms))

    def lacks(self, platforms: Sequence[Platform]) -> Iterator[Platform]:
        """Those of `platforms` that an index has no entry for."""
        if self.is_index:
            yield from (platform for platform in platforms if not any(self.entries([platform])))

    def describe(self, digest: Digest, size: int) -> Descriptor:
        """This manifest as an entry of a referrers list (distribution-spec, "Listing Referrers")."""
        return Descriptor(self.media_type, digest, size, self.artifact_type, self.annotations)


def parse_manifest(body: bytes, content_type: str = "") -> Manifest:
    """Read a manifest; `content_type` is what its sender declared, if anything. Raises ManifestInvalid."""
    value = _load(body)
    media_type = _media_type(value, media_types.essence(content_type))
    if media_type in media_types.INDEXES:
        return _index(value, media_type)
    return _image(value, media_type)


def _image(value: dict[str, object], media_type: str) -> Manifest:
    if "manifests" in value:
        raise ManifestInvalid("an image manifest must not have manifests")
    config = Descriptor.from_json(value.get("config"), "config")
    artifact_type = text_of(value, "artifactType", "manifest")
    return Manifest(
        media_type,
        config=config,
        layers=_descriptors(value, "layers"),
        subject=_subject(value),
        # An image without artifactType is of its config's type (distribution-spec, "Listing Referrers").
        artifact_type=artifact_type or config.media_type,
        annotations=annotations_of(value, "manifest"),
    )


def _index(value: dict[str, object], media_type: str) -> Manifest:
    for key in ("layers", "config", "fsLayers"):
        if key in value:
            raise ManifestInvalid(f"an image index must not have {key}")
    return Manifest(
        media_type,
        manifests=_descriptors(value, "manifests"),
        subject=_subject(value),
        artifact_type=text_of(value, "artifactType", "manifest"),
        annotations=annotations_of(value, "manifest"),
    )


def _media_type(value: dict[str, object], declared: str) -> str:
    written = text_of(value, "mediaType", "manifest") or ""
    if declared in media_types.MANIFESTS:
        if written and written != declared:
            raise ManifestInvalid(f"mediaType {written!r:.100} contradicts the Content-Type {declared!r:.100}")
        return declared
    if declared not in ("", "application/json", "text/plain", media_types.OCTET_STREAM):
        raise ManifestInvalid(f"unsupported manifest type {declared!r:.100}")
    if written in media_types.MANIFESTS:
        return written
    if not written:
        raise ManifestInvalid("the manifest's type is not given")
    raise ManifestInvalid(f"unsupported manifest type {written!r:.100}")


def _descriptors(value: dict[str, object], key: str) -> tuple[Descriptor, ...]:
    items = value.get(key)
    if not isinstance(items, list):
        raise ManifestInvalid(f"{key}: must be a list")
    return tuple(Descriptor.from_json(item, f"{key}[{n}]") for n, item in enumerate(items))


def _subject(value: dict[str, object]) -> Descriptor | None:
    subject = value.get("subject")
    return None if subject is None else Descriptor.from_json(subject, "subject")


def _load(body: bytes) -> dict[str, object]:
    if count_parts(body) > _MAX_NODES:
        raise ManifestInvalid("the manifest has too many parts")
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_int=_whole_number)
        # What cannot be written again: NaN, 1e400 (more than any float), half of a surrogate pair.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise ManifestInvalid(f"not valid JSON: {reason}") from None
    if not isinstance(value, dict):
        raise ManifestInvalid("a manifest must be a JSON object")
    if len({key.casefold() for key in value}) != len(value):
        raise ManifestInvalid("keys that differ only in case are read differently by different clients")
    check_names(value, "manifest")
    version = value.get("schemaVersion")
    if not isinstance(version, int) or version != 2:
        raise ManifestInvalid("schemaVersion: must be 2")
    _check_depth(value)
    return value


def _whole_number(text: str) -> int:
    # Sizes have at most 19 digits. To read one of thousands takes a time that grows with their square.
    if len(text) > 20:
        raise ValueError("a number has too many digits")
    return int(text)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key is given twice")
    return out


def _check_depth(value: object) -> None:
    """Refuse nesting that would exhaust somebody else's stack, by walking level by level."""
    level: list[object] = [value]
    for _ in range(_MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise ManifestInvalid("not valid JSON: nested too deeply")


def _children(item: object) -> list[object]:
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else []
