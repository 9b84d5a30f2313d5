"""What people call an image: `nginx`, `nginx:1.27`, `ghcr.io/org/app:tag`, `repo@sha256:…`."""

import re
from dataclasses import dataclass

from ocispec.digest import Digest
from ocispec.errors import NameInvalid
from ocispec.names import MAX_NAME, Reference, RepositoryName, Tag

_DEFAULT_TAG = Tag("latest")
# With a port it cannot be the beginning of a repository's name, as a host without one can.
_REGISTRY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]):[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImageName:
    """A repository, and which of its manifests is meant. `registry` is a host with a port, where the name has one."""

    repository: RepositoryName
    reference: Reference
    registry: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ImageName":
        """Without a tag, `latest` is meant; of a tag and a digest, the digest. Raises NameInvalid, TagInvalid or
        DigestInvalid."""
        named, at, digest = text.partition("@")
        registry, path = _split(named)
        name, colon, tag = path.partition(":")
        reference: Reference = Tag.parse(tag) if colon else _DEFAULT_TAG
        if at:
            reference = Digest.parse(digest)
        return cls(RepositoryName.parse(name), reference, registry)

    def __str__(self) -> str:
        host = f"{self.registry}/" if self.registry else ""
        return f"{host}{self.repository}{'@' if isinstance(self.reference, Digest) else ':'}{self.reference}"


def listed_images(text: str) -> list[tuple[int, str]]:
    """What a list of images names, one a line, and in which line; `#` begins a comment."""
    said = ((number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, name) for number, name in said if name]


def _split(text: str) -> tuple[str | None, str]:
    """The registry, where there is one with a port, and the rest."""
    host, slash, rest = text.partition("/")
    if not slash or ":" not in host:
        return None, text
    if len(host) > MAX_NAME or _REGISTRY.fullmatch(host) is None:
        raise NameInvalid(detail={"name": text[:MAX_NAME]})
    return host, rest
