"""Byte ranges: what a client asks of a blob, what we answer, and what a chunk of an upload claims.

RFC 9110, 14: a Range that cannot be understood is ignored (the whole blob is sent); one that can be understood but
lies outside the blob is 416. Of several ranges those outside are left out, and it is 416 only where none is left.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ocispec.errors import RangeNotSatisfiable, RequestInvalid

# At most 19 digits: more could not be a file offset, and int() of a long string is slow.
_SPEC = re.compile(r"([0-9]{0,19})-([0-9]{0,19})", re.ASCII)
_CHUNK = re.compile(r"(?:bytes[ =])?([0-9]{1,19})-([0-9]{1,19})(?:/(?:[0-9]{1,19}|\*))?", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.ASCII)

# As many as podman asks for at once (zstd:chunked). A header has room for more: what it may ask for has to have an end.
_MAX_RANGES = 1024


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range as asked: `first-`, `first-last`, or the last `suffix` bytes."""

    first: int | None = None
    last: int | None = None
    suffix: int | None = None

    def resolve(self, size: int) -> "ContentRange":
        """The part of `size` bytes that is meant; raises RangeNotSatisfiable."""
        if self.suffix is not None:
            first, last = max(0, size - self.suffix), size - 1
        else:
            first, last = self.first or 0, size - 1 if self.last is None else min(self.last, size - 1)
        if first >= size or last < first or self.suffix == 0:
            raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
        return ContentRange(first, last, size)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """One range as answered: bytes `first` to `last`, both included, of `size`."""

    first: int
    last: int
    size: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"bytes {self.first}-{self.last}/{self.size}"


def parse_ranges(header: str | None) -> tuple[ByteRange, ...]:
    """The ranges of a Range header in their order; none where the whole blob is to be sent.

    None also for other units, for what cannot be understood in any part, and for more ranges than anybody needs. A
    range that ends before it begins is understood, and satisfied by nothing: the conformance suite wants 416 for it.
    """
    unit, _, specs = (header or "").partition("=")
    if unit.strip().lower() != "bytes" or specs.count(",") >= _MAX_RANGES:
        return ()
    ranges = [_parse_spec(spec.strip()) for spec in specs.split(",")]
    understood = tuple(asked for asked in ranges if asked is not None)
    return understood if len(understood) == len(ranges) else ()


def resolve_ranges(ranges: Sequence[ByteRange], size: int) -> tuple[ContentRange, ...]:
    """The parts of `size` bytes that are meant, in the order asked; none where the whole is to be sent.

    The whole is sent, too, where parts overlap: that asks for more bytes than there are. Parts are never put together,
    as RFC 9110, 15.3.7.2 would allow: podman counts them, and fails where there are fewer than it asked for.

    Raises RangeNotSatisfiable where none of them lies in the blob.
    """
    parts: list[ContentRange] = []
    outside: RangeNotSatisfiable | None = None
    for asked in ranges:
        try:
            parts.append(asked.resolve(size))
        except RangeNotSatisfiable as error:
            outside = error
    if not parts and outside is not None:
        raise outside
    return () if _overlap(parts) else tuple(parts)


def _overlap(parts: Sequence[ContentRange]) -> bool:
    ordered = sorted(parts, key=lambda part: part.first)
    return any(part.last >= following.first for part, following in pairwise(ordered))


def _parse_spec(spec: str) -> ByteRange | None:
    match = _SPEC.fullmatch(spec)
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return ByteRange(suffix=int(last)) if last else None
    return ByteRange(int(first), int(last) if last else None)


def parse_chunk_range(header: str) -> tuple[int, int]:
    """First and last byte of an upload's `Content-Range: first-last`; raises RequestInvalid.

    The specification's form has no unit; `bytes first-last/total`, the form of RFC 9110, is understood too.
    """
    match = _CHUNK.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise RequestInvalid("Content-Range must be <first>-<last>", detail={"content-range": header[:100]})
    return int(match[1]), int(match[2])


def parse_content_range(header: str) -> ContentRange | None:
    """The Content-Range of a 206 answer, or None where it is not one that names all three numbers."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last, size = (int(group) for group in match.groups())
    return ContentRange(first, last, size) if first <= last < size else None
