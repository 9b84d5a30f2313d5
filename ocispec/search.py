"""Docker's own search, `/v1/search`: what it answers, both ways.

There is no specification: the shape is what `docker search` reads (moby, api/types/registry, SearchResults) and what
index.docker.io sends.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from ocispec.errors import NameInvalid, RequestInvalid
from ocispec.names import RepositoryName
from ocispec.pagination import whole_number

# `docker search --limit` takes 1 to 100, and sends 25 without it.
USUAL_PAGE, MAX_PAGE = 25, 100
_MAX_TEXT = 400


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A repository that was found at a registry's search. Its description is somebody's text, on one line."""

    name: RepositoryName
    description: str = ""
    stars: int = 0
    is_official: bool = False


def parse_results(body: bytes) -> list[SearchHit]:
    """Read an answer, as much of it as we ask for; entries that cannot be understood are left out.

    Raises ValueError for what is no answer.
    """
    try:
        answer = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise ValueError("there are no results")
    return list(islice((hit for entry in results if (hit := _hit(entry)) is not None), MAX_PAGE))


def _hit(entry: object) -> SearchHit | None:
    if not isinstance(entry, dict):
        return None
    try:
        name = RepositoryName.parse(str(entry.get("name")))
    except NameInvalid:
        return None
    description, stars = entry.get("description"), entry.get("star_count")
    return SearchHit(
        name,
        one_line(description) if isinstance(description, str) else "",
        stars if type(stars) is int and 0 <= stars < 2**53 else 0,
        entry.get("is_official") is True,
    )


def one_line(text: str) -> str:
    """What can be printed of it, no longer than a line or two: nothing moves the cursor, or turns the line round.

    Lines and other spaces are single spaces; control and format characters (Unicode's Cc and Cf) are left out.
    """
    kept = (char if char.isprintable() else " " if char.isspace() else "" for char in text)
    plain = " ".join("".join(kept).split())
    return plain if len(plain) <= _MAX_TEXT else f"{plain[: _MAX_TEXT - 1]}…"


def parse_number(text: str | None, name: str, usual: int, least: int, most: int) -> int:
    """A whole number of the query, no more than `most`; raises RequestInvalid."""
    if text is None:
        return usual
    number = whole_number(text)
    if number is None or number < least:
        raise RequestInvalid(f"{name}: {text[:20]!r} is not a whole number from {least} on")
    return min(number, most)


def answer(query: str, page: int, size: int, total: int, results: Sequence[dict[str, object]]) -> bytes:
    """An answer as docker and podman read it."""
    value = {"query": query, "page": page, "page_size": size, "num_pages": -(-total // size), "num_results": total}
    return json.dumps({**value, "results": list(results)}).encode()
