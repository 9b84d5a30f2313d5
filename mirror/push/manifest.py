"""Push a manifest: understood, complete, stored byte for byte, and only then is its tag moved."""

from collections.abc import Sequence

from mirror.push.guard import writable
from mirror.reading import read_manifest
from mirror.routing import Place
from ocispec.digest import Digest
from ocispec.errors import DigestInvalid, ManifestBlobUnknown, ManifestInvalid
from ocispec.manifest import Manifest
from ocispec.names import Reference, Tag
from storage.errors import MissingContent
from storage.store import Store

# How many of the missing digests an error names.
_MAX_NAMED = 100
# What refers to something is listed with all its annotations.
_MAX_ANNOTATIONS = 64 * 2**10


class ManifestPushes:
    """Pushes of manifests into hosted repositories. `sparse` says which may refer to what is not here."""

    def __init__(self, store: Store, sparse: str) -> None:
        self._store, self._sparse = store, sparse

    async def push(
        self, place: Place, reference: Reference, body: bytes, content_type: str, tags: Sequence[Tag]
    ) -> tuple[Digest, Manifest]:
        """Store a manifest and point its tags at it: the reference, if it is one, and `tags`.

        Raises ManifestInvalid, DigestInvalid, ManifestBlobUnknown, Unsupported.
        """
        repository = writable(self._store, place)
        manifest = await read_manifest(body, content_type)
        if manifest.subject is not None and sum(map(len, manifest.annotations.values())) > _MAX_ANNOTATIONS:
            raise ManifestInvalid(f"annotations of what has a subject must not be longer than {_MAX_ANNOTATIONS} bytes")
        algorithm = reference.algorithm if isinstance(reference, Digest) else "sha256"
        digest = Digest.of(body, algorithm)
        if isinstance(reference, Digest) and digest != reference:
            raise DigestInvalid(detail={"expected": str(reference), "received": str(digest)})
        pointing = [*([reference] if isinstance(reference, Tag) else []), *tags]
        try:
            await self._store.manifests.push(
                repository, digest, body, manifest, pointing, sparse=self._may_be_sparse(manifest)
            )
        except MissingContent as error:
            raise ManifestBlobUnknown(
                detail=[{"digest": str(missing)} for missing in error.digests[:_MAX_NAMED]]
            ) from error
        return digest, manifest

    def _may_be_sparse(self, manifest: Manifest) -> bool:
        return self._sparse == "all" or (self._sparse == "index" and manifest.is_index)
