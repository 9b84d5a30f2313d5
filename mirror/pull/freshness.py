"""How long what an upstream says of a tag is good for, in seconds. Pure. (Of a digest it is good for ever.)"""

import re
from fnmatch import fnmatchcase
from functools import lru_cache

from mirror.config import Upstream
from mirror.routing import spellings
from ocispec.names import Reference, RepositoryName, Tag

_REMEMBERED = 4096
# Where cosign and others look for what belongs to a manifest whose registry has no referrers (distribution-spec,
# "Referrers Tag Schema"). Such tags are written anew with each signature, so they must not be old; and whoever signs
# has just asked whether there is one.
_FALLBACK = re.compile(r"sha(256|512)-[0-9a-f]{64,128}(\.[a-z]+)?", re.ASCII)
_FALLBACK_SECONDS = 30.0
_NO_FALLBACK_SECONDS = 1.0


def is_fresh(checked_at: float | None, now: float, ttl: float) -> bool:
    """Whether what was confirmed at `checked_at` may be served without asking; None (a pushed tag) always may.

    A confirmation from the future, after a clock was set back, counts by its distance all the same: it must not stay
    fresh for as long as the clock was wrong.
    """
    return checked_at is None or abs(now - checked_at) < ttl


class Times:
    """How long answers of one upstream are good for."""

    def __init__(self, config: Upstream) -> None:
        self._config = config
        self.ttl = lru_cache(_REMEMBERED)(self._ttl)

    def _ttl(self, repository: RepositoryName, tag: Tag) -> float:
        """Where the tag points; by the first pattern that fits `repository:tag`."""
        names = [f"{name}:{tag}" for name in spellings(self._config.host, repository)]
        patterns = self._config.tag_ttls.items()
        fitting = (ttl for pattern, ttl in patterns if any(fnmatchcase(name, pattern) for name in names))
        ttl = next(fitting, self._config.tag_ttl)
        return min(ttl, _FALLBACK_SECONDS) if _is_fallback(tag) else ttl

    def grace(self, tag: Tag) -> float:
        """For how long after its ttl a tag is served before it is asked about."""
        return 0.0 if _is_fallback(tag) else self._config.stale_while_revalidate

    def absence(self, reference: Reference) -> float:
        """That there is nothing under this reference."""
        ttl = self._config.negative_ttl
        return min(ttl, _NO_FALLBACK_SECONDS) if _is_fallback(str(reference)) else ttl


def _is_fallback(tag: str) -> bool:
    return _FALLBACK.fullmatch(tag) is not None
