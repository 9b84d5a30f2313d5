"""What there is to see of an image: what it is made of, how, who else has its layers, and what refers to it.

Only what is here is shown, and nobody is asked. Everything that an image says of itself is somebody else's text.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mirror.discovery.totals import Totals
from mirror.reading import read_manifest
from mirror.routing import Names, Place, owner
from ocispec.descriptor import Descriptor
from ocispec.errors import ManifestUnknown, NameUnknown
from ocispec.image_config import ImageConfig, Step
from ocispec.manifest import Manifest
from ocispec.names import Reference, Tag
from ocispec.pagination import Page
from storage.hot import StoredManifest
from storage.repository import Repository
from storage.store import Store
from storage.views import Move, Order, RepositoryFacts, Search, Sharing, Stored, TagFacts


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of an index; `is_here`: its manifest is."""

    descriptor: Descriptor
    is_here: bool


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, and the step of the history that made it, where that can be told. `sharing` counts this repository."""

    descriptor: Descriptor
    sharing: Sharing
    step: Step | None


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest, and what is known of it: an index has `entries`, an image `layers` and mostly a `config`."""

    repository: Repository
    stored: StoredManifest
    manifest: Manifest
    entries: Sequence[Entry] = ()
    layers: Sequence[Layer] = ()
    config: ImageConfig | None = None
    referrers: Sequence[Descriptor] = ()

    @property
    def size(self) -> int:
        """Bytes of config and layers, each once."""
        return sum({blob.digest: blob.size for blob in self.manifest.blobs()}.values())


@dataclass(frozen=True, slots=True)
class TagState:
    """How good a tag is: `pushed`, `fresh` for so many seconds more (None: for ever), or `stale`, which the next pull
    will ask about."""

    freshness: str
    fresh_for: float | None = None


class Browse:
    """Looks through the store. `fresh_for` tells for how many seconds more a tag is served without asking."""

    def __init__(
        self,
        store: Store,
        names: Names,
        totals: Totals,
        fresh_for: Callable[[Repository, Tag, float | None], float],
    ) -> None:
        self._store, self._names, self._totals, self._fresh_for = store, names, totals, fresh_for

    async def stored(self) -> Stored:
        """How much there is in all, as of a minute ago at most."""
        return await self._totals.stored()

    async def search(
        self, query: str, limit: int, offset: int, source: str | None, order: Order, last: str = ""
    ) -> Search:
        """The repositories that fit; `source` is an upstream, or `hosted`: what was pushed. By name, those that follow
        the path `last`."""
        scope = self._names.scope
        if source:
            scope = scope.only("" if source == "hosted" else source)
        return await self._store.finding.search(query, scope, limit, offset, order, last=last)

    def state(self, repository: Repository, tag: TagFacts) -> TagState:
        if repository.is_hosted:
            return TagState("pushed")
        left = self._fresh_for(repository, tag.name, tag.checked_at)
        if math.isinf(left):
            return TagState("fresh")
        return TagState("fresh", left) if left > 0 else TagState("stale")

    def owner(self, place: Place) -> Repository:
        """Which repository is shown under this name. Raises NameUnknown, also where nothing of it is here."""
        found = owner(place, self._store.repositories)
        if found not in self._store.repositories:
            raise NameUnknown(place.hint, detail={"name": place.name})
        return found

    async def repository(self, place: Place) -> RepositoryFacts:
        """Raises NameUnknown."""
        found = await self._store.finding.repository(self.owner(place))
        if found is None:
            raise NameUnknown(place.hint, detail={"name": place.name})
        return found

    async def tags(self, place: Place, page: Page) -> tuple[list[TagFacts], bool]:
        """A page of tags in lexical order, and whether more follow. Raises NameUnknown."""
        return await self._store.finding.tags(self.owner(place), page)

    async def history(self, place: Place, tag: Tag | None, limit: int, before: int | None = None) -> list[Move]:
        """How a tag moved, or all of them, the last move first. Raises NameUnknown."""
        return await self._store.finding.history(self.owner(place), tag, limit, before)

    async def image(self, place: Place, reference: Reference) -> Image:
        """Raises NameUnknown, ManifestUnknown."""
        repository = owner(place, self._store.repositories)
        found = await self._store.manifests.find(repository, reference)
        if found is None:
            raise ManifestUnknown(place.hint, detail={"name": place.name, "reference": str(reference)})
        manifest = await read_manifest(found.body, found.media_type)
        referrers, _ = await self._store.manifests.referrers(repository, found.digest, None)
        if manifest.is_index:
            here = await self._store.manifests.among(repository, [entry.digest for entry in manifest.manifests])
            entries = [Entry(entry, entry.digest in here) for entry in manifest.manifests]
            return Image(repository, found, manifest, entries=entries, referrers=referrers)
        config = None
        if manifest.config is not None:
            config = await self._store.finding.config(repository, manifest.config.digest)
        layers = await self._layers(manifest, config)
        return Image(repository, found, manifest, layers=layers, config=config, referrers=referrers)

    async def _layers(self, manifest: Manifest, config: ImageConfig | None) -> list[Layer]:
        shared = await self._store.finding.sharing([layer.digest for layer in manifest.layers], self._names.scope)
        steps = _steps(manifest, config)
        return [Layer(layer, shared[layer.digest], step) for layer, step in zip(manifest.layers, steps, strict=True)]


def _steps(manifest: Manifest, config: ImageConfig | None) -> Sequence[Step | None]:
    """What made each layer: a history says so only if it has as many steps with a layer as there are layers
    (OCI image-spec, config.md, "history")."""
    made = [step for step in config.history if not step.is_empty] if config else []
    return made if len(made) == len(manifest.layers) else [None] * len(manifest.layers)
