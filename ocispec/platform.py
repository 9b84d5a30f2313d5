"""Platforms: which entry of an index is for which machine (OCI image-spec, image-index.md, "platform")."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ocispec.errors import RequestInvalid

_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}", re.ASCII)
# What machines call themselves, and what Go calls them, whose words the specification took.
_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386"}
# "linux/arm64" and "linux/arm64/v8" are one platform; so are the others.
_IMPLIED = {"amd64": "v1", "arm64": "v8", "arm": "v7"}


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a processor; `variant` is '' where none is given."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Read `linux/amd64` or `linux/arm/v7`; raises RequestInvalid."""
        words = text.split("/", 3)
        if len(words) not in (2, 3) or not all(map(_WORD.fullmatch, words)):
            raise RequestInvalid(f"{text[:100]!r} is not a platform; write it like linux/amd64 or linux/arm/v7")
        os, architecture, *variant = words
        return cls(os, _ARCHITECTURES.get(architecture, architecture), *variant)

    @classmethod
    def from_json(cls, value: object) -> "Platform | None":
        """The platform of an entry; None where it has none that can be understood, which is no reason to refuse it."""
        if not isinstance(value, dict):
            return None
        words = (value.get("os"), value.get("architecture"), value.get("variant") or "")
        os, architecture, variant = (word if isinstance(word, str) else "?" for word in words)
        try:
            return cls.parse("/".join((os, architecture, variant) if variant else (os, architecture)))
        except RequestInvalid:
            return None

    def to_json(self) -> dict[str, str]:
        variant = {"variant": self.variant} if self.variant else {}
        return {"architecture": self.architecture, "os": self.os, **variant}

    def is_one_of(self, wanted: Sequence["Platform"]) -> bool:
        """Whether one of `wanted` means this one: without a variant it means all of them. None wanted: every one is."""
        return not wanted or any(self._is(platform) for platform in wanted)

    def _is(self, wanted: "Platform") -> bool:
        same = (self.os, self.architecture) == (wanted.os, wanted.architecture)
        return same and (not wanted.variant or self._full_variant == wanted._full_variant)

    @property
    def _full_variant(self) -> str:
        return self.variant or _IMPLIED.get(self.architecture, "")

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))
