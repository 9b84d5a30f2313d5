"""Pull a manifest: by digest from here for ever, by tag while it is fresh, and then by asking the upstream."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from cachetools import LRUCache

from mirror.flights import Flights
from mirror.pull.freshness import Times, is_fresh
from mirror.pull.outcome import Outcome
from mirror.reading import read_manifest
from mirror.routing import Place, owner
from mirror.upstream.client import RemoteManifest, UpstreamClient
from mirror.upstream.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamNotAsked,
    UpstreamRefused,
    UpstreamTimedOut,
)
from ocispec.digest import Digest
from ocispec.errors import ManifestInvalid, ManifestUnknown
from ocispec.manifest import Manifest
from ocispec.names import Reference, Tag
from storage.errors import StorageError
from storage.hot import StoredManifest
from storage.repository import Repository
from storage.store import Store

_MAX_REMEMBERED = 10_000
# A tag that could not be confirmed is not asked about again before this.
_PUT_OFF_SECONDS = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PulledManifest:
    """`age`: seconds since the upstream last said so; None where that does not matter."""

    manifest: StoredManifest
    outcome: Outcome
    repository: Repository
    age: float | None = None


class ManifestPulls:
    """Answers pulls of manifests, from the store and from upstreams by host."""

    def __init__(self, store: Store, upstreams: Mapping[str, UpstreamClient], clock: Callable[[], float]) -> None:
        self._store, self._upstreams, self._clock = store, upstreams, clock
        self._times = {host: Times(upstream.config) for host, upstream in upstreams.items()}
        self._absent, self._put_off = Remembered(clock), Remembered(clock)
        self._flights = Flights()

    async def close(self) -> None:
        await self._flights.close()

    def recall(self, place: Place, reference: Reference) -> PulledManifest | None:
        """The answer, if it is in memory and fresh: the warm path, without waiting for anything."""
        repository = owner(place, self._store.repositories)
        found = self._store.manifests.recall(repository, reference)
        if found is None or not self._serves(repository, reference, found):
            return None
        return self._found(found, Outcome.HIT, repository)

    async def get(self, place: Place, reference: Reference) -> PulledManifest:
        """Raises ManifestUnknown, or UpstreamError where nobody could be asked and nothing is here."""
        if recalled := self.recall(place, reference):
            return recalled
        repository = owner(place, self._store.repositories)
        found = await self._store.manifests.find(repository, reference)
        if repository.is_hosted or (found is not None and self._serves(repository, reference, found)):
            if found is None:
                raise ManifestUnknown(place.hint, detail={"name": place.name, "reference": str(reference)})
            return self._found(found, Outcome.HIT, repository)
        if self._absent.has(repository, reference):
            return self._pulled(repository, reference, None, Outcome.MISS)
        return await self._asked(repository, reference, found)

    async def _asked(
        self, repository: Repository, reference: Reference, found: StoredManifest | None
    ) -> PulledManifest:
        """What the upstream says. Raises ManifestUnknown where that is no, UpstreamError where it cannot say."""
        try:
            if found is None or not isinstance(reference, Tag):
                key = (repository, reference)
                fetched = await self._flights.join(key, lambda: self._fetch_missing(repository, reference))
                return self._pulled(repository, reference, fetched, Outcome.MISS)
            return await self._revalidated(repository, reference, found)
        except UpstreamRefused as error:
            # Docker Hub answers so for what does not exist; and whether it does is not for us to tell.
            log.info("the upstream refuses a manifest", extra={"repository": str(repository), "reason": str(error)})
            raise ManifestUnknown(str(error), detail={"reference": str(reference)}) from error
        except UpstreamError:
            if isinstance(reference, Tag) and await self._store.manifests.is_retracted(repository, reference):
                # It has said that the tag is gone, and nothing else since.
                return self._pulled(repository, reference, None, Outcome.STALE)
            raise

    async def check(self, place: Place, reference: Reference) -> PulledManifest:
        """`get`, for what nobody waits for: a tag is asked about whatever its ttl, unless it never moves; an upstream
        that cannot say is an error; and nothing is fetched with the last pulls of a budget.

        Raises ManifestUnknown, UpstreamError.
        """
        repository = owner(place, self._store.repositories)
        found = await self._store.manifests.find(repository, reference)
        if found is not None and self._never_moves(repository, reference):
            return self._found(found, Outcome.HIT, repository)
        if repository.is_hosted:
            return await self.get(place, reference)
        spare = self._upstreams[repository.upstream].spare
        if isinstance(reference, Digest):
            spare()
            return await self.get(place, reference)
        current = await self._ask(repository, reference, found, spare)
        if current is not None:
            self._absent.remove(repository, reference)
        same = found is not None and current is not None and current.digest == found.digest
        return self._pulled(repository, reference, current, Outcome.REVALIDATED if same else Outcome.MISS)

    async def renew(self, repository: Repository, reference: Reference) -> StoredManifest | None:
        """What the upstream has under `reference` now, whatever its ttl, and kept; None where it has nothing.

        No joining of what is under way: that may have been answered before whoever asks here began to wonder.
        Raises UpstreamError.
        """
        found = await self._store.manifests.find(repository, reference)
        if isinstance(reference, Digest):
            current = found or await self._fetch(repository, reference)
        elif found is None:
            current = await self._fetch(repository, reference)
        else:
            current = await self._ask(repository, reference, found, lambda: None)
        if current is not None:
            self._absent.remove(repository, reference)
        return current

    def fresh_for(self, repository: Repository, tag: Tag, checked_at: float | None) -> float:
        """For how many seconds more a tag is served without asking; 0 or less where the next pull asks."""
        if checked_at is None or self._never_moves(repository, tag):
            return math.inf
        return self._times[repository.upstream].ttl(repository.name, tag) - abs(self._clock() - checked_at)

    def keeps(self, repository: Repository, reference: Reference, found: StoredManifest) -> bool:
        """Whether a pull would be answered with what is here while the upstream says nothing."""
        if self._is_settled(repository, reference):
            return True
        overdue = self._overdue(repository, reference, found)
        return overdue <= self._upstreams[repository.upstream].config.stale_if_error

    async def _revalidated(self, repository: Repository, tag: Tag, found: StoredManifest) -> PulledManifest:
        """Ask where the tag points now. An upstream that fails, or takes too long, leaves us with what we have."""
        upstream = self._upstreams[repository.upstream]
        limit, keeps = upstream.config.revalidate_timeout, self.keeps(repository, tag, found)
        if keeps and self._put_off.has(repository, tag):
            return self._found(found, Outcome.STALE, repository)
        flight = self._flights.begin((repository, tag), lambda: self._revalidate(repository, tag, found))
        if self._overdue(repository, tag, found) < self._times[repository.upstream].grace(tag):
            return self._found(found, Outcome.STALE, repository)
        try:
            if not upstream.is_asked:  # and a flight of before may hang for a while yet
                raise UpstreamNotAsked("the upstream is not asked now")
            async with asyncio.timeout(limit):
                current = await asyncio.shield(flight)
        except UpstreamRefused:
            raise  # an answer, not a failure: it is gone, or not for us any more
        except (UpstreamError, TimeoutError) as error:
            reason = str(error) or f"the upstream did not answer within {limit:g} s"
            if isinstance(error, TimeoutError):
                upstream.suspect(reason)
            if not keeps:
                raise error if isinstance(error, UpstreamError) else UpstreamTimedOut(reason) from error
            self._put_off.add(repository, tag, _PUT_OFF_SECONDS)
            log.warning("serving a stale tag", extra={"repository": str(repository), "tag": tag, "reason": reason})
            return self._found(found, Outcome.STALE, repository)
        same = current is not None and current.digest == found.digest
        outcome = Outcome.REVALIDATED if same else Outcome.MISS
        return self._pulled(repository, tag, current, outcome)

    async def _revalidate(self, repository: Repository, tag: Tag, found: StoredManifest) -> StoredManifest | None:
        # Between the look that found nothing fresh and this flight, another flight may have landed.
        found = await self._store.manifests.find(repository, tag) or found
        if self._serves(repository, tag, found):
            return found
        return await self._ask(repository, tag, found, self._upstreams[repository.upstream].spare)

    async def _ask(
        self, repository: Repository, tag: Tag, found: StoredManifest | None, may_fetch: Callable[[], None]
    ) -> StoredManifest | None:
        """Where the tag points by its upstream, fetched if it is not here and `may_fetch` does not raise.

        If it is gone, that is written down: it must not come back because the upstream fails after that.
        """
        current = await self._look(repository, tag, found, may_fetch)
        if current is None:
            await _kept(self._store.manifests.retract(repository, tag), repository)
        return current

    async def _look(
        self, repository: Repository, tag: Tag, found: StoredManifest | None, may_fetch: Callable[[], None]
    ) -> StoredManifest | None:
        try:
            digest = await self._upstreams[repository.upstream].head_manifest(repository.name, tag)
        except UpstreamBroken:
            digest = None
        if digest is None:
            return await self._fetch(repository, tag)  # registries that do not do HEAD properly are many; GET tells
        is_same = found is not None and digest == found.digest
        current = found if is_same else await self._store.manifests.find(repository, digest)
        if current is None:
            may_fetch()
            # By digest, so that a tag that moves once more meanwhile cannot mix two answers.
            current = await self._fetch(repository, digest)
        if current is None:
            return await self._fetch(repository, tag)
        await _kept(self._store.manifests.confirm(repository, tag, current.digest), repository)
        return current

    async def _fetch_missing(self, repository: Repository, reference: Reference) -> StoredManifest | None:
        # As above: what was not here when the client asked may be here by now.
        return await self._store.manifests.find(repository, reference) or await self._fetch(repository, reference)

    async def _fetch(self, repository: Repository, reference: Reference) -> StoredManifest | None:
        """Get it from the upstream, check it, keep it."""
        upstream = self._upstreams[repository.upstream]
        remote = await upstream.get_manifest(repository.name, reference)
        if remote is None:
            self._absent.add(repository, reference, self._times[repository.upstream].absence(reference))
            return None
        digest, manifest = await _checked(remote, reference)
        tag = reference if isinstance(reference, Tag) else None
        await _kept(self._store.manifests.cache(repository, digest, remote.body, manifest, tag), repository)
        return StoredManifest(digest, manifest.media_type, remote.body, self._clock())

    def _is_settled(self, repository: Repository, reference: Reference) -> bool:
        """Whether nobody has to say anew what it is."""
        return (
            repository.is_hosted or isinstance(reference, Digest) or self._upstreams[repository.upstream].config.offline
        )

    def _never_moves(self, repository: Repository, reference: Reference) -> bool:
        if self._is_settled(repository, reference):
            return True
        return math.isinf(self._times[repository.upstream].ttl(repository.name, reference))

    def _serves(self, repository: Repository, reference: Reference, found: StoredManifest) -> bool:
        if self._is_settled(repository, reference):
            return True
        return is_fresh(
            found.checked_at, self._clock(), self._times[repository.upstream].ttl(repository.name, reference)
        )

    def _found(self, found: StoredManifest, outcome: Outcome, repository: Repository) -> PulledManifest:
        age = None if repository.is_hosted or found.checked_at is None else max(0.0, self._clock() - found.checked_at)
        return PulledManifest(found, outcome, repository, age)

    def _overdue(self, repository: Repository, tag: Reference, found: StoredManifest) -> float:
        """For how many seconds a tag has not been fresh any more."""
        since = abs(self._clock() - found.checked_at) if found.checked_at is not None else 0.0
        return since - self._times[repository.upstream].ttl(repository.name, tag)

    @staticmethod
    def _pulled(
        repository: Repository, reference: Reference, found: StoredManifest | None, outcome: Outcome
    ) -> PulledManifest:
        if found is None:
            raise ManifestUnknown(detail={"name": repository.path, "reference": str(reference)})
        return PulledManifest(found, outcome, repository)


class Remembered:
    """What was found out about a reference, for a while: that the upstream does not have it, or cannot say.

    Clients ask twice for what is missing, by HEAD and by GET; and thousands ask for one tag during an outage.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._facts: LRUCache[tuple[Repository, Reference], tuple[float, float]] = LRUCache(_MAX_REMEMBERED)

    def add(self, repository: Repository, reference: Reference, seconds: float) -> None:
        self._facts[repository, reference] = (self._clock(), seconds)

    def remove(self, repository: Repository, reference: Reference) -> None:
        self._facts.pop((repository, reference), None)

    def has(self, repository: Repository, reference: Reference) -> bool:
        since, seconds = self._facts.get((repository, reference), (0.0, 0.0))
        return abs(self._clock() - since) < seconds  # also where a clock was set back


async def _kept(writing: Awaitable[None], repository: Repository) -> None:
    """Write down what the upstream said. A store that cannot is no reason to keep the answer from the client."""
    try:
        await writing
    except StorageError as error:
        log.error("cannot keep a manifest", extra={"repository": str(repository), "reason": str(error)})


async def _checked(remote: RemoteManifest, reference: Reference) -> tuple[Digest, Manifest]:
    """The digest of what was really sent; raises UpstreamBroken where it is not what was asked for or claimed."""
    expected = reference if isinstance(reference, Digest) else remote.digest
    digest = Digest.of(remote.body, expected.algorithm if expected else "sha256")
    if expected is not None and digest != expected:
        raise UpstreamBroken("the upstream sent a manifest that is not what its digest says")
    try:
        return digest, await read_manifest(remote.body, remote.content_type)
    except ManifestInvalid as error:
        raise UpstreamBroken(f"the upstream sent something else than a manifest: {error}") from None
