"""Manifests and tags: their bytes are blobs, what they mean is in the index, the popular ones are in memory."""

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Connection

from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.manifest import Manifest
from ocispec.names import Reference, Tag
from ocispec.pagination import Page
from storage import description
from storage.blobs import Blobs
from storage.content import Content
from storage.errors import MissingContent
from storage.hot import HotManifests, StoredManifest
from storage.index import blobs as blob_rows
from storage.index import manifests as rows
from storage.index import repositories, tags
from storage.index.unit import StoreIndex
from storage.repository import Repository


class Manifests:
    """The manifests and tags of every repository."""

    def __init__(
        self,
        content: Content,
        blobs: Blobs,
        index: StoreIndex,
        known: set[Repository],
        clock: Callable[[], float],
    ) -> None:
        self._content, self._blobs, self._index, self._known, self._clock = content, blobs, index, known, clock
        self._hot = HotManifests()

    def recall(self, repository: Repository, reference: Reference) -> StoredManifest | None:
        """The manifest, if it is in memory: no waiting. None says nothing; ask `find` then."""
        return self._hot.get(repository, reference)

    async def find(self, repository: Repository, reference: Reference) -> StoredManifest | None:
        """The manifest with its bytes, checked against its digest; None where the repository has none."""
        generation = self._hot.generation(repository)
        found = await self._index.read(lambda connection: self._read(connection, repository, reference))
        if found is not None:
            self._hot.put(repository, reference, found, generation)
        return found

    async def among(self, repository: Repository, digests: Iterable[Digest]) -> set[Digest]:
        """Those of `digests` that the index has as manifests of this repository; `find` has the last word."""
        return await self._index.read(lambda connection: rows.among(connection, repository, digests))

    def _read(self, connection: Connection, repository: Repository, reference: Reference) -> StoredManifest | None:
        row = rows.find(connection, repository, reference)
        body = None if row is None else self._content.read(row.digest, row.size)
        if row is None or body is None:
            return None
        return StoredManifest(row.digest, row.media_type, body, row.checked_at)

    async def push(
        self,
        repository: Repository,
        digest: Digest,
        body: bytes,
        manifest: Manifest,
        tagged: Sequence[Tag],
        *,
        sparse: bool,
    ) -> None:
        """Store a pushed manifest and point `tagged` at it, all at once.

        Raises MissingContent where it refers to what the repository has not, unless it may be `sparse`. The check is
        part of the transaction: nothing can go missing between it and the commit.
        """
        now = self._clock()

        def record(connection: Connection) -> None:
            repository_id = repositories.ensure(connection, repository, now)
            if not sparse:
                _check_children(connection, repository_id, manifest)
            rows.put(connection, repository_id, digest, len(body), manifest, now)
            description.manifest_came(connection, self._content, repository_id, digest)
            for tag in tagged:
                tags.move(connection, repository_id, tag, digest, now=now, checked_at=None, cause="push")

        await self._store(repository, digest, body, record)

    async def cache(
        self, repository: Repository, digest: Digest, body: bytes, manifest: Manifest, tag: Tag | None
    ) -> None:
        """Store a manifest that an upstream just gave us, and where its tag points now."""
        now = self._clock()

        def record(connection: Connection) -> None:
            repository_id = repositories.ensure(connection, repository, now)
            rows.put(connection, repository_id, digest, len(body), manifest, now)
            description.manifest_came(connection, self._content, repository_id, digest)
            if tag is not None:
                tags.move(connection, repository_id, tag, digest, now=now, checked_at=now, cause="pull")

        await self._store(repository, digest, body, record)

    async def _store(
        self, repository: Repository, digest: Digest, body: bytes, record: Callable[[Connection], None]
    ) -> None:
        ingest = self._content.receive(digest.algorithm)
        try:
            await self._blobs.publish(ingest, digest, record, last=body, done=lambda: self._known.add(repository))
        except BaseException:
            await ingest.discard()
            raise
        finally:
            self._hot.forget(repository)

    async def confirm(self, repository: Repository, tag: Tag, digest: Digest) -> None:
        """The upstream said again that `tag` points at `digest`, which is here."""
        now = self._clock()

        def unit(connection: Connection) -> None:
            repository_id = repositories.ensure(connection, repository, now)
            if not rows.absent(connection, repository_id, [digest]):  # deleted meanwhile: nothing to point at
                tags.move(connection, repository_id, tag, digest, now=now, checked_at=now, cause="pull")

        # Not durable: after a power cut the tag is merely asked about once more.
        try:
            await self._index.write(unit, durable=False)
        finally:
            self._hot.forget(repository)

    async def retract(self, repository: Repository, tag: Tag) -> None:
        """The upstream said that it has `tag` no more. The manifest stays, by its digest."""
        now = self._clock()

        def unit(connection: Connection) -> None:
            repository_id = repositories.find(connection, repository)
            if repository_id is not None:
                tags.remove(connection, repository_id, tag, now, "pull")

        # Not durable: after a power cut the tag is merely asked about once more.
        try:
            await self._index.write(unit, durable=False)
        finally:
            self._hot.forget(repository)

    async def is_retracted(self, repository: Repository, tag: Tag) -> bool:
        """Whether the last that is known of a tag is that its upstream has it no more."""
        return await self._index.read(
            lambda connection: tags.last_cause_of_removal(connection, repository, tag) == "pull"
        )

    async def delete(self, repository: Repository, digest: Digest) -> bool:
        """Remove a manifest and every tag that points at it; whether it was there."""
        now = self._clock()

        def unit(connection: Connection) -> bool:
            repository_id = repositories.find(connection, repository)
            if repository_id is None:
                return False
            for tag in tags.pointing_at(connection, repository_id, digest):
                tags.remove(connection, repository_id, tag, now, "delete")
            return rows.remove(connection, repository_id, digest)

        try:
            return await self._blobs.removing(digest, unit)
        finally:
            self._hot.forget(repository)

    async def delete_tag(self, repository: Repository, tag: Tag) -> bool:
        """Remove a tag; the manifest stays, by its digest. Whether it was there."""
        now = self._clock()

        def unit(connection: Connection) -> bool:
            repository_id = repositories.find(connection, repository)
            return repository_id is not None and tags.remove(connection, repository_id, tag, now, "delete")

        try:
            return await self._index.write(unit)
        finally:
            self._hot.forget(repository)

    async def tag_page(self, repository: Repository, page: Page) -> tuple[list[str], bool]:
        """The tags after `page.last` in lexical order, and whether more follow."""
        return await self._index.read(lambda connection: tags.names(connection, repository, page))

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None, after: Digest | None = None
    ) -> tuple[list[Descriptor], bool]:
        """What refers to `subject` here, oldest first and beginning after `after`; of one artifact type, if given. As
        many as a list has room for, and whether more follow."""
        return await self._index.read(lambda on: rows.referrers(on, repository, subject, artifact_type, after))

    async def blob_size(self, repository: Repository, digest: Digest) -> int | None:
        """How long a blob must be by a manifest here that refers to it; None where none does."""
        return await self._index.read(lambda connection: rows.child_size(connection, repository, digest))


def _check_children(connection: Connection, repository_id: int, manifest: Manifest) -> None:
    needed = (blob.digest for blob in manifest.required_blobs())
    missing = blob_rows.unlinked(connection, repository_id, needed)
    missing += rows.absent(connection, repository_id, (child.digest for child in manifest.manifests))
    if missing:
        raise MissingContent(missing)
