"""How long a tag's answer is good for. Pure. (A digest's answer is good for ever.)"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache

_REMEMBERED = 4096
# Where cosign and others look for what belongs to a manifest whose registry has no referrers. Such tags are written
# anew with each signature, so they must not be old.
_FALLBACK = re.compile(r"sha(256|512)-[0-9a-f]{64,128}(\.[a-z]+)?", re.ASCII)
_FALLBACK_SECONDS = 30.0


def is_fresh(checked_at: float | None, now: float, ttl: float) -> bool:
    """Whether what was confirmed at `checked_at` may be served without asking; None (a pushed tag) always may.

    A confirmation from the future, after a clock was set back, counts by its distance all the same: it must not stay
    fresh for as long as the clock was wrong.
    """
    return checked_at is None or abs(now - checked_at) < ttl


class TagTtls:
    """Seconds that the tags of one upstream are good for: by the first pattern that fits `repository:tag`."""

    def __init__(self, default: float, patterns: Mapping[str, float]) -> None:
        self._default, self._patterns = default, patterns
        self.of = lru_cache(_REMEMBERED)(self._of)

    def _of(self, repository: str, tag: str) -> float:
        fitting = (ttl for pattern, ttl in self._patterns.items() if fnmatchcase(f"{repository}:{tag}", pattern))
        ttl = next(fitting, self._default)
        return min(ttl, _FALLBACK_SECONDS) if _FALLBACK.fullmatch(tag) else ttl
