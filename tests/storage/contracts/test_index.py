"""What every index has to do. Another one than SQLite joins by one more entry in `INDEXES`.

Nothing here is SQL: units are made of the functions in `storage/index/`, and run by `StoreIndex.read` and `write`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ocispec.names import RepositoryName, Tag
from ocispec.pagination import Page
from storage.errors import StorageError
from storage.index import blobs, facts, manifests, repositories, sessions, tags
from storage.index.engine import sqlite_module
from storage.index.migrate import upgrade
from storage.index.unit import StoreIndex, Unit
from storage.repository import Repository
from storage.scope import Rules, Scope
from tests.storage.samples import APP, EVERYTHING, LATEST, NGINX, WEB, Document, image, image_index, random_bytes

DIGEST, DATA = random_bytes("index")
OTHER, _ = random_bytes("another")
IMAGE = image(DIGEST, OTHER)


@asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[StoreIndex]:
    path = folder / "index.sqlite"
    upgrade(path, sqlite_module())
    opened = StoreIndex(path, sqlite_module())
    try:
        yield opened
    finally:
        await opened.close()


INDEXES: dict[str, Callable[[Path], AbstractAsyncContextManager[StoreIndex]]] = {"sqlite": sqlite}


@pytest.fixture(params=INDEXES)
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreIndex]:
    async with INDEXES[request.param](tmp_path) as opened:
        yield opened


def with_blobs(on: Connection, repository: Repository = APP) -> int:
    """A repository with both blobs of the image; its id."""
    repository_id = repositories.ensure(on, repository, 1)
    for digest in (DIGEST, OTHER):
        blobs.add(on, digest, len(DATA), 1)
        blobs.link(on, repository_id, digest, 1)
    return repository_id


def with_manifest(on: Connection, what: Document = IMAGE, repository: Repository = APP, now: float = 1) -> int:
    repository_id = repositories.ensure(on, repository, now)
    blobs.add(on, what.digest, len(what.body), now)
    manifests.put(on, repository_id, what.digest, len(what.body), what.manifest, now)
    return repository_id


# Units.


async def test_what_is_committed_is_read(index: StoreIndex) -> None:
    await index.write(lambda on: facts.put(on, "a", "1"))
    await index.write(lambda on: facts.put(on, "a", "2"), durable=False)
    assert await index.read(lambda on: facts.get(on, "a")) == "2"


async def test_a_unit_happens_whole_or_not_at_all(index: StoreIndex) -> None:
    def unit(on: Connection) -> None:
        facts.put(on, "a", "1")
        raise ValueError("after the first half")

    with pytest.raises(ValueError, match="first half"):
        await index.write(unit)
    assert await index.read(lambda on: facts.get(on, "a")) is None


async def test_one_unit_that_fails_takes_no_other_along(index: StoreIndex) -> None:
    def bad(on: Connection) -> None:
        facts.put(on, "bad", "1")
        raise ValueError

    units: list[Unit[None]] = [partial(facts.put, name=f"good {n}", value="1") for n in range(10)]
    units.insert(5, bad)
    outcomes = await asyncio.gather(*map(index.write, units), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(ValueError) == 1
    for n in range(10):
        assert await index.read(partial(facts.get, name=f"good {n}")) == "1"
    assert await index.read(lambda on: facts.get(on, "bad")) is None


# Blobs and links.


async def test_a_blob_is_seen_in_a_repository_only_through_its_link(index: StoreIndex) -> None:
    await index.write(with_blobs)
    await index.write(lambda on: repositories.ensure(on, WEB, 1))
    assert await index.read(lambda on: blobs.size(on, DIGEST)) == len(DATA)
    assert await index.read(lambda on: blobs.linked_size(on, APP, DIGEST)) == len(DATA)
    assert await index.read(lambda on: blobs.linked_size(on, WEB, DIGEST)) is None


async def test_hosted_and_cached_of_one_name_are_two(index: StoreIndex) -> None:
    hosted, cached = Repository(RepositoryName("a/b")), Repository(RepositoryName("a/b"), "docker.io")
    await index.write(partial(with_blobs, repository=hosted))
    assert await index.read(lambda on: blobs.linked_size(on, cached, DIGEST)) is None
    await index.write(lambda on: repositories.ensure(on, cached, 1))
    assert set(await index.read(repositories.every)) == {hosted, cached}
    paths = await index.read(lambda on: repositories.paths(on, Page(), EVERYTHING))
    assert paths == (["a/b", "docker.io/a/b"], False)


async def test_only_what_is_shown_is_listed(index: StoreIndex) -> None:
    for name, upstream in (("a/b", ""), ("gcr.io/c", ""), ("d", "quay.io"), ("e", "quay.io")):
        repository = Repository(RepositoryName(name), upstream)
        await index.write(partial(repositories.ensure, repository=repository, now=1))

    shown = Scope({"": Rules(), "quay.io": Rules(deny=["d"])})
    assert await index.read(lambda on: repositories.paths(on, Page(), shown)) == (
        ["a/b", "gcr.io/c", "quay.io/e"],
        False,
    )
    assert await index.read(lambda on: repositories.paths(on, Page(2), shown)) == (["a/b", "gcr.io/c"], True)
    assert await index.read(lambda on: repositories.paths(on, Page(1, "gcr.io/c"), shown)) == (["quay.io/e"], False)


async def test_a_blob_goes_with_its_last_reference(index: StoreIndex) -> None:
    for repository in (APP, WEB):
        await index.write(partial(with_blobs, repository=repository))

    def unlink(on: Connection, repository: Repository) -> tuple[bool, bool]:
        repository_id = repositories.ensure(on, repository, 1)
        return blobs.unlink(on, repository_id, DIGEST), blobs.drop_unreferenced(on, DIGEST)

    assert await index.write(partial(unlink, repository=APP)) == (True, False)
    assert await index.write(partial(unlink, repository=APP)) == (False, False)
    assert await index.write(partial(unlink, repository=WEB)) == (True, True)
    assert await index.read(lambda on: blobs.among(on, [DIGEST, OTHER])) == {OTHER}


async def test_a_blob_that_is_a_manifest_stays_for_it(index: StoreIndex) -> None:
    await index.write(with_manifest)
    assert not await index.write(lambda on: blobs.drop_unreferenced(on, IMAGE.digest))


async def test_a_link_to_nothing_is_refused(index: StoreIndex) -> None:
    with pytest.raises(StorageError):
        await index.write(lambda on: blobs.link(on, repositories.ensure(on, APP, 1), DIGEST, 1))


async def test_what_a_repository_lacks_is_named_in_order(index: StoreIndex) -> None:
    repository_id = await index.write(with_blobs)
    missing = [random_bytes(f"missing {n}")[0] for n in range(3)]
    asked = [missing[0], DIGEST, missing[1], OTHER, missing[2]]
    assert await index.read(lambda on: blobs.unlinked(on, repository_id, asked)) == missing
    assert await index.read(lambda on: manifests.absent(on, repository_id, asked)) == asked


async def test_what_a_repository_has_of_many(index: StoreIndex) -> None:
    await index.write(with_blobs)
    await index.write(with_manifest)
    many = [random_bytes(f"many {n}", 1)[0] for n in range(1200)]
    asked = [*many[:600], DIGEST, *many[600:], OTHER, IMAGE.digest, DIGEST]
    sizes = await index.read(lambda on: blobs.linked_sizes(on, APP, asked))
    assert sizes == {DIGEST: len(DATA), OTHER: len(DATA)}
    assert await index.read(lambda on: manifests.among(on, APP, asked)) == {IMAGE.digest}
    assert await index.read(lambda on: manifests.among(on, APP, iter([]))) == set()
    assert await index.read(lambda on: blobs.linked_sizes(on, WEB, asked)) == {}


# Manifests and tags.


async def test_a_manifest_is_found_by_digest_and_by_tag(index: StoreIndex) -> None:
    def unit(on: Connection) -> None:
        repository_id = with_manifest(on)
        tags.move(on, repository_id, LATEST, IMAGE.digest, now=5, checked_at=7, cause="pull")

    await index.write(unit)
    by_digest = await index.read(lambda on: manifests.find(on, APP, IMAGE.digest))
    by_tag = await index.read(lambda on: manifests.find(on, APP, LATEST))
    assert by_digest is not None
    assert by_tag is not None
    assert (by_tag.digest, by_tag.size, by_tag.checked_at) == (IMAGE.digest, len(IMAGE.body), 7)
    assert by_digest.checked_at is None
    assert await index.read(lambda on: manifests.find(on, WEB, LATEST)) is None
    assert await index.read(lambda on: manifests.child_size(on, APP, DIGEST)) is not None


async def test_a_tag_moves_and_goes(index: StoreIndex) -> None:
    other = image_index(IMAGE)

    def unit(on: Connection) -> None:
        repository_id = with_manifest(on)
        with_manifest(on, other)
        for target in (IMAGE, other):
            tags.move(on, repository_id, LATEST, target.digest, now=1, checked_at=None, cause="push")

    await index.write(unit)
    repository_id = await index.write(lambda on: repositories.ensure(on, APP, 1))
    assert await index.read(lambda on: tags.pointing_at(on, repository_id, IMAGE.digest)) == []
    assert await index.read(lambda on: tags.pointing_at(on, repository_id, other.digest)) == [LATEST]
    assert await index.write(lambda on: tags.remove(on, repository_id, LATEST, 2, "delete"))
    assert not await index.write(lambda on: tags.remove(on, repository_id, LATEST, 2, "delete"))


async def test_a_tag_never_points_at_nothing(index: StoreIndex) -> None:
    def unit(on: Connection) -> None:
        repository_id = repositories.ensure(on, APP, 1)
        tags.move(on, repository_id, LATEST, IMAGE.digest, now=1, checked_at=None, cause="push")

    with pytest.raises(StorageError):
        await index.write(unit)

    def tagged(on: Connection) -> int:
        repository_id = with_manifest(on)
        tags.move(on, repository_id, LATEST, IMAGE.digest, now=1, checked_at=None, cause="push")
        return repository_id

    repository_id = await index.write(tagged)
    with pytest.raises(StorageError):
        await index.write(lambda on: manifests.remove(on, repository_id, IMAGE.digest))


async def test_pages_are_in_the_order_of_bytes(index: StoreIndex) -> None:
    names = ["1", "10", "2", "A", "Z", "_", "a", "a-b", "a.b", "aa", "b"]

    def unit(on: Connection) -> None:
        repository_id = with_manifest(on)
        for name in reversed(names):
            tags.move(on, repository_id, Tag(name), IMAGE.digest, now=1, checked_at=None, cause="push")

    await index.write(unit)
    found: list[str] = []
    more = True
    while more:
        page = Page(3, found[-1] if found else "")
        some, more = await index.read(partial(tags.names, repository=APP, page=page))
        found += some
    assert found == names


async def test_referrers_oldest_first_and_by_type(index: StoreIndex) -> None:
    subject = {"mediaType": IMAGE.manifest.media_type, "digest": str(IMAGE.digest), "size": len(IMAGE.body)}
    referring = [image(DIGEST, subject=subject, artifactType=kind) for kind in ("b/sbom", "a/signature")]
    for now, what in enumerate(referring):
        await index.write(partial(with_manifest, what=what, now=now))
    found, _ = await index.read(lambda on: manifests.referrers(on, APP, IMAGE.digest, None))
    assert [entry.digest for entry in found] == [what.digest for what in referring]
    after, _ = await index.read(lambda on: manifests.referrers(on, APP, IMAGE.digest, None, referring[0].digest))
    assert [entry.digest for entry in after] == [referring[1].digest]
    found, _ = await index.read(lambda on: manifests.referrers(on, APP, IMAGE.digest, "a/signature"))
    assert [entry.digest for entry in found] == [referring[1].digest]
    assert await index.read(lambda on: manifests.referrers(on, NGINX, IMAGE.digest, None)) == ([], False)


# Upload sessions.


async def test_sessions(index: StoreIndex) -> None:
    await index.write(lambda on: sessions.add(on, [("old", "team/app", 1), ("young", "team/app", 9)]))
    assert await index.read(lambda on: sessions.repository_of(on, "old")) == "team/app"
    assert await index.read(lambda on: sessions.begun_before(on, 9)) == ["old"]
    await index.write(lambda on: sessions.remove(on, "old"))
    assert await index.read(sessions.all_ids) == {"young"}
