"""How long another registry asks us to wait, and how much more it lets us have."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_QUOTA = re.compile(r"([0-9]{1,9})(?:\s*;\s*w=([0-9]{1,9}))?", re.ASCII)
_MAX_SOURCE = 64


@dataclass(frozen=True, slots=True)
class Budget:
    """Pulls that are left of those that Docker Hub grants in a window of time, and to whom: an address, an account."""

    remaining: int
    limit: int
    window_seconds: int
    source: str


def parse_budget(headers: Mapping[str, str]) -> Budget | None:
    """The `ratelimit-*` headers of an answer (docs.docker.com, "Pull usage and limits"); None without them."""
    remaining = _QUOTA.fullmatch(headers.get("ratelimit-remaining", "").strip())
    limit = _QUOTA.fullmatch(headers.get("ratelimit-limit", "").strip())
    if remaining is None or limit is None:
        return None
    source = headers.get("docker-ratelimit-source", "")[:_MAX_SOURCE]
    return Budget(int(remaining[1]), int(limit[1]), int(limit[2] or remaining[2] or 0), source)


def parse_retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header, given as a number or a date (RFC 9110, 10.2.3); None where it says nothing."""
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())
