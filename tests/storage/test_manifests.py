"""Manifests and tags: all or nothing, and memory never serves what was."""

import asyncio
import contextlib
import errno
import os
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from sqlalchemy import Connection

from ocispec.digest import Digest
from ocispec.names import RepositoryName, Tag
from ocispec.pagination import Page
from storage.errors import DigestMismatch, MissingContent, StoreUnavailable
from storage.repository import Repository
from storage.store import Store
from tests.conftest import Clock
from tests.storage.samples import (
    APP,
    LATEST,
    NGINX,
    WEB,
    Document,
    broken_promises,
    descriptor,
    document,
    files_of,
    get_manifest,
    image,
    image_index,
    index_of,
    layout_of,
    put_blob,
    put_manifest,
    query,
    random_bytes,
)

CONFIG, CONFIG_DATA = random_bytes("config")
LAYER, LAYER_DATA = random_bytes("layer")
IMAGE = image(CONFIG, LAYER)
OTHER = image(CONFIG, LAYER, annotations={"which": "other"})


async def put_image(store: Store, repository: Repository, what: Document = IMAGE, *tags: str) -> None:
    for data in (CONFIG_DATA, LAYER_DATA):
        await put_blob(store, repository, data)
    await put_manifest(store, repository, what, *tags, sparse=False)


async def history(store: Store) -> list[tuple[object, ...]]:
    return await query(store, "SELECT tag, at, from_digest, to_digest, cause FROM tag_history ORDER BY id")


async def tag_names(store: Store, repository: Repository = APP) -> list[str]:
    return (await store.manifests.tag_page(repository, Page()))[0]


async def cache(store: Store, what: Document, tag: Tag | None, repository: Repository = NGINX) -> None:
    await store.manifests.cache(repository, what.digest, what.body, what.manifest, tag)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_manifest_is_found_by_digest_and_by_tag_byte_for_byte(store: Store, algorithm: str) -> None:
    what = document({"mediaType": IMAGE.manifest.media_type, "config": descriptor(OTHER), "layers": []}, algorithm)
    await put_manifest(store, APP, what, "latest", "v1")
    for reference in (what.digest, LATEST, Tag("v1")):
        found = await store.manifests.find(APP, reference)
        assert found is not None
        assert (found.digest, found.media_type, found.body) == (what.digest, what.manifest.media_type, what.body)
        assert found.checked_at is None
        assert store.manifests.recall(APP, reference) == found
    assert await get_manifest(store, APP, Tag("v2")) is None
    assert await get_manifest(store, WEB, what.digest) is None
    assert await get_manifest(store, Repository(APP.name, "docker.io"), LATEST) is None
    assert APP in store.repositories
    assert files_of(layout_of(store))["tmp"] == []


async def test_a_manifest_without_its_content_is_refused_whole(store: Store) -> None:
    await put_blob(store, APP, CONFIG_DATA)
    await put_blob(store, WEB, LAYER_DATA)  # in the store, but not here
    with pytest.raises(MissingContent) as caught:
        await put_manifest(store, APP, IMAGE, "latest", sparse=False)
    assert caught.value.digests == (LAYER,)
    assert await get_manifest(store, APP, IMAGE.digest) is None
    assert await tag_names(store) == []
    assert await history(store) == []
    assert not layout_of(store).blob(IMAGE.digest).exists()
    await store.blobs.link(APP, LAYER)
    await put_manifest(store, APP, IMAGE, "latest", sparse=False)
    assert await get_manifest(store, APP, LATEST) == IMAGE.digest


async def test_an_index_needs_its_manifests_unless_it_may_be_sparse(store: Store) -> None:
    await put_image(store, APP, IMAGE)
    both = image_index(IMAGE, OTHER)
    with pytest.raises(MissingContent) as caught:
        await put_manifest(store, APP, both, "latest", sparse=False)
    assert caught.value.digests == (OTHER.digest,)
    await put_manifest(store, APP, both, "sparse", sparse=True)
    assert await get_manifest(store, APP, Tag("sparse")) == both.digest
    await put_manifest(store, APP, OTHER)
    await put_manifest(store, APP, both, "latest", sparse=False)
    assert await tag_names(store) == ["latest", "sparse"]


async def test_a_manifest_that_is_a_blob_only_is_no_child(store: Store) -> None:
    await put_blob(store, APP, IMAGE.body)
    with pytest.raises(MissingContent):
        await put_manifest(store, APP, image_index(IMAGE), sparse=False)


async def test_layers_that_need_not_be_distributed_need_not_be_here(store: Store) -> None:
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    layers = [{"mediaType": foreign, "digest": str(LAYER), "size": 5, "urls": ["http://a.example/b"]}]
    config = {"mediaType": "application/json", "digest": str(CONFIG), "size": 5}
    what = document({"mediaType": IMAGE.manifest.media_type, "config": config, "layers": layers})
    await put_blob(store, APP, CONFIG_DATA)
    await put_manifest(store, APP, what, sparse=False)
    assert await get_manifest(store, APP, what.digest) == what.digest


async def test_all_that_is_missing_is_named(store: Store) -> None:
    with pytest.raises(MissingContent) as caught:
        await put_manifest(store, APP, IMAGE, sparse=False)
    assert caught.value.digests == (CONFIG, LAYER)
    assert str(LAYER) in str(caught.value)


async def test_wrong_bytes_are_no_manifest(store: Store) -> None:
    with pytest.raises(DigestMismatch):
        await store.manifests.push(APP, OTHER.digest, IMAGE.body, IMAGE.manifest, [LATEST], sparse=True)
    assert await tag_names(store) == []
    assert files_of(layout_of(store)) == {"blobs": [], "uploads": [], "partial": [], "tmp": []}


# Tags and their history.


async def test_each_move_of_a_tag_is_written_down(store: Store, clock: Clock) -> None:
    begun = clock.now
    await put_manifest(store, APP, IMAGE, "latest")
    clock.advance(10)
    await put_manifest(store, APP, OTHER, "latest", "v2")
    clock.advance(10)
    await put_manifest(store, APP, OTHER, "latest")  # where it is already: no move
    clock.advance(10)
    assert await store.manifests.delete_tag(APP, Tag("v2"))
    assert not await store.manifests.delete_tag(APP, Tag("v2"))
    clock.advance(10)
    assert await store.manifests.delete(APP, OTHER.digest)
    one, two = str(IMAGE.digest), str(OTHER.digest)
    assert await history(store) == [
        ("latest", begun, None, one, "push"),
        ("latest", begun + 10, one, two, "push"),
        ("v2", begun + 10, None, two, "push"),
        ("v2", begun + 30, two, None, "delete"),
        ("latest", begun + 40, two, None, "delete"),
    ]


async def test_a_tag_that_is_deleted_leaves_its_manifest(store: Store) -> None:
    await put_manifest(store, APP, IMAGE, "latest", "v1")
    assert await store.manifests.delete_tag(APP, LATEST)
    assert await get_manifest(store, APP, LATEST) is None
    assert await get_manifest(store, APP, Tag("v1")) == IMAGE.digest
    assert await get_manifest(store, APP, IMAGE.digest) == IMAGE.digest


async def test_a_manifest_that_is_deleted_takes_its_tags_along(store: Store) -> None:
    await put_manifest(store, APP, IMAGE, "latest", "v1")
    await put_manifest(store, APP, OTHER, "v2")
    await put_manifest(store, WEB, IMAGE, "latest")
    assert await store.manifests.delete(APP, IMAGE.digest)
    assert not await store.manifests.delete(APP, IMAGE.digest)
    assert await tag_names(store) == ["v2"]
    assert await get_manifest(store, APP, IMAGE.digest) is None
    assert await get_manifest(store, WEB, LATEST) == IMAGE.digest  # another repository's is not touched
    assert layout_of(store).blob(IMAGE.digest).exists()
    assert await store.manifests.delete(WEB, IMAGE.digest)
    assert not layout_of(store).blob(IMAGE.digest).exists()
    assert await query(store, f"SELECT * FROM manifest_children WHERE manifest = '{IMAGE.digest}'") == []


async def test_an_index_can_lose_a_child_and_children_outlive_their_index(store: Store) -> None:
    parent = image_index(IMAGE, OTHER)
    for what in (IMAGE, OTHER, parent):
        await put_manifest(store, APP, what)
    assert await store.manifests.delete(APP, IMAGE.digest)
    assert await get_manifest(store, APP, parent.digest) == parent.digest
    assert await store.manifests.delete(APP, parent.digest)
    assert await get_manifest(store, APP, OTHER.digest) == OTHER.digest


async def test_what_is_not_there_cannot_be_deleted(store: Store) -> None:
    assert not await store.manifests.delete(APP, IMAGE.digest)
    assert not await store.manifests.delete_tag(APP, LATEST)
    await put_blob(store, APP, IMAGE.body)
    assert not await store.manifests.delete(APP, IMAGE.digest)
    assert await store.blobs.size(APP, IMAGE.digest) == len(IMAGE.body)


async def test_tags_come_in_pages_in_order_of_their_bytes(store: Store) -> None:
    names = ["1", "10", "2", "A", "Z", "_x", "a", "latest", "v1.0-rc", "z" * 128]
    await put_manifest(store, APP, IMAGE, *reversed(names))
    await put_manifest(store, WEB, IMAGE, "another")
    assert await tag_names(store) == sorted(names)
    seen: list[str] = []
    more = True
    while more:
        page, more = await store.manifests.tag_page(APP, Page(3, seen[-1] if seen else ""))
        assert len(page) == 3 or not more
        seen += page
    assert seen == sorted(names)
    assert await store.manifests.tag_page(APP, Page(0)) == ([], True)
    assert await store.manifests.tag_page(APP, Page(5, "zzz")) == (["z" * 128], False)
    assert await store.manifests.tag_page(NGINX, Page()) == ([], False)


# The same bytes in other clothes.


async def test_the_last_push_says_what_type_it_is(store: Store) -> None:
    body = {"config": descriptor(OTHER), "layers": []}
    first = document({"mediaType": "application/vnd.oci.image.manifest.v1+json", **body})
    other = first.manifest.__class__("application/vnd.docker.distribution.manifest.v2+json")
    await put_manifest(store, APP, first, "latest")
    await store.manifests.push(APP, first.digest, first.body, other, [LATEST], sparse=True)
    found = await store.manifests.find(APP, LATEST)
    assert found is not None
    assert found.media_type == other.media_type
    assert await query(store, "SELECT count(*) FROM manifest_children") == [(0,)]


async def test_referrers_are_listed_oldest_first_and_by_type(store: Store, clock: Clock) -> None:
    signatures = []
    for number, kind in enumerate(["sig", "sbom", "sig"]):
        more = {"subject": descriptor(IMAGE), "artifactType": kind, "annotations": {"number": str(number)}}
        signatures.append(image(CONFIG, LAYER, **more))
        clock.advance(-1 if number == 2 else 1)  # a clock that is set back must not lose one
        await put_manifest(store, APP, signatures[-1])
    await put_manifest(store, WEB, signatures[0])
    await put_manifest(store, APP, IMAGE)
    found, follow = await store.manifests.referrers(APP, IMAGE.digest, None)
    assert not follow
    assert {entry.digest for entry in found} == {what.digest for what in signatures}
    ((sbom,), _) = await store.manifests.referrers(APP, IMAGE.digest, "sbom")
    assert sbom.digest == signatures[1].digest
    assert found[-1].digest == signatures[1].digest
    entry = found[-1]
    assert (entry.artifact_type, entry.annotations, entry.size) == ("sbom", {"number": "1"}, len(signatures[1].body))
    assert await store.manifests.referrers(APP, OTHER.digest, None) == ([], False)
    assert await store.manifests.delete(APP, signatures[1].digest)
    assert await store.manifests.referrers(APP, IMAGE.digest, "sbom") == ([], False)


async def test_how_long_a_blob_must_be_is_what_a_manifest_here_says(store: Store) -> None:
    await cache(store, IMAGE, LATEST)
    assert await store.manifests.blob_size(NGINX, LAYER) == 1000
    assert await store.manifests.blob_size(APP, LAYER) is None
    assert await store.manifests.blob_size(NGINX, IMAGE.digest) is None


# What is cached from an upstream.


async def test_a_cached_tag_knows_when_it_was_checked(store: Store, clock: Clock) -> None:
    begun = clock.now
    await cache(store, IMAGE, LATEST)
    clock.advance(100)
    found = await store.manifests.find(NGINX, LATEST)
    assert found is not None
    assert found.checked_at == begun
    by_digest = await store.manifests.find(NGINX, IMAGE.digest)
    assert by_digest is not None
    assert by_digest.checked_at is None
    await store.manifests.confirm(NGINX, LATEST, IMAGE.digest)
    assert store.manifests.recall(NGINX, LATEST) is None
    again = await store.manifests.find(NGINX, LATEST)
    assert again is not None
    assert again.checked_at == begun + 100
    assert await history(store) == [("latest", begun, None, str(IMAGE.digest), "pull")]


async def test_a_tag_that_the_upstream_retracts_is_written_down(store: Store, clock: Clock) -> None:
    await cache(store, IMAGE, LATEST)
    assert not await store.manifests.is_retracted(NGINX, LATEST)
    clock.advance(10)
    await store.manifests.retract(NGINX, LATEST)
    await store.manifests.retract(NGINX, LATEST)  # no news
    await store.manifests.retract(NGINX, Tag("never-here"))
    assert await store.manifests.is_retracted(NGINX, LATEST)
    assert store.manifests.recall(NGINX, LATEST) is None
    assert await get_manifest(store, NGINX, LATEST) is None
    assert await get_manifest(store, NGINX, IMAGE.digest) == IMAGE.digest
    one = str(IMAGE.digest)
    moves = [("latest", clock.now - 10, None, one, "pull"), ("latest", clock.now, one, None, "pull")]
    assert await history(store) == moves
    await cache(store, IMAGE, LATEST)
    assert not await store.manifests.is_retracted(NGINX, LATEST)
    await store.manifests.delete_tag(NGINX, LATEST)
    assert not await store.manifests.is_retracted(NGINX, LATEST)
    assert not await store.manifests.is_retracted(NGINX, Tag("never-here"))
    assert not await store.manifests.is_retracted(WEB, LATEST)


async def test_a_confirmation_may_find_that_the_tag_moved(store: Store, clock: Clock) -> None:
    await cache(store, IMAGE, LATEST)
    await cache(store, OTHER, None)
    await store.manifests.confirm(NGINX, LATEST, OTHER.digest)
    assert await get_manifest(store, NGINX, LATEST) == OTHER.digest
    assert await history(store) == [
        ("latest", clock.now, None, str(IMAGE.digest), "pull"),
        ("latest", clock.now, str(IMAGE.digest), str(OTHER.digest), "pull"),
    ]


async def test_a_confirmation_of_what_is_gone_points_nowhere(store: Store) -> None:
    await cache(store, IMAGE, LATEST)
    await store.manifests.delete(NGINX, IMAGE.digest)
    before = await history(store)
    await store.manifests.confirm(NGINX, LATEST, IMAGE.digest)
    assert await get_manifest(store, NGINX, LATEST) is None
    assert await history(store) == before


async def test_what_is_cached_needs_none_of_its_content(store: Store) -> None:
    await cache(store, image_index(IMAGE), LATEST)
    assert await get_manifest(store, NGINX, LATEST) == image_index(IMAGE).digest


# Memory.


async def test_memory_forgets_with_every_change(store: Store) -> None:
    def remembered() -> list[Digest | None]:
        found = [store.manifests.recall(APP, reference) for reference in (LATEST, IMAGE.digest)]
        return [entry.digest if entry else None for entry in found]

    async def warm() -> list[Digest | None]:
        for reference in (LATEST, IMAGE.digest, OTHER.digest):
            await store.manifests.find(APP, reference)
        return remembered()

    await put_manifest(store, APP, IMAGE, "latest")
    assert remembered() == [None, None]
    assert await warm() == [IMAGE.digest, IMAGE.digest]
    await put_manifest(store, APP, OTHER, "latest")
    assert remembered() == [None, None]
    assert await warm() == [OTHER.digest, IMAGE.digest]
    await cache(store, IMAGE, LATEST, APP)
    assert remembered() == [None, None]
    assert await warm() == [IMAGE.digest, IMAGE.digest]
    await store.manifests.confirm(APP, LATEST, OTHER.digest)
    assert remembered() == [None, None]
    assert await warm() == [OTHER.digest, IMAGE.digest]
    await store.manifests.delete_tag(APP, LATEST)
    assert remembered() == [None, None]
    assert await warm() == [None, IMAGE.digest]
    await store.manifests.delete(APP, IMAGE.digest)
    assert remembered() == [None, None]
    assert await warm() == [None, None]


async def test_a_change_of_one_repository_leaves_the_others_warm(store: Store) -> None:
    for repository in (APP, WEB):
        await put_manifest(store, repository, IMAGE, "latest")
        await store.manifests.find(repository, LATEST)
    await store.manifests.delete_tag(APP, LATEST)
    assert store.manifests.recall(APP, LATEST) is None
    assert store.manifests.recall(WEB, LATEST) is not None


async def test_a_push_that_failed_changes_nothing(store: Store) -> None:
    await put_manifest(store, APP, IMAGE, "latest")
    with pytest.raises(MissingContent):
        await put_manifest(store, APP, OTHER, "latest", sparse=False)
    assert await get_manifest(store, APP, LATEST) == IMAGE.digest


async def test_reading_and_pushing_race_and_memory_never_serves_what_was(store: Store) -> None:
    """Once a push is acknowledged nobody is told of the manifest before it, from memory or from the index."""
    versions = [image(CONFIG, LAYER, annotations={"version": str(number)}) for number in range(25)]
    order = {what.digest: number for number, what in enumerate(versions)}
    acknowledged = -1
    done = False

    async def read() -> None:
        while not done:
            least = acknowledged
            found = store.manifests.recall(APP, LATEST) or await store.manifests.find(APP, LATEST)
            if least >= 0:
                assert found is not None
                assert order[found.digest] >= least
            await asyncio.sleep(0.0005)

    readers = [asyncio.create_task(read()) for _ in range(6)]
    for number, what in enumerate(versions):
        await put_manifest(store, APP, what, "latest")
        acknowledged = number
        await asyncio.sleep(0.001)
    done = True
    await asyncio.gather(*readers)


async def test_deleting_races_with_reading(store: Store) -> None:
    done = False

    async def read() -> None:
        while not done:
            await store.manifests.find(APP, LATEST)
            await asyncio.sleep(0.0005)

    readers = [asyncio.create_task(read()) for _ in range(4)]
    for _ in range(20):
        await put_manifest(store, APP, IMAGE, "latest")
        await store.manifests.delete(APP, IMAGE.digest)
        assert store.manifests.recall(APP, LATEST) is None
        assert await get_manifest(store, APP, LATEST) is None
    done = True
    await asyncio.gather(*readers)


async def push_other(store: Store) -> None:
    await put_manifest(store, APP, OTHER, "latest")


async def confirm_other(store: Store) -> None:
    await store.manifests.confirm(APP, LATEST, OTHER.digest)


async def delete_tag(store: Store) -> None:
    await store.manifests.delete_tag(APP, LATEST)


async def retract(store: Store) -> None:
    await store.manifests.retract(APP, LATEST)


async def delete_manifest(store: Store) -> None:
    await store.manifests.delete(APP, IMAGE.digest)


class Holding:
    """A unit that keeps the writer where it is, in the middle of its transaction."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def __call__(self, _: Connection) -> None:
        self.entered.set()
        self.go_on.wait(10)


@pytest.mark.parametrize("change", [push_other, confirm_other, delete_tag, retract, delete_manifest])
async def test_a_cancelled_change_is_not_hidden_by_memory(
    store: Store, change: Callable[[Store], Coroutine[None, None, None]]
) -> None:
    """Its commit may come after its caller is told to stop: what is read until then must not be remembered."""
    await put_manifest(store, APP, OTHER)
    await put_manifest(store, APP, IMAGE, "latest")
    index, before, beside = index_of(store), Holding(), Holding()
    tasks: list[asyncio.Task[None]] = [asyncio.create_task(index.write(before))]
    await asyncio.to_thread(before.entered.wait, 10)
    changing = asyncio.create_task(change(store))
    while not index._waiting:
        await asyncio.sleep(0.001)
    tasks.append(asyncio.create_task(index.write(beside)))
    await asyncio.sleep(0)
    before.go_on.set()
    await asyncio.to_thread(beside.entered.wait, 10)
    changing.cancel()
    await asyncio.sleep(0.01)
    assert await get_manifest(store, APP, LATEST) == IMAGE.digest
    beside.go_on.set()
    await asyncio.wait([changing, *tasks])
    remembered = store.manifests.recall(APP, LATEST)
    store.manifests._hot.forget(APP)
    found = await store.manifests.find(APP, LATEST)
    assert found is None or found.digest == OTHER.digest
    assert remembered is None or remembered == found


# Damage.


@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
async def test_a_damaged_manifest_is_not_there_and_a_push_puts_it_right(store: Store, damage: str) -> None:
    await put_manifest(store, APP, IMAGE, "latest")
    path = layout_of(store).blob(IMAGE.digest)
    path.unlink()
    if damage != "missing":
        wrong = IMAGE.body[:-1] if damage == "short" else IMAGE.body[:-2] + b" }"
        path.write_bytes(wrong)
    assert await get_manifest(store, APP, LATEST) is None
    assert await get_manifest(store, APP, IMAGE.digest) is None
    assert store.manifests.recall(APP, LATEST) is None
    await put_manifest(store, APP, IMAGE)
    assert await get_manifest(store, APP, LATEST) == IMAGE.digest


async def test_a_manifest_that_cannot_be_read_is_an_error_of_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a bug, and not "no such manifest" either."""
    await put_manifest(store, APP, IMAGE, "latest")
    original = os.open

    def unreadable(path: Path, flags: int, mode: int = 0o777) -> int:
        if Path(path).name != IMAGE.digest.hex:
            return original(path, flags, mode)
        with tempfile.NamedTemporaryFile("wb") as other:  # of the right length, and open for writing only
            other.write(IMAGE.body)
            other.flush()
            return original(other.name, os.O_WRONLY)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", unreadable)
        with pytest.raises(StoreUnavailable, match=os.strerror(errno.EBADF)):
            await store.manifests.find(APP, LATEST)
    assert await get_manifest(store, APP, LATEST) == IMAGE.digest


async def test_many_push_the_same_image_to_many_repositories(store: Store) -> None:
    repositories = [Repository(RepositoryName(f"team/app{n}")) for n in range(10)]
    await asyncio.gather(*(put_image(store, repository, IMAGE, "latest") for repository in repositories))
    for repository in repositories:
        assert await get_manifest(store, repository, LATEST) == IMAGE.digest
    assert await broken_promises(store) == []
    assert len(files_of(layout_of(store))["blobs"]) == 3


async def test_pushes_and_deletes_of_a_layer_never_leave_a_manifest_acknowledged_without_it(store: Store) -> None:
    """The check for missing content is part of the transaction that adds the manifest."""

    async def come_and_go() -> None:
        for _ in range(15):
            await put_blob(store, APP, LAYER_DATA)
            await asyncio.sleep(0.001)
            await store.blobs.unlink(APP, LAYER)

    async def push() -> None:
        for _ in range(15):
            with contextlib.suppress(MissingContent):
                await put_manifest(store, APP, IMAGE, "latest", sparse=False)
            await store.manifests.delete(APP, IMAGE.digest)

    await put_blob(store, APP, CONFIG_DATA)
    await asyncio.gather(come_and_go(), push())
    assert await broken_promises(store) == []
