"""`n`, `last` and the Link header of tags/list and _catalog (distribution-spec, "Listing Tags"; RFC 8288)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from ocispec.errors import PageInvalid

# Larger pages are cut, not refused: Renovate and others ask for 10,000.
MAX_PAGE = 1000
# int() takes Arabic digits, spaces, signs and underscores; a number in a query has none of them.
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_LINK = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?', re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` entries that come after `last` in lexical order."""

    limit: int = MAX_PAGE
    last: str = ""


def whole_number(text: str) -> int | None:
    """What a query says, if it is a plain whole number of up to nine digits."""
    return int(text) if _NUMBER.fullmatch(text) else None


def parse_page(n: str | None, last: str | None) -> Page:
    """Read the query; raises PageInvalid where `n` is not a plain whole number."""
    if n is None:
        return Page(last=last or "")
    limit = whole_number(n)
    if limit is None:
        raise PageInvalid(detail={"n": n[:20]})
    return Page(min(limit, MAX_PAGE), last or "")


def next_link(path: str, page: Page, entries: Sequence[str], *, more: bool) -> str | None:
    """The Link header to the page after `entries`, or None where this is the end (or nothing was asked for)."""
    if not more or not entries:
        return None
    return f'<{path}?n={page.limit}&last={quote(entries[-1], safe="")}>; rel="next"'


def parse_next(link: str | None, base: str) -> str | None:
    """The absolute URL of an upstream's next page: None where there is none or it leads to another origin.

    Raises ValueError where it is no URL: the list would be cut short without anybody noticing.
    """
    match = _LINK.search(link or "")
    if match is None:
        return None
    url = urljoin(base, match[1])
    here, there = urlsplit(base), urlsplit(url)
    return url if (here.scheme, here.netloc) == (there.scheme, there.netloc) else None
