"""Whether an image is here, all of it: would a pull succeed if no upstream could be reached? Nobody is asked."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from mirror.pull.closure import Seen, blobs_of, lacking, manifests_of, role_of
from mirror.pull.manifest import ManifestPulls
from mirror.reading import read_manifest
from mirror.routing import Place, owner
from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.manifest import Manifest
from ocispec.names import Reference
from ocispec.platform import Platform
from storage.repository import Repository
from storage.store import Store


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an image; `role` is index, manifest, config, layer or blob. Of a tag that is not here neither digest
    nor size is known."""

    role: str
    digest: Digest | None
    size: int | None
    is_here: bool
    platform: Platform | None = None


@dataclass(slots=True)
class Status:
    """What of an image is here. `problems` are what else would keep it from being pulled."""

    repository: Repository
    parts: list[Part] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    referrers: int = 0

    @property
    def is_complete(self) -> bool:
        return not self.problems and all(part.is_here for part in self.parts)


class Statuses:
    """Looks through the store."""

    def __init__(self, store: Store, manifests: ManifestPulls) -> None:
        self._store, self._manifests = store, manifests

    async def status(self, place: Place, reference: Reference, platforms: Sequence[Platform] = ()) -> Status:
        """Of an index, the entries for `platforms`, or all of them. Raises NameUnknown."""
        repository = owner(place, self._store.repositories)
        status = Status(repository)
        found = await self._store.manifests.find(repository, reference)
        if found is None:
            digest = reference if isinstance(reference, Digest) else None
            status.parts.append(Part("manifest", digest, None, is_here=False))
            return status
        if not self._manifests.keeps(repository, reference, found):
            status.problems.append("the tag was confirmed too long ago to be served without its upstream")
        manifest = await read_manifest(found.body, found.media_type)
        status.problems += lacking(manifest, platforms)
        top = Descriptor(found.media_type, found.digest, len(found.body))
        await _Look(self._store, status, platforms).through(top)
        return status


class _Look:
    """One look at all that a manifest refers to, each piece once."""

    def __init__(self, store: Store, status: Status, platforms: Sequence[Platform]) -> None:
        self._store, self._status, self._platforms = store, status, platforms
        self._seen = Seen()

    async def through(self, top: Descriptor) -> None:
        todo = deque(filter(self._seen.is_new, [top]))
        while todo:
            entry = todo.popleft()
            found = await self._store.manifests.find(self._status.repository, entry.digest)
            self._add(role_of(entry.media_type), entry, entry.platform, is_here=found is not None)
            if found is not None:
                manifest = await read_manifest(found.body, found.media_type)
                self._status.referrers += await self._count_referrers(entry.digest)
                await self._add_blobs(manifest, entry.platform)
                todo.extend(filter(self._seen.is_new, manifests_of(manifest, self._platforms)))

    async def _add_blobs(self, manifest: Manifest, platform: Platform | None) -> None:
        for role, blob in blobs_of(manifest, self._platforms):
            if self._seen.is_new(blob):
                size = await self._store.blobs.size(self._status.repository, blob.digest)
                self._add(role, blob, blob.platform or platform, is_here=size is not None)

    def _add(self, role: str, entry: Descriptor, platform: Platform | None, *, is_here: bool) -> None:
        self._status.parts.append(Part(role, entry.digest, entry.size, is_here, platform))

    async def _count_referrers(self, subject: Digest) -> int:
        count, after, more = 0, None, True
        while more:
            page, more = await self._store.manifests.referrers(self._status.repository, subject, None, after)
            count, after = count + len(page), page[-1].digest if page else None
        return count
