"""Repository names, tags and references, as the specification's grammar has them ("Pulling manifests").

Both are `str` subclasses: whoever holds one knows that it was checked. `re.fullmatch` and ASCII on purpose: `$` would
let a trailing newline through, and `\\d` Arabic digits.
"""

import re

from ocispec.digest import Digest
from ocispec.errors import NameInvalid, TagInvalid

# <name> of distribution-spec: path components joined by "/".
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)
# Many clients limit host and name together to 255 characters; names longer than that cannot be pulled by anybody.
MAX_NAME = 255


class RepositoryName(str):
    """A valid repository name, such as `library/nginx`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "RepositoryName":
        """Raises NameInvalid."""
        if len(text) > MAX_NAME or _NAME.fullmatch(text) is None:
            raise NameInvalid(detail={"name": text[:MAX_NAME]})
        return cls(text)


class Tag(str):
    """A valid tag, such as `latest`."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> "Tag":
        """Raises TagInvalid."""
        if _TAG.fullmatch(text) is None:
            raise TagInvalid(detail={"tag": text[:128]})
        return cls(text)


def is_tag(text: str) -> bool:
    return _TAG.fullmatch(text) is not None


Reference = Tag | Digest


def parse_reference(text: str) -> Reference:
    """`<tag-or-digest>`: a colon makes it a digest, since no tag has one. Raises TagInvalid or DigestInvalid."""
    return Digest.parse(text) if ":" in text else Tag.parse(text)
