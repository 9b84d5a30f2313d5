"""Refresh a tag: its upstream is asked where it points now, whatever its ttl, and what moved is fetched."""

from dataclasses import dataclass
from enum import StrEnum

from mirror.pull.manifest import ManifestPulls
from mirror.routing import Place, owner
from mirror.upstream.errors import UpstreamRefused
from ocispec.digest import Digest
from ocispec.errors import ManifestUnknown
from ocispec.names import Reference
from storage.repository import Repository
from storage.store import Store


class Change(StrEnum):
    UNCHANGED = "unchanged"  # it points where it did
    MOVED = "moved"  # it points elsewhere now, and that is here
    NEW = "new"  # nothing was here, and now it is
    GONE = "gone"  # the upstream has it no more; the copy here stays, by its digest
    REFUSED = "refused"  # the upstream does not let us see it any more; the copy here stays
    HOSTED = "hosted"  # it was pushed here: there is nobody to ask


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became of a reference: where it pointed, and where it points now, as far as there is anything."""

    repository: Repository
    change: Change
    before: Digest | None
    now: Digest | None


class Refreshes:
    """Asks upstreams on command."""

    def __init__(self, store: Store, manifests: ManifestPulls) -> None:
        self._store, self._manifests = store, manifests

    async def refresh(self, place: Place, reference: Reference) -> Refreshed:
        """Raises ManifestUnknown where nothing is here nor there; UpstreamError where the upstream cannot say."""
        repository = owner(place, self._store.repositories)
        found = await self._store.manifests.find(repository, reference)
        before = None if found is None else found.digest
        if repository.is_hosted:
            change, now = Change.HOSTED, before
        else:
            change, now = await self._renew(repository, reference, before)
        if before is None and now is None:
            raise ManifestUnknown(place.hint, detail={"name": repository.path, "reference": str(reference)})
        return Refreshed(repository, change, before, now)

    async def _renew(
        self, repository: Repository, reference: Reference, before: Digest | None
    ) -> tuple[Change, Digest | None]:
        try:
            current = await self._manifests.renew(repository, reference)
        except UpstreamRefused:
            if before is None:
                raise
            return Change.REFUSED, None
        if current is None:
            return Change.GONE, None
        if before is None:
            return Change.NEW, current.digest
        return (Change.UNCHANGED if current.digest == before else Change.MOVED), current.digest
