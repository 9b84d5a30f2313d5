"""Manifests as their upstreams have them: what one says of a reference is checked, and kept."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from mirror.pull.freshness import Freshness
from mirror.pull.remembered import Remembered
from mirror.reading import read_manifest
from mirror.upstream.client import RemoteManifest, UpstreamClient
from mirror.upstream.errors import UpstreamBroken
from mirror.upstream.line import Want
from ocispec.digest import Digest
from ocispec.errors import ManifestInvalid
from ocispec.manifest import Manifest
from ocispec.names import Reference, Tag
from storage.errors import StorageError
from storage.hot import StoredManifest
from storage.repository import Repository
from storage.store import Store

log = logging.getLogger(__name__)


class RemoteManifests:
    """Asks the upstream of a repository, and remembers for a while what it does not have."""

    def __init__(
        self,
        store: Store,
        upstreams: Mapping[str, UpstreamClient],
        freshness: Freshness,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._upstreams, self._freshness, self._clock = store, upstreams, freshness, clock
        self._absent = Remembered(clock)

    def is_absent(self, repository: Repository, reference: Reference) -> bool:
        """Whether its upstream has just said that it has no such manifest."""
        return self._absent.has(repository, reference)

    async def fetch(
        self, repository: Repository, reference: Reference, want: Want | None = None
    ) -> StoredManifest | None:
        """Get it, whatever is here, check it and keep it; None where there is none. `want` says who waits, if not a
        client. Raises UpstreamError."""
        fetched = await self._fetch(repository, reference, want)
        self._note(repository, reference, fetched)
        return fetched

    async def _fetch(self, repository: Repository, reference: Reference, want: Want | None) -> StoredManifest | None:
        remote = await self._upstreams[repository.upstream].get_manifest(repository.name, reference, want)
        if remote is None:
            return None
        digest, manifest = await _checked(remote, reference)
        tag = reference if isinstance(reference, Tag) else None
        await _kept(self._store.manifests.cache(repository, digest, remote.body, manifest, tag), repository)
        return StoredManifest(digest, manifest.media_type, remote.body, self._clock())

    async def current(
        self,
        repository: Repository,
        tag: Tag,
        found: StoredManifest | None,
        may_fetch: Callable[[], None],
        want: Want | None = None,
    ) -> StoredManifest | None:
        """Where the tag points now; `found` is where it pointed. None where it is gone.

        That is written down: it must not come back because the upstream fails after that (docs/decisions/0020). What is
        not here is fetched unless `may_fetch` raises. Raises UpstreamError.
        """
        current = await self._look(repository, tag, found, may_fetch, want)
        if current is None:
            await _kept(self._store.manifests.retract(repository, tag), repository)
        # Only now: whoever is told that the tag is gone must not see it again.
        self._note(repository, tag, current)
        return current

    def _note(self, repository: Repository, reference: Reference, current: StoredManifest | None) -> None:
        if current is None:
            self._absent.add(repository, reference, self._freshness.absence(repository, reference))
        else:
            self._absent.remove(repository, reference)

    async def _look(
        self,
        repository: Repository,
        tag: Tag,
        found: StoredManifest | None,
        may_fetch: Callable[[], None],
        want: Want | None = None,
    ) -> StoredManifest | None:
        """By HEAD, and by GET where that brings something new, or does not tell."""
        try:
            digest = await self._upstreams[repository.upstream].head_manifest(repository.name, tag, want)
        except UpstreamBroken:
            may_fetch()  # registries that do not do HEAD properly are many
            return await self._fetch(repository, tag, want)
        if digest is None:
            return await self._fetch(repository, tag, want)  # a tag is gone only where GET says so, whatever that costs
        is_same = found is not None and digest == found.digest
        current = found if is_same else await self._store.manifests.find(repository, digest)
        if current is None:
            may_fetch()
            # By digest, so that a tag that moves once more meanwhile cannot mix two answers.
            current = await self.fetch(repository, digest, want)
        if current is None:
            may_fetch()
            return await self._fetch(repository, tag, want)
        await _kept(self._store.manifests.confirm(repository, tag, current.digest), repository)
        return current


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
