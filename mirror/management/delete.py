"""Delete tags, manifests and blobs. Of what is cached from an upstream, only our copy goes."""

from mirror.routing import Place, owner
from ocispec.digest import Digest
from ocispec.errors import BlobUnknown, ManifestUnknown, NameUnknown
from ocispec.names import Reference, Tag
from storage.repository import Repository
from storage.store import Store


class Deletions:
    """The user's own removals (distribution-spec, "Content Management")."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def manifest(self, place: Place, reference: Reference) -> None:
        """A tag alone, or a manifest with every tag that points at it. Raises ManifestUnknown."""
        repository = self._known(place)
        if isinstance(reference, Tag):
            removed = await self._store.manifests.delete_tag(repository, reference)
        else:
            removed = await self._store.manifests.delete(repository, reference)
        if not removed:
            raise ManifestUnknown(detail={"reference": str(reference)})

    async def blob(self, place: Place, digest: Digest) -> None:
        """Raises BlobUnknown."""
        if not await self._store.blobs.unlink(self._known(place), digest):
            raise BlobUnknown(detail={"digest": str(digest)})

    def _known(self, place: Place) -> Repository:
        """Whose content goes: what the name gets, or else what the rules hide under it. A rule that was made because
        something must not be here any more is no reason to keep it."""
        known = self._store.repositories
        if place.hidden is not None and place.hidden in known and place.hosted not in known:
            return place.hidden
        repository = owner(place, known)
        if repository not in known:
            raise NameUnknown(place.hint, detail={"name": place.name})
        return repository
