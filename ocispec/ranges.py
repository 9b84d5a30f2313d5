"""Byte ranges: what a client asks of a blob, what we answer, and what a chunk of an upload claims.

RFC 9110, 14: a Range that cannot be understood is ignored (the whole blob is sent); one that can be understood but
lies outside the blob is 416.
"""

import re
from dataclasses import dataclass

from ocispec.errors import RangeNotSatisfiable, RequestInvalid

# At most 19 digits: more could not be a file offset, and int() of a long string is slow.
_SPEC = re.compile(r"([0-9]{0,19})-([0-9]{0,19})", re.ASCII)
_CHUNK = re.compile(r"(?:bytes[ =])?([0-9]{1,19})-([0-9]{1,19})(?:/(?:[0-9]{1,19}|\*))?", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})", re.ASCII)


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


def parse_range(header: str | None) -> ByteRange | None:
    """The single range of a Range header, or None where the whole blob is to be sent.

    None also for several ranges at once (answering 200 with everything is allowed, RFC 9110, 14.2, and every client
    measured accepts it), for other units, and for what cannot be understood. A range that ends before it begins is
    understood, and satisfied by nothing: the conformance suite wants 416 for it.
    """
    unit, _, specs = (header or "").partition("=")
    match = _SPEC.fullmatch(specs.strip())
    if unit.strip().lower() != "bytes" or match is None:
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
