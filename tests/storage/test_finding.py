"""What people find: in step with what is there, whatever they type."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event

from ocispec.digest import Digest
from ocispec.media_types import OCI_IMAGE, OCI_INDEX
from ocispec.names import RepositoryName, Tag
from ocispec.pagination import Page
from storage import description
from storage.index import browse, repositories, search, tags
from storage.index.engine import sqlite_module, write_engine
from storage.index.migrate import upgrade
from storage.index.unit import _READERS
from storage.repository import Repository
from storage.scope import Rules, Scope
from storage.store import Store, open_store
from storage.views import Pulls, Sharing
from tests.conftest import Clock
from tests.storage.samples import (
    APP,
    EVERYTHING,
    LATEST,
    NGINX,
    WEB,
    Document,
    document,
    index_of,
    put_blob,
    put_manifest,
    query,
)

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER = b"a layer that several images share"


def config_of(architecture: str = "amd64", **labels: str) -> bytes:
    value = {
        "os": "linux",
        "architecture": architecture,
        "created": "2026-01-02T03:04:05Z",
        "config": {"Labels": labels},
    }
    return json.dumps(value).encode()


def image_of(config: bytes, *layers: bytes, **more: object) -> Document:
    def entry(kind: str, data: bytes) -> dict[str, object]:
        return {"mediaType": kind, "digest": str(Digest.of(data)), "size": len(data)}

    below = [entry("application/vnd.oci.image.layer.v1.tar", layer) for layer in layers]
    return document({"mediaType": OCI_IMAGE, "config": entry(CONFIG_TYPE, config), "layers": below, **more})


async def put_image(store: Store, repository: Repository, config: bytes, *tags: str, **more: object) -> Document:
    for data in (config, LAYER):
        await put_blob(store, repository, data)
    image = image_of(config, LAYER, **more)
    await put_manifest(store, repository, image, *tags, sparse=False)
    return image


async def found(store: Store, words: str) -> list[str]:
    found = await store.finding.search(words, EVERYTHING, 100)
    assert found.total == len(found.hits)
    return [hit.repository.path for hit in found.hits]


async def test_by_name(store: Store) -> None:
    for repository in (APP, WEB, NGINX):
        await put_blob(store, repository, LAYER)
    assert await found(store, "nginx") == ["docker.io/library/nginx"]
    assert await found(store, "GIN") == ["docker.io/library/nginx"]
    assert await found(store, "team") == ["team/app", "team/web"]
    assert await found(store, "team ap") == ["team/app"]
    assert await found(store, "te") == ["team/app", "team/web"]
    assert await found(store, "am") == []
    assert await found(store, "") == ["docker.io/library/nginx", "team/app", "team/web"]


async def test_by_tag_as_long_as_it_is_there(store: Store) -> None:
    image = await put_image(store, APP, config_of(), "1.27-bookworm", "latest")
    assert await found(store, "bookworm") == ["team/app"]
    assert await found(store, "app 1.27") == ["team/app"]
    await store.manifests.delete_tag(APP, Tag("1.27-bookworm"))
    assert await found(store, "bookworm") == []
    await store.manifests.delete(APP, image.digest)
    assert await found(store, "latest") == []


async def test_by_what_the_config_says_whichever_comes_first(store: Store) -> None:
    config = config_of("riscv64", vendor="Acme")
    await put_manifest(store, APP, image_of(config, LAYER))
    assert await found(store, "acme") == []
    await put_blob(store, APP, config)
    await put_image(store, WEB, config)
    assert await found(store, "acme") == ["team/app", "team/web"]
    assert await found(store, "linux/riscv64") == ["team/app", "team/web"]
    assert await found(store, "vendor=acme web") == ["team/web"]


async def test_a_config_that_only_another_repository_has_tells_nothing(store: Store) -> None:
    config = config_of(secret="of-web-alone")
    await put_image(store, WEB, config)
    await put_manifest(store, APP, image_of(config, LAYER))
    assert await found(store, "of-web-alone") == ["team/web"]


async def test_by_annotations_and_the_platforms_of_an_index(store: Store) -> None:
    child = {"mediaType": OCI_IMAGE, "digest": str(Digest.of(b"child")), "size": 5}
    entries = [{**child, "platform": {"os": "linux", "architecture": "s390x"}}]
    index = document({"mediaType": OCI_INDEX, "manifests": entries, "annotations": {"title": "Mainframe"}})
    await put_manifest(store, APP, index, "latest")
    assert await found(store, "mainframe") == ["team/app"]
    assert await found(store, "s390x") == ["team/app"]
    (tag,), more = await store.finding.tags(APP, Page())
    assert (tag.name, tag.digest, tag.platforms, more) == (LATEST, index.digest, ("linux/s390x",), False)


async def test_a_text_goes_with_the_last_manifest_that_says_it(store: Store) -> None:
    first = await put_image(store, APP, config_of(vendor="Acme"), "1")
    second = await put_image(store, APP, config_of(vendor="Acme", second="yes"), "2")
    await store.manifests.delete(APP, first.digest)
    assert await found(store, "vendor=acme") == ["team/app"]
    await store.manifests.delete(APP, second.digest)
    assert await found(store, "vendor=acme") == []
    assert await query(store, "SELECT count(*) FROM search_texts") == [(0,)]
    assert await query(store, "SELECT count(*) FROM search_sources") == [(0,)]


@pytest.mark.parametrize(
    "config",
    [b"not json", b"[1]", b"\xff", b'{"config": [], "history": {}, "os": 7}', b'{"x": "\\ud800"}', b"[" * 10**5],
)
async def test_a_config_that_cannot_be_read_is_looked_at_once(store: Store, config: bytes) -> None:
    await put_image(store, APP, config, "latest")
    assert await found(store, "app") == ["team/app"]
    assert await query(store, "SELECT platform, created FROM images") == [(None, None)]
    await store.finding.catch_up()
    assert await query(store, "SELECT count(*) FROM images") == [(1,)]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Of an index with one repository, app."""
    path = tmp_path_factory.mktemp("search") / "index.sqlite"
    upgrade(path, sqlite_module())
    engine = write_engine(path, sqlite_module())
    with engine.connect() as connection:
        repositories.ensure(connection, Repository(RepositoryName("app")), 0.0)
        yield connection
    engine.dispose()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text() | st.text(alphabet="\"*^:(){}-+%_\\' \0ANDORNEAR"), max_size=8))
def test_whatever_is_typed_means_only_itself(connection: Connection, words: list[str]) -> None:
    found = search.find(connection, words, EVERYTHING, 10)
    assert len(found.hits) == found.total
    if found.hits:
        assert all(word.lower() in "app" for word in words)


async def test_no_query_breaks_it(store: Store) -> None:
    await put_image(store, APP, config_of(vendor="Acme"), "latest")
    for words in (
        '"',
        '""',
        '" OR "',
        "a" * 10_000,
        "NEAR(a b)",
        "name:app",
        "app*",
        "^app",
        "-app",
        "app\0",
        "%",
        "_",
        "\\",
    ):
        await store.finding.search(words, EVERYTHING, 10)
    assert await found(store, "%%%") == []
    assert await found(store, "___") == []
    assert await found(store, "a_p") == []


async def test_long_queries_are_cut(store: Store) -> None:
    """What FTS5 takes for a word is its length times that of what it is looked for in."""
    await put_image(store, APP, config_of(said="a" * 1000), "b" * 40)
    assert await found(store, "b" * 41) == ["team/app"]  # its first 32
    assert await found(store, "b" * 31 + "a") == []
    assert await found(store, "team" + " " * 196 + "nonesuch") == ["team/app"]
    assert await found(store, "team" + " " * 193 + "none") == []


async def test_people_wait_for_no_pull(store: Store) -> None:
    """Nor, with threads of their own, pulls for them."""
    image = await put_image(store, APP, config_of(), "latest")
    go_on = threading.Event()
    pulls = [asyncio.create_task(index_of(store).read(lambda _: go_on.wait(60))) for _ in range(_READERS)]
    assert await found(store, "app") == ["team/app"]
    assert await store.finding.repository(APP) is not None
    assert len((await store.finding.tags(APP, Page()))[0]) == 1
    assert len(await store.finding.history(APP, None, 10)) == 1
    assert len(await store.finding.sharing([image.digest], EVERYTHING)) == 1
    assert await store.finding.config(APP, Digest.of(config_of())) is not None
    assert await store.finding.traffic(3600) == {}
    assert (await store.finding.stored(EVERYTHING)).tags == 1
    assert not any(pull.done() for pull in pulls)
    go_on.set()
    await asyncio.gather(*pulls)


async def test_no_repository_hides_the_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that say a word only so many are looked at; that one says it often, or may not be seen, is nothing."""
    monkeypatch.setattr(search, "_SAYING", 2)
    await put_image(store, NGINX, config_of(), "release-0")
    await put_image(store, APP, config_of(), *(f"release-{number}" for number in range(10)))
    await put_image(store, WEB, config_of(), "release-1")
    shown = await store.finding.search("release", Scope({"": Rules()}), 10)
    assert {hit.repository for hit in shown.hits} == {APP, WEB}
    assert len(await found(store, "release")) == 2


async def test_whole_names_come_first_then_what_is_pulled_most(store: Store, clock: Clock) -> None:
    names = ["team/redis-tools", "redis", "cache/redis", "bored/redishes", "team/other"]
    for name in names:
        await put_image(store, Repository(RepositoryName(name)), config_of(), "redis" if "other" in name else "latest")
    assert await found(store, "redis") == ["redis", "cache/redis", "bored/redishes", "team/redis-tools", "team/other"]
    popular = Repository(RepositoryName("team/redis-tools"))
    (tag,), _ = await store.finding.tags(popular, Page())
    await store.finding.record([Pulls(popular, tag.digest, 7, clock())], {})
    assert (await found(store, "redis"))[2:4] == ["team/redis-tools", "bored/redishes"]


async def test_pulls_are_added_up_and_the_last_one_counts(store: Store, clock: Clock) -> None:
    image = await put_image(store, APP, config_of(), "latest")
    gone = Digest.of(b"gone")
    await store.finding.record([Pulls(APP, image.digest, 2, 100.0), Pulls(APP, gone, 5, 100.0)], {})
    await store.finding.record([Pulls(APP, image.digest, 1, 90.0)], {})
    (tag,), _ = await store.finding.tags(APP, Page())
    assert (tag.pulls, tag.last_pulled_at) == (3, 100.0)
    facts = await store.finding.repository(APP)
    assert facts is not None
    assert (facts.pulls, facts.last_pulled_at, facts.tags) == (8, 100.0, 1)


async def test_traffic_by_the_hour(store: Store, clock: Clock) -> None:
    await store.finding.record([], {"hit": 2, "sent": 1000, "miss": 0})
    await store.finding.record([], {"hit": 1})
    clock.advance(3600)
    await store.finding.record([], {"miss": 4})
    assert list((await store.finding.traffic(7200)).values()) == [{"hit": 3, "sent": 1000}, {"miss": 4}]
    assert list((await store.finding.traffic(0)).values()) == [{"miss": 4}]


async def test_the_size_of_an_image_counts_what_its_platforms_share_once(store: Store) -> None:
    one, other = config_of("amd64"), config_of("arm64")
    images = [await put_image(store, APP, one), await put_image(store, APP, other)]
    entries = [
        {
            "mediaType": OCI_IMAGE,
            "digest": str(image.digest),
            "size": len(image.body),
            "platform": {"os": "linux", "architecture": arch},
        }
        for image, arch in zip(images, ("amd64", "arm64"), strict=True)
    ]
    await put_manifest(store, APP, document({"mediaType": OCI_INDEX, "manifests": entries}), "latest")
    await store.manifests.push(APP, images[0].digest, images[0].body, images[0].manifest, [Tag("one")], sparse=False)
    (whole, single), _ = await store.finding.tags(APP, Page())
    assert (whole.size, whole.platforms) == (len(one) + len(other) + len(LAYER), ("linux/amd64", "linux/arm64"))
    assert (single.size, single.platforms) == (len(one) + len(LAYER), ("linux/amd64",))


async def test_who_shares_a_layer(store: Store) -> None:
    for repository in (APP, WEB, NGINX):
        await put_blob(store, repository, LAYER)
    await put_blob(store, APP, b"mine")
    shared = await store.finding.sharing([Digest.of(LAYER), Digest.of(b"mine"), Digest.of(b"nobody's")], EVERYTHING)
    assert [(one.count, one.repositories) for one in shared.values()] == [(3, (APP, WEB, NGINX)), (1, (APP,)), (0, ())]


async def test_who_shares_a_layer_is_told_within_the_scope(store: Store) -> None:
    for repository in (NGINX, APP, WEB):
        await put_blob(store, repository, LAYER)
    await put_blob(store, NGINX, b"only denied")
    digests = [Digest.of(LAYER), Digest.of(b"only denied")]
    for scope in (Scope({"": Rules(), "docker.io": Rules(deny=["library/*"])}), Scope({"": Rules()})):
        shared = await store.finding.sharing(digests, scope)
        assert [shared[digest] for digest in digests] == [Sharing(2, (APP, WEB)), Sharing(0, ())]


async def test_who_shares_one_of_very_many_layers(store: Store) -> None:
    sharers = [Repository(RepositoryName(f"team/{number:02}")) for number in range(25)]
    for repository in sharers:
        await put_blob(store, repository, LAYER)
    others = [Digest.of(str(number).encode()) for number in range(12_000)]
    layers = [*others, Digest.of(LAYER), *others]
    shared = await index_of(store).read(lambda connection: browse.sharing(connection, layers, EVERYTHING))
    assert len(shared) == 12_001
    assert shared[Digest.of(LAYER)] == Sharing(25, tuple(sharers[:20]))
    assert {shared[digest] for digest in others} == {Sharing(0, ())}


async def test_how_much_is_stored(store: Store) -> None:
    """What is counted is of the scope; the bytes are those on the disk."""
    for repository in (APP, NGINX):
        await put_blob(store, repository, LAYER)
    app, nginx = (image_of(config_of(), annotations={"of": of}) for of in ("app", "the other"))
    await put_manifest(store, APP, app, "1", "2")
    await put_manifest(store, NGINX, nginx, "1")
    bodies = len(app.body) + len(nginx.body)
    for scope, *counts in ((EVERYTHING, 2, 3), (Scope({"": Rules()}), 1, 2), (Scope({}), 0, 0)):
        stored = await store.finding.stored(scope)
        assert [stored.repositories, stored.tags] == counts
        assert stored.referred - stored.stored == len(LAYER)
        assert stored.stored >= bodies + len(LAYER)


def indexes_of(connection: Connection, table: str, unit: Callable[[], object]) -> list[str]:
    """How SQLite looks into a table for what a unit asks."""
    asked: list[tuple[str, Any]] = []

    def hear(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", hear)
    unit()
    event.remove(connection, "before_cursor_execute", hear)
    steps = [
        str(step[3])
        for statement, parameters in asked
        if statement.startswith("SELECT")
        for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    ]
    return [step for step in steps if f" {table} " in step]


def test_the_moves_of_a_tag_are_found_without_those_of_others(connection: Connection) -> None:
    app = Repository(RepositoryName("app"))
    for ask in (
        lambda: tags.last_cause_of_removal(connection, app, LATEST),
        lambda: browse.history(connection, app, LATEST, 10),
        lambda: browse.history(connection, app, LATEST, 10, before=1000),
    ):
        (step,) = indexes_of(connection, "tag_history", ask)
        assert "ix_tag_history_repository_id_tag_at (repository_id=? AND tag=?)" in step
    (step,) = indexes_of(connection, "tag_history", lambda: browse.history(connection, app, None, 10))
    assert "ix_tag_history_repository_id (repository_id=?" in step


async def test_history_in_pages(store: Store) -> None:
    first = await put_image(store, APP, config_of("amd64"), "latest", "1")
    second = await put_image(store, APP, config_of("arm64"), "latest")
    await store.manifests.delete_tag(APP, LATEST)
    moves = await store.finding.history(APP, LATEST, 10)
    assert [(move.before, move.after, move.cause) for move in moves] == [
        (second.digest, None, "delete"),
        (first.digest, second.digest, "push"),
        (None, first.digest, "push"),
    ]
    assert await store.finding.history(APP, LATEST, 10, before=moves[0].id) == moves[1:]
    assert len(await store.finding.history(APP, None, 10)) == 4
    assert await store.finding.history(WEB, None, 10) == []


async def test_what_came_before_there_were_descriptions(tmp_path: Path) -> None:
    async with open_store(tmp_path / "store") as store:
        await put_image(store, APP, config_of(vendor="Acme"), "latest")
        await store.finding._index.write(
            lambda connection: [
                connection.exec_driver_sql(f"DELETE FROM {table}") for table in ("images", "search_sources")
            ]
        )
        assert await found(store, "acme") == []
        await store.finding.catch_up()
        assert await found(store, "acme") == ["team/app"]


async def test_many_that_came_before__each_is_read_once_and_pushes_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    repositories = [Repository(RepositoryName(f"team/app{n}")) for n in range(9)]
    for repository in repositories:
        await put_image(store, repository, config_of(vendor=f"maker{repository.name[-1]}"), "latest")
    await store.finding._index.write(
        lambda connection: [
            connection.exec_driver_sql(f"DELETE FROM {table}") for table in ("images", "search_sources", "search_texts")
        ]
    )
    monkeypatch.setattr("storage.finding._FEW", 2)
    monkeypatch.setattr("storage.finding._PAUSE_SECONDS", 0)
    read: list[Digest] = []
    content = store.content.read

    def noted(digest: Digest, size: int) -> bytes | None:
        read.append(digest)
        return content(digest, size)

    monkeypatch.setattr(store.content, "read", noted)
    await store.finding.catch_up()
    assert len(read) == len(set(read)) == 9
    for repository in repositories:
        assert await found(store, f"vendor=maker{repository.name[-1]}") == [repository.path]


async def test_one_that_goes_while_it_is_read_is_passed_over(store: Store) -> None:
    image = await put_image(store, APP, config_of(vendor="Acme"), "latest")
    index = store.finding._index
    await index.write(lambda connection: connection.exec_driver_sql("DELETE FROM images"))
    behind = await index.read(lambda connection: description.left_behind(connection, store.content, None, 10))
    assert [one.manifest for one, _ in behind] == [image.digest]
    await store.manifests.delete(APP, image.digest)
    await index.write(lambda connection: description.put(connection, behind))
    assert await query(store, "SELECT count(*) FROM images") == [(0,)]
