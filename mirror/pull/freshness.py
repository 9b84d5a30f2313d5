"""How long what an upstream says of a tag is good for, in seconds. No I/O. (Of a digest it is good for ever.)"""

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from mirror.config import Upstream
from mirror.values import spelled
from ocispec.digest import Digest
from ocispec.names import Reference, RepositoryName, Tag
from storage.hot import StoredManifest
from storage.repository import Repository
from storage.scope import matches

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
        patterns, host = self._config.tag_ttls.items(), self._config.host
        fitting = (ttl for pattern, ttl in patterns if matches(f"{repository}:{tag}", spelled(pattern, host)))
        ttl = next(fitting, self._config.tag_ttl)
        return min(ttl, _FALLBACK_SECONDS) if _is_fallback(tag) else ttl

    def grace(self, tag: Tag) -> float:
        """For how long after its ttl a tag is served before it is asked about."""
        return 0.0 if _is_fallback(tag) else self._config.stale_while_revalidate

    def absence(self, reference: Reference) -> float:
        """That there is nothing under this reference."""
        ttl = self._config.negative_ttl
        return min(ttl, _NO_FALLBACK_SECONDS) if _is_fallback(str(reference)) else ttl


class Freshness:
    """Whether what is here may be served now, by the times of its upstream. What was pushed here always may."""

    def __init__(self, configs: Mapping[str, Upstream], clock: Callable[[], float]) -> None:
        self._configs, self._clock = configs, clock
        self._times = {host: Times(config) for host, config in configs.items()}

    def age(self, repository: Repository, found: StoredManifest) -> float | None:
        """How long ago it was confirmed; None where nobody has to."""
        if repository.is_hosted or found.checked_at is None:
            return None
        return max(0.0, self._clock() - found.checked_at)

    def serves(self, repository: Repository, reference: Reference, found: StoredManifest) -> bool:
        """Whether it may be served without asking."""
        if self._is_settled(repository, reference):
            return True
        return is_fresh(found.checked_at, self._clock(), self._ttl(repository, reference))

    def left(self, repository: Repository, tag: Tag, checked_at: float | None) -> float:
        """For how many seconds more a tag may be served without asking; 0 or less where it may not."""
        if checked_at is None or self.never_moves(repository, tag):
            return math.inf
        return self._ttl(repository, tag) - abs(self._clock() - checked_at)

    def never_moves(self, repository: Repository, reference: Reference) -> bool:
        """Whether what is here is fresh for ever."""
        return self._is_settled(repository, reference) or math.isinf(self._ttl(repository, reference))

    def has_grace(self, repository: Repository, tag: Tag, found: StoredManifest) -> bool:
        """Whether it may be served while it is asked about."""
        return self._overdue(repository, tag, found) < self._times[repository.upstream].grace(tag)

    def keeps(self, repository: Repository, reference: Reference, found: StoredManifest) -> bool:
        """Whether it may be served while the upstream says nothing."""
        if self._is_settled(repository, reference):
            return True
        return self._overdue(repository, reference, found) <= self._configs[repository.upstream].stale_if_error

    def absence(self, repository: Repository, reference: Reference) -> float:
        """How long it is good for that there is nothing under this reference."""
        return self._times[repository.upstream].absence(reference)

    def _is_settled(self, repository: Repository, reference: Reference) -> bool:
        """Whether nobody has to say anew what it is."""
        return repository.is_hosted or isinstance(reference, Digest) or self._configs[repository.upstream].offline

    def _overdue(self, repository: Repository, tag: Reference, found: StoredManifest) -> float:
        """For how long a tag has not been fresh any more."""
        since = abs(self._clock() - found.checked_at) if found.checked_at is not None else 0.0
        return since - self._ttl(repository, tag)

    def _ttl(self, repository: Repository, tag: Reference) -> float:
        return self._times[repository.upstream].ttl(repository.name, tag)


def _is_fallback(tag: str) -> bool:
    return _FALLBACK.fullmatch(tag) is not None
