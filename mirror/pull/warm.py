"""Warm: pull whole images into the store before anybody asks for them, and say what happens as it does.

Everything goes through the use cases that serve clients: what somebody is pulling already is joined, and what this
pulls can be joined. Of a hosted image it is only looked whether all of it is here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeVar

from mirror.pull.attached import attached_to
from mirror.pull.blob import BlobPulls
from mirror.pull.closure import Seen, blobs_of, lacking, manifests_of, role_of
from mirror.pull.download import Downloads
from mirror.pull.manifest import ManifestPulls, PulledManifest
from mirror.pull.outcome import Outcome
from mirror.pull.pulled import ArrivingBlob, PulledBlob
from mirror.reading import read_manifest
from mirror.routing import Names, Place, owner
from mirror.upstream.errors import UpstreamError
from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.errors import RegistryError
from ocispec.image import ImageName
from ocispec.manifest import Manifest
from ocispec.names import Reference
from ocispec.platform import Platform
from storage.errors import StorageError, StoreUnavailable
from storage.store import Store

# Pieces on their way at a time, of all that are wanted by command; and of what nobody waits for.
_PIECES, _PIECES_BEHIND = 8, 2
# Images of an order that are looked at at a time: the last layer of one need not hold up the others.
_IMAGES = 4

T = TypeVar("T")
R = TypeVar("R")


class Stage(StrEnum):
    STARTED = "started"  # it is not here, and is being fetched
    FINISHED = "finished"  # it is here
    FAILED = "failed"  # it could not be had


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to a piece of an image: an index, manifest, referrer, config, layer or blob; or to the
    `image`, which is finished when all of its pieces are, and fails with any of them. `outcome` says where a piece came
    from."""

    stage: Stage
    image: ImageName
    role: str
    digest: Digest | None = None
    size: int | None = None
    outcome: Outcome | None = None
    reason: str | None = None


Report = Callable[[Step], Awaitable[None]]
GetManifest = Callable[[Place, Reference], Awaitable[PulledManifest]]
OpenBlob = Callable[[Place, Digest], Awaitable[PulledBlob]]


class Warming:
    """Pulls whole images, `at_a_time` of their pieces; `get` is how manifests are got at, `open_blob` how blobs
    are."""

    def __init__(
        self, names: Names, store: Store, get: GetManifest, open_blob: OpenBlob, downloads: Downloads, at_a_time: int
    ) -> None:
        self._names, self._pieces = names, _Pieces(store, get, open_blob, downloads, at_a_time)

    @classmethod
    def by_command(
        cls, names: Names, store: Store, manifests: ManifestPulls, blobs: BlobPulls, downloads: Downloads
    ) -> "Warming":
        """As a client pulls, whose tag is good for a while, and who stands in line with the others."""
        return cls(names, store, manifests.get, blobs.open, downloads, _PIECES)

    @classmethod
    def behind(
        cls, names: Names, store: Store, manifests: ManifestPulls, blobs: BlobPulls, downloads: Downloads
    ) -> "Warming":
        """What nobody waits for: clients go first, each tag is asked about, the reserve of a budget is left alone."""
        return cls(names, store, manifests.check, partial(blobs.open, ahead=True), downloads, _PIECES_BEHIND)

    async def warm(self, images: Sequence[ImageName], platforms: Sequence[Platform], report: Report) -> None:
        """All of these images; of an index the entries for `platforms`, or all of them.

        What `report` raises ends it, in an ExceptionGroup; downloads that are under way go on all the same.
        """

        async def one(image: ImageName) -> None:
            await _Order(self._pieces, image, platforms, report).fulfil(self._names)

        await _each(dict.fromkeys(images), one, _IMAGES)


class _Pieces:
    """Gets at one manifest or blob, when it is its turn."""

    def __init__(
        self, store: Store, get: GetManifest, open_blob: OpenBlob, downloads: Downloads, at_a_time: int
    ) -> None:
        self._store, self._get, self._open_blob, self._downloads = store, get, open_blob, downloads
        self.at_a_time = at_a_time
        self._turns = asyncio.Semaphore(at_a_time)

    async def manifest(
        self, place: Place, reference: Reference, started: Callable[[], Awaitable[None]]
    ) -> tuple[Descriptor, Outcome, Manifest]:
        """Raises RegistryError, UpstreamError, StorageError."""
        async with self._turns:
            repository = owner(place, self._store.repositories)
            if not repository.is_hosted and await self._store.manifests.find(repository, reference) is None:
                await started()
            pulled = await self._get(place, reference)
            found = pulled.manifest
            parsed = await read_manifest(found.body, found.media_type)
            return Descriptor(found.media_type, found.digest, len(found.body)), pulled.outcome, parsed

    async def attached(self, place: Place, subject: Digest) -> list[Descriptor]:
        """What is here about a manifest. Raises StorageError."""
        repository = owner(place, self._store.repositories)
        return [one.entry for one in await attached_to(self._store, repository, subject)]

    async def blob(self, place: Place, digest: Digest, started: Callable[[], Awaitable[None]]) -> Outcome:
        """Raises RegistryError, UpstreamError, StorageError."""
        async with self._turns:
            repository = owner(place, self._store.repositories)
            if await self._store.blobs.size(repository, digest) is not None:
                return Outcome.HIT
            if not repository.is_hosted:
                await started()
            pulled = await self._open_blob(place, digest)
            if isinstance(pulled, ArrivingBlob):
                await pulled.completed()
            else:
                pulled.file.close()
            # Clients have their last byte before it is durable; here it is this that counts.
            await self._downloads.settled(digest)
            if await self._store.blobs.size(repository, digest) is None:
                raise StoreUnavailable("it was fetched, and could not be kept")
            return pulled.origin.outcome


class _Order:
    """One image, all of whose pieces are wanted."""

    def __init__(self, pieces: _Pieces, image: ImageName, platforms: Sequence[Platform], report: Report) -> None:
        self._pieces, self._image, self._platforms, self._report = pieces, image, platforms, report
        self._seen = Seen()
        self._size = 0
        self._problems: list[str] = []

    async def fulfil(self, names: Names) -> None:
        try:
            place = names.find(self._image)
        except RegistryError as error:
            self._problems.append(str(error))
        else:
            await self._pull(place)
        await self._report(self._verdict())

    async def _pull(self, place: Place) -> None:
        """The manifests, one level of indexes after the other, what is here about them, and then what all of these are
        made of."""
        level = await self._manifests(place, [("manifest", self._image.reference, None)])
        self._problems += [problem for _, manifest in level for problem in lacking(manifest, self._platforms)]
        blobs: list[tuple[str, Descriptor]] = []
        while level:
            wanted: list[tuple[str, Reference, int | None]] = []
            for digest, manifest in level:
                blobs += [found for found in blobs_of(manifest, self._platforms) if self._seen.is_new(found[1])]
                children = [(role_of(child.media_type), child) for child in manifests_of(manifest, self._platforms)]
                about = [("referrer", one) for one in await self._attached(place, digest)]
                wanted += [(role, one.digest, one.size) for role, one in children + about if self._seen.is_new(one)]
            level = await self._manifests(place, wanted)
        await _each(blobs, lambda one: self._blob(place, *one), self._pieces.at_a_time)

    async def _attached(self, place: Place, subject: Digest) -> list[Descriptor]:
        try:
            return await self._pieces.attached(place, subject)
        except StorageError as error:
            await self._failed("referrer", None, None, error)
            return []

    async def _manifests(
        self, place: Place, wanted: Iterable[tuple[str, Reference, int | None]]
    ) -> list[tuple[Digest, Manifest]]:
        """Those that can be had."""
        found = await _each(wanted, lambda one: self._manifest(place, *one), self._pieces.at_a_time)
        return [manifest for manifest in found if manifest is not None]

    async def _manifest(
        self, place: Place, role: str, reference: Reference, size: int | None
    ) -> tuple[Digest, Manifest] | None:
        digest = reference if isinstance(reference, Digest) else None
        try:
            top, outcome, manifest = await self._pieces.manifest(
                place, reference, lambda: self._report(Step(Stage.STARTED, self._image, role, digest, size))
            )
        except (RegistryError, UpstreamError, StorageError) as error:
            await self._failed(role, digest, size, error)
            return None
        await self._finished(role if role == "referrer" else role_of(top.media_type), top, outcome)
        return top.digest, manifest

    async def _blob(self, place: Place, role: str, blob: Descriptor) -> None:
        try:
            outcome = await self._pieces.blob(
                place, blob.digest, lambda: self._report(Step(Stage.STARTED, self._image, role, blob.digest, blob.size))
            )
        except (RegistryError, UpstreamError, StorageError) as error:
            await self._failed(role, blob.digest, blob.size, error)
        else:
            await self._finished(role, blob, outcome)

    async def _finished(self, role: str, piece: Descriptor, outcome: Outcome) -> None:
        self._size += piece.size
        await self._report(Step(Stage.FINISHED, self._image, role, piece.digest, piece.size, outcome))

    async def _failed(self, role: str, digest: Digest | None, size: int | None, error: Exception) -> None:
        reason = str(error)
        self._problems.append(f"{role} {digest}: {reason}" if digest else reason)
        await self._report(Step(Stage.FAILED, self._image, role, digest, size, reason=reason))

    def _verdict(self) -> Step:
        if not self._problems:
            return Step(Stage.FINISHED, self._image, "image", size=self._size)
        more = f" (and {len(self._problems) - 1} more)" if len(self._problems) > 1 else ""
        return Step(Stage.FAILED, self._image, "image", size=self._size, reason=self._problems[0] + more)


async def _each(items: Iterable[T], do: Callable[[T], Awaitable[R]], at_a_time: int) -> list[R]:
    """What comes of each, in the order in which they are done.

    Not a task for each, most of which would only wait: to end thousands of those holds everybody else up.
    """
    left, done = iter(items), list[R]()

    async def work() -> None:
        for item in left:
            done.append(await do(item))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_a_time):
            group.create_task(work())
    return done
