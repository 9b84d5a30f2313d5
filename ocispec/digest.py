"""Content digests: `algorithm:hex`, the name of every blob and manifest (OCI image-spec, descriptor.md#digests)."""

import hashlib
import re
from typing import NamedTuple, Protocol

from ocispec.errors import DigestInvalid

_GRAMMAR = re.compile(r"(sha256):([0-9a-f]{64})|(sha512):([0-9a-f]{128})", re.ASCII)


class Hasher(Protocol):
    """The part of a hashlib object that is used here."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...
    def copy(self) -> "Hasher": ...


class Digest(NamedTuple):
    """A digest that has been checked: a registered algorithm and the right number of lower-case hex digits.

    Only `parse` and `of` make one, so its parts are safe to build a path from. (A tuple, since it is a key all day: the
    hash of a dataclass is made in Python.)
    """

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `sha256:…` or `sha512:…`; raises DigestInvalid for anything else."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise DigestInvalid("invalid digest; expected sha256: and 64, or sha512: and 128, lower-case hex digits")
        return cls(match[1] or match[3], match[2] or match[4])

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> "Digest":
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def etag(self) -> str:
        """The strong entity tag of this content (RFC 9110, 8.8.3)."""
        return f'"{self}"'


def new_hasher(algorithm: str) -> Hasher:
    """A running hash of a registered algorithm."""
    return hashlib.new(algorithm)
