"""The store against a model of it: any sequence of changes, restarts and crashes, and both still agree."""

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ocispec.digest import Digest
from ocispec.names import Reference, RepositoryName, Tag
from ocispec.pagination import Page
from storage.errors import MissingContent
from storage.repository import Repository
from storage.store import Store, open_store
from tests.storage.samples import (
    Document,
    broken_promises,
    files_of,
    get_blob,
    image,
    image_index,
    layout_of,
    put_blob,
    put_manifest,
    random_bytes,
)
from tests.storage.test_store import pretend_to_be_killed

T = TypeVar("T")

REPOSITORIES = [
    Repository(RepositoryName("team/app")),
    Repository(RepositoryName("team/web")),
    Repository(RepositoryName("team/app"), "docker.io"),
]
BLOBS = dict(random_bytes(f"model/{number}", 200) for number in range(4))
IMAGES = [image(*list(BLOBS)[:2]), image(*list(BLOBS)[1:3]), image(*list(BLOBS)[::3])]
INDEX = image_index(*IMAGES[:2])
# One that is all manifests and one whose bytes are also pushed as a blob.
MANIFESTS = {what.digest: what for what in (*IMAGES, INDEX)}
CONTENT = BLOBS | {IMAGES[0].digest: IMAGES[0].body}
STRAY = Digest.of(b"")
TAGS = [Tag("latest"), Tag("v1"), Tag("v2")]

a_repository = st.sampled_from(REPOSITORIES)
a_blob = st.sampled_from(list(CONTENT))
a_manifest = st.sampled_from(list(MANIFESTS))
a_tag = st.sampled_from(TAGS)


class StoreModel(RuleBasedStateMachine):
    """Three dictionaries, and a store that has to know the same."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(mkdtemp(prefix="model-"))
        self.loop = asyncio.new_event_loop()
        self.blobs: dict[Repository, set[Digest]] = {repository: set() for repository in REPOSITORIES}
        self.manifests: dict[Repository, set[Digest]] = {repository: set() for repository in REPOSITORIES}
        self.tags: dict[Repository, dict[Tag, Digest]] = {repository: {} for repository in REPOSITORIES}
        self.opened: AbstractAsyncContextManager[Store]
        self.open()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def open(self) -> None:
        self.opened = open_store(self.root)
        self.store = self.run(self.opened.__aenter__())

    def here(self) -> set[Digest]:
        """What the store has to have bytes for."""
        return set[Digest]().union(*self.blobs.values(), *self.manifests.values())

    @rule(repository=a_repository, digest=a_blob)
    def push_blob(self, repository: Repository, digest: Digest) -> None:
        assert self.run(put_blob(self.store, repository, CONTENT[digest])) == digest
        self.blobs[repository].add(digest)

    @rule(repository=a_repository, digest=a_blob, first=st.integers(0, 200))
    def push_blob_in_a_session(self, repository: Repository, digest: Digest, first: int) -> None:
        async def push() -> None:
            session = await self.store.uploads.start(repository.name)
            for part in (CONTENT[digest][:first], CONTENT[digest][first:]):
                async with (await self.store.uploads.find(repository.name, session.id)).turn() as ingest:
                    await ingest.append(part)
                await self.store.uploads.close()
            session = await self.store.uploads.find(repository.name, session.id)
            await self.store.blobs.publish_upload(session, digest, repository)
            self.store.uploads.forget(session)

        self.run(push())
        self.blobs[repository].add(digest)

    @rule(repository=a_repository, digest=a_blob)
    def link(self, repository: Repository, digest: Digest) -> None:
        linked = self.run(self.store.blobs.link(repository, digest))
        assert linked == (digest in self.here())
        if linked:
            self.blobs[repository].add(digest)

    @rule(repository=a_repository, digest=a_blob)
    def unlink(self, repository: Repository, digest: Digest) -> None:
        assert self.run(self.store.blobs.unlink(repository, digest)) == (digest in self.blobs[repository])
        self.blobs[repository].discard(digest)

    @rule(repository=a_repository, digest=a_manifest, tags=st.sets(a_tag), sparse=st.booleans())
    def push_manifest(self, repository: Repository, digest: Digest, tags: set[Tag], sparse: bool) -> None:
        what = MANIFESTS[digest]
        missing = [] if sparse else self.missing(repository, what)
        try:
            self.run(put_manifest(self.store, repository, what, *tags, sparse=sparse))
            refused: list[Digest] = []
        except MissingContent as error:
            refused = list(error.digests)
        assert refused == missing
        if not missing:
            self.point(repository, digest, tags)

    @rule(repository=a_repository, digest=a_manifest, tag=st.none() | a_tag)
    def cache_manifest(self, repository: Repository, digest: Digest, tag: Tag | None) -> None:
        what = MANIFESTS[digest]
        self.run(self.store.manifests.cache(repository, digest, what.body, what.manifest, tag))
        self.point(repository, digest, {tag} - {None})  # type: ignore[arg-type]

    def missing(self, repository: Repository, what: Document) -> list[Digest]:
        blobs = [blob.digest for blob in what.manifest.blobs() if blob.digest not in self.blobs[repository]]
        children = [child.digest for child in what.manifest.manifests]
        return blobs + [child for child in children if child not in self.manifests[repository]]

    def point(self, repository: Repository, digest: Digest, tags: set[Tag]) -> None:
        self.manifests[repository].add(digest)
        self.tags[repository] |= dict.fromkeys(tags, digest)

    @rule(repository=a_repository, tag=a_tag)
    def delete_tag(self, repository: Repository, tag: Tag) -> None:
        removed = self.run(self.store.manifests.delete_tag(repository, tag))
        assert removed == (self.tags[repository].pop(tag, None) is not None)

    @rule(repository=a_repository, digest=a_manifest)
    def delete_manifest(self, repository: Repository, digest: Digest) -> None:
        removed = self.run(self.store.manifests.delete(repository, digest))
        assert removed == (digest in self.manifests[repository])
        self.manifests[repository].discard(digest)
        self.tags[repository] = {tag: to for tag, to in self.tags[repository].items() if to != digest}

    @rule()
    def reopen(self) -> None:
        self.close()
        self.open()
        assert not self.store.was_killed

    @rule()
    def crash(self) -> None:
        """With everything half done that can be."""
        layout = layout_of(self.store)
        layout.blob(STRAY).write_bytes(b"")
        (layout.tmp / "half").write_bytes(b"half a manifest")
        (layout.uploads / ("0" * 32)).write_bytes(b"nobody's")
        pretend_to_be_killed(self.store)
        self.close()
        self.open()
        assert self.store.was_killed
        assert self.run(self.store.sweep()) == 1

    def close(self) -> None:
        self.run(self.opened.__aexit__(None, None, None))

    @rule(repository=a_repository)
    def look_at_blobs(self, repository: Repository) -> None:
        for digest, content in CONTENT.items():
            found = self.run(get_blob(self.store, repository, digest))
            assert found == (content if digest in self.blobs[repository] else None)

    @rule(repository=a_repository)
    def look_at_manifests(self, repository: Repository) -> None:
        expected = dict[Reference, Digest](self.tags[repository].items())
        expected |= {digest: digest for digest in self.manifests[repository]}
        references: list[Reference] = [*MANIFESTS, *TAGS]
        for reference in references:
            found = self.run(self.store.manifests.find(repository, reference))
            assert (found.digest if found else None) == expected.get(reference)
            if found is not None:
                assert found.body == MANIFESTS[found.digest].body
        assert self.run(self.store.manifests.tag_page(repository, Page())) == (sorted(self.tags[repository]), False)

    @invariant()
    def memory_agrees(self) -> None:
        for repository in REPOSITORIES:
            for tag in TAGS:
                remembered = self.store.manifests.recall(repository, tag)
                assert remembered is None or remembered.digest == self.tags[repository].get(tag)

    @invariant()
    def the_files_are_those_of_the_rows(self) -> None:
        assert self.run(broken_promises(self.store)) == []
        files = files_of(layout_of(self.store))
        assert set(files["blobs"]) == {digest.hex for digest in self.here()}
        assert (files["uploads"], files["partial"], files["tmp"]) == ([], [], [])

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.close()
            self.loop.close()
            rmtree(self.root)


# What a step costs is the disk's affair; the limits below are for the whole of it, about ten seconds.
TestStoreModel = StoreModel.TestCase
TestStoreModel.settings = settings(
    max_examples=8, stateful_step_count=35, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
