"""Challenges of an upstream: `WWW-Authenticate: Bearer realm="…",service="…",scope="…"` (RFC 9110, 11.6.1)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, 5.6.2
_SCHEME = re.compile(rf"\s*(?:,\s*)*({_WORD})(?=\s|,|$)(?!\s*=)", re.ASCII)
_PARAMETER = re.compile(rf'\s*(?:,\s*)*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))', re.ASCII)
_ESCAPE = re.compile(r"\\(.)")
_MAX_HEADER = 8192
_MAX_HEADERS = 8


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme in lower case and its parameters, names in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        return self.parameters.get("realm", "")

    @property
    def service(self) -> str:
        return self.parameters.get("service", "")

    @property
    def scope(self) -> str:
        return self.parameters.get("scope", "")


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge of every header line; what cannot be read ends the line it stands in. Never raises."""
    lines = islice(headers, _MAX_HEADERS)
    return [challenge for header in lines for challenge in _parse_line(header[:_MAX_HEADER])]


def _parse_line(header: str) -> list[Challenge]:
    out: list[Challenge] = []
    position = 0
    while match := _SCHEME.match(header, position):
        parameters: dict[str, str] = {}
        position = match.end()
        while parameter := _PARAMETER.match(header, position):
            name, quoted, plain = parameter.groups()
            # The first value wins: a second one is what an attacker would append.
            parameters.setdefault(name.lower(), plain if quoted is None else _ESCAPE.sub(r"\1", quoted))
            position = parameter.end()
        out.append(Challenge(match[1].lower(), parameters))
    return out
