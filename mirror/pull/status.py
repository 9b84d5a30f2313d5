"""Whether an image is here, all of it: would a pull succeed if no upstream could be reached? Nobody is asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from mirror.pull.attached import attached_to
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

# Images that are looked at at a time.
_AT_A_TIME = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an image; `role` is index, manifest, referrer, config, layer or blob. Of a tag that is not here
    neither digest nor size is known."""

    role: str
    digest: Digest | None
    size: int | None
    is_here: bool
    platform: Platform | None = None


@dataclass(slots=True)
class Status:
    """What of an image is here. `problems` are what else would keep it from being pulled; `referrers` is how many
    manifests are here that are about it (mirror/pull/attached.py)."""

    repository: Repository
    parts: list[Part] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    referrers: int = 0

    @property
    def is_complete(self) -> bool:
        return not self.problems and all(part.is_here for part in self.parts)


class Statuses:
    """Looks through the store, at a few images at a time: one may name thousands of pieces."""

    def __init__(self, store: Store, manifests: ManifestPulls) -> None:
        self._store, self._manifests = store, manifests
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    async def status(self, place: Place, reference: Reference, platforms: Sequence[Platform] = ()) -> Status:
        """Of an index, the entries for `platforms`, or all of them. Raises NameUnknown."""
        async with self._turns:
            return await self._status(place, reference, platforms)

    async def _status(self, place: Place, reference: Reference, platforms: Sequence[Platform]) -> Status:
        repository = owner(place, self._store.repositories)
        status = Status(repository)
        found = await self._store.manifests.find(repository, reference)
        if found is None:
            digest = reference if isinstance(reference, Digest) else None
            status.parts.append(Part("manifest", digest, None, is_here=False))
            status.problems += [place.hint] if place.hint else []
            return status
        if not self._manifests.keeps(repository, reference, found):
            status.problems.append("the tag was confirmed too long ago to be served without its upstream")
        manifest = await read_manifest(found.body, found.media_type)
        status.problems += lacking(manifest, platforms)
        top = Descriptor(found.media_type, found.digest, len(found.body))
        await _Look(self._store, self._manifests, status, platforms).through(top, manifest)
        return status


class _Look:
    """One look at all that a manifest refers to, and at what is about it, each piece once."""

    def __init__(self, store: Store, manifests: ManifestPulls, status: Status, platforms: Sequence[Platform]) -> None:
        self._store, self._manifests, self._status, self._platforms = store, manifests, status, platforms
        self._seen = Seen()

    async def through(self, top: Descriptor, manifest: Manifest) -> None:
        """One level after the other: what is not here costs no look of its own."""
        self._seen.is_new(top)
        level = await self._add_manifest(role_of(top.media_type), top, manifest)
        while level:
            digests = [entry.digest for _, entry in level]
            here = await self._store.manifests.among(self._status.repository, digests)
            below: list[tuple[str, Descriptor]] = []
            for role, entry in level:
                if entry.digest in here and (found := await self._read(entry.digest)) is not None:
                    below += await self._add_manifest(role, entry, found)
                else:
                    self._add(role, entry, entry.platform, is_here=False)
            level = below

    async def _read(self, digest: Digest) -> Manifest | None:
        found = await self._store.manifests.find(self._status.repository, digest)
        return None if found is None else await read_manifest(found.body, found.media_type)

    async def _add_manifest(self, role: str, entry: Descriptor, manifest: Manifest) -> list[tuple[str, Descriptor]]:
        """One that is here, with its blobs; the manifests that it leads to."""
        self._add(role, entry, entry.platform, is_here=True)
        self._status.referrers += role == "referrer" and not manifest.is_index
        await self._add_blobs(manifest, entry.platform)
        children = filter(self._seen.is_new, manifests_of(manifest, self._platforms))
        below = [("referrer" if role == "referrer" else role_of(child.media_type), child) for child in children]
        attached = await self._attached(entry.digest)
        return below + [("referrer", about) for about in filter(self._seen.is_new, attached)]

    async def _attached(self, subject: Digest) -> list[Descriptor]:
        """What is here about a manifest; a tag that leads to it has to be good without its upstream, too."""
        attached = await attached_to(self._store, self._status.repository, subject)
        self._status.problems += [
            f"{one.tag} was confirmed too long ago to be served without its upstream"
            for one in attached
            if one.tag and one.found and not self._manifests.keeps(self._status.repository, one.tag, one.found)
        ]
        return [one.entry for one in attached]

    async def _add_blobs(self, manifest: Manifest, platform: Platform | None) -> None:
        blobs = [(role, blob) for role, blob in blobs_of(manifest, self._platforms) if self._seen.is_new(blob)]
        here = await self._store.blobs.among(self._status.repository, [blob.digest for _, blob in blobs])
        for role, blob in blobs:
            self._add(role, blob, blob.platform or platform, is_here=blob.digest in here)

    def _add(self, role: str, entry: Descriptor, platform: Platform | None, *, is_here: bool) -> None:
        self._status.parts.append(Part(role, entry.digest, entry.size, is_here, platform))
