"""Descriptors: media type, digest and size of a piece of content (OCI image-spec, descriptor.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ocispec.digest import Digest
from ocispec.errors import DigestInvalid, ManifestInvalid
from ocispec.platform import Platform

# Readers written in Go match names without regard to case: they would find the "Layers" that we overlook.
_SPECIFIED = (
    *("schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"),
    *("digest", "size", "urls", "data", "platform", "fsLayers", "history", "signatures"),
)
_SPELLING = {name.casefold(): name for name in _SPECIFIED}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of a child, a layer or its subject. `size` is in bytes."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None

    @classmethod
    def from_json(cls, value: object, where: str) -> "Descriptor":
        """Read a descriptor at `where` (named in the error); raises ManifestInvalid."""
        if not isinstance(value, dict):
            raise ManifestInvalid(f"{where}: a descriptor must be an object")
        check_names(value, where)
        size = value.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
            raise ManifestInvalid(f"{where}.size: must be a whole number of bytes")
        return cls(
            media_type=text_of(value, "mediaType", where) or "",
            digest=_digest_of(value, where),
            size=size,
            artifact_type=text_of(value, "artifactType", where),
            annotations=annotations_of(value, where),
            platform=Platform.from_json(value.get("platform")),
        )

    def to_json(self) -> dict[str, object]:
        out: dict[str, object] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        if self.platform:
            out["platform"] = self.platform.to_json()
        return out


def check_names(value: Mapping[str, object], where: str) -> None:
    """Refuse a member whose name is one of the specification's but for its case; raises ManifestInvalid."""
    for name in value:
        if _SPELLING.get(name.casefold(), name) != name:
            raise ManifestInvalid(f"{where}: {name!r} is read differently by different clients")


def text_of(value: Mapping[str, object], key: str, where: str) -> str | None:
    """A member that must be a string where it is given (null counts as not given); raises ManifestInvalid."""
    found = value.get(key)
    if found is not None and not isinstance(found, str):
        raise ManifestInvalid(f"{where}.{key}: must be a string")
    return found


def annotations_of(value: Mapping[str, object], where: str) -> dict[str, str]:
    """The `annotations` map, empty where it is absent or null; raises ManifestInvalid."""
    found = value.get("annotations")
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ManifestInvalid(f"{where}.annotations: must map strings to strings")
    return found


def _digest_of(value: Mapping[str, object], where: str) -> Digest:
    text = value.get("digest")
    if not isinstance(text, str):
        raise ManifestInvalid(f"{where}.digest: missing")
    try:
        return Digest.parse(text)
    except DigestInvalid as error:
        raise ManifestInvalid(f"{where}.digest: {error}") from None
