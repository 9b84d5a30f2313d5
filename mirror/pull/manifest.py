"""Pull a manifest: by digest from here for ever, by tag while it is fresh, and then by asking the upstream."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mirror.flights import Flights
from mirror.pull.freshness import Freshness
from mirror.pull.outcome import Outcome
from mirror.pull.remembered import Remembered
from mirror.pull.remote import RemoteManifests
from mirror.routing import Place, owner
from mirror.upstream.client import UpstreamClient
from mirror.upstream.errors import UpstreamError, UpstreamNotAsked, UpstreamRefused, UpstreamTimedOut
from mirror.upstream.line import Rank, Want
from ocispec.digest import Digest
from ocispec.errors import ManifestUnknown
from ocispec.names import Reference, Tag
from storage.hot import StoredManifest
from storage.repository import Repository
from storage.store import Store

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
        self._store, self._upstreams = store, upstreams
        self._freshness = Freshness({host: upstream.config for host, upstream in upstreams.items()}, clock)
        self._remote = RemoteManifests(store, upstreams, self._freshness, clock)
        self._put_off = Remembered(clock)
        self._flights = Flights()

    async def close(self) -> None:
        await self._flights.close()

    def recall(self, place: Place, reference: Reference) -> PulledManifest | None:
        """The answer, if it is in memory and fresh: the warm path, without waiting for anything."""
        repository = owner(place, self._store.repositories)
        found = self._store.manifests.recall(repository, reference)
        if found is None or not self._freshness.serves(repository, reference, found):
            return None
        return self._found(repository, found, Outcome.HIT)

    async def get(self, place: Place, reference: Reference) -> PulledManifest:
        """Raises ManifestUnknown, or UpstreamError where nobody could be asked and nothing is here."""
        if recalled := self.recall(place, reference):
            return recalled
        repository = owner(place, self._store.repositories)
        found = await self._store.manifests.find(repository, reference)
        if found is not None and self._freshness.serves(repository, reference, found):
            return self._found(repository, found, Outcome.HIT)
        if repository.is_hosted:
            raise ManifestUnknown(place.hint, detail={"name": place.name, "reference": str(reference)})
        if self._remote.is_absent(repository, reference):
            raise _unknown(repository, reference)
        return await self._asked(repository, reference, found)

    async def check(self, place: Place, reference: Reference) -> PulledManifest:
        """`get`, for what nobody waits for: a tag is asked about whatever its ttl, unless it never moves; an upstream
        that cannot say is an error; and nothing is fetched with the last pulls of a budget.

        Raises ManifestUnknown, UpstreamError.
        """
        repository = owner(place, self._store.repositories)
        found = await self._store.manifests.find(repository, reference)
        if found is not None and self._freshness.never_moves(repository, reference):
            return self._found(repository, found, Outcome.HIT)
        if repository.is_hosted:
            return await self.get(place, reference)
        spare = self._upstreams[repository.upstream].spare
        behind = Want(Rank.AHEAD)
        if isinstance(reference, Digest):
            spare()
            # No joining: a client that joined this would wait behind everybody.
            return _answered(repository, reference, None, await self._fetch_missing(repository, reference, behind))
        current = await self._remote.current(repository, reference, found, spare, behind)
        return _answered(repository, reference, found, current)

    async def renew(self, repository: Repository, reference: Reference) -> StoredManifest | None:
        """What the upstream has under `reference` now, whatever its ttl, and kept; None where it has nothing.

        No joining of what is under way: that may have been answered before whoever asks here began to wonder.
        Raises UpstreamError.
        """
        found = await self._store.manifests.find(repository, reference)
        if isinstance(reference, Digest):
            return found or await self._remote.fetch(repository, reference)
        if found is None:
            return await self._remote.fetch(repository, reference)
        return await self._remote.current(repository, reference, found, lambda: None)

    def fresh_for(self, repository: Repository, tag: Tag, checked_at: float | None) -> float:
        """For how many seconds more a tag is served without asking; 0 or less where the next pull asks."""
        return self._freshness.left(repository, tag, checked_at)

    def keeps(self, repository: Repository, reference: Reference, found: StoredManifest) -> bool:
        """Whether a pull would be answered with what is here while the upstream says nothing."""
        return self._freshness.keeps(repository, reference, found)

    async def _asked(
        self, repository: Repository, reference: Reference, found: StoredManifest | None
    ) -> PulledManifest:
        """What the upstream says. Raises ManifestUnknown where that is no, UpstreamError where it cannot say."""
        try:
            if found is not None and isinstance(reference, Tag):
                return await self._revalidated(repository, reference, found)
            key, want = (repository, reference), Want(Rank.QUESTION)
            fetched = await self._flights.join(
                key, lambda: self._fetch_missing(repository, reference, want), lambda: want.stands_in_line
            )
            return _answered(repository, reference, None, fetched)
        except UpstreamRefused as error:
            # Docker Hub answers so for what does not exist; and whether it does is not for us to tell.
            log.info("the upstream refuses a manifest", extra={"repository": str(repository), "reason": str(error)})
            raise ManifestUnknown(str(error), detail={"reference": str(reference)}) from error
        except UpstreamError as error:
            if isinstance(reference, Tag) and await self._store.manifests.is_retracted(repository, reference):
                # It has said that the tag is gone, and nothing else since.
                raise _unknown(repository, reference) from error
            raise

    async def _fetch_missing(self, repository: Repository, reference: Reference, want: Want) -> StoredManifest | None:
        # What was not here when the client asked may be here by now.
        found = await self._store.manifests.find(repository, reference)
        return found or await self._remote.fetch(repository, reference, want)

    async def _revalidated(self, repository: Repository, tag: Tag, found: StoredManifest) -> PulledManifest:
        """Ask where the tag points now. An upstream that fails, or takes too long, leaves us with what we have."""
        keeps = self._freshness.keeps(repository, tag, found)
        if keeps and self._put_off.has(repository, tag):
            return self._found(repository, found, Outcome.STALE)
        flight = self._flights.begin((repository, tag), lambda: self._revalidate(repository, tag, found))
        if self._freshness.has_grace(repository, tag, found):
            return self._found(repository, found, Outcome.STALE)
        try:
            current = await _in_time(self._upstreams[repository.upstream], flight)
        except UpstreamRefused:
            raise  # an answer, not a failure: it is gone, or not for us any more
        except UpstreamError as error:
            if not keeps:
                raise
            self._put_off.add(repository, tag, _PUT_OFF_SECONDS)
            facts = {"repository": str(repository), "tag": tag, "reason": str(error)}
            log.warning("serving a stale tag", extra=facts)
            return self._found(repository, found, Outcome.STALE)
        return _answered(repository, tag, found, current)

    async def _revalidate(self, repository: Repository, tag: Tag, found: StoredManifest) -> StoredManifest | None:
        # Between the look that found nothing fresh and this flight, another flight may have landed.
        found = await self._store.manifests.find(repository, tag) or found
        if self._freshness.serves(repository, tag, found):
            return found
        return await self._remote.current(repository, tag, found, self._upstreams[repository.upstream].spare)

    def _found(self, repository: Repository, found: StoredManifest, outcome: Outcome) -> PulledManifest:
        return PulledManifest(found, outcome, repository, self._freshness.age(repository, found))


async def _in_time(upstream: UpstreamClient, flight: asyncio.Task[StoredManifest | None]) -> StoredManifest | None:
    """What a flight brings, for a client that has a copy and does not wait for ever. Raises UpstreamError."""
    if not upstream.is_asked:  # and a flight of before may hang for a while yet
        raise UpstreamNotAsked("the upstream is not asked now")
    limit = upstream.config.revalidate_timeout
    try:
        async with asyncio.timeout(limit):
            return await asyncio.shield(flight)
    except TimeoutError:
        reason = f"the upstream did not answer within {limit:g} s"
        upstream.suspect(reason)
        raise UpstreamTimedOut(reason) from None


def _answered(
    repository: Repository, reference: Reference, found: StoredManifest | None, current: StoredManifest | None
) -> PulledManifest:
    """What the upstream has now, where `found` is what was here. Raises ManifestUnknown where it has nothing."""
    if current is None:
        raise _unknown(repository, reference)
    is_same = found is not None and current.digest == found.digest
    return PulledManifest(current, Outcome.REVALIDATED if is_same else Outcome.MISS, repository)


def _unknown(repository: Repository, reference: Reference) -> ManifestUnknown:
    return ManifestUnknown(detail={"name": repository.path, "reference": str(reference)})
