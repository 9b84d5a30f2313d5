"""The manifests in memory: least recently used first out, and never what was."""

from ocispec.digest import Digest
from ocispec.names import RepositoryName, Tag
from storage.hot import HotManifests, StoredManifest
from storage.repository import Repository
from tests.storage.samples import APP, LATEST, NGINX, WEB, random_bytes


def manifest(seed: int | str, size: int = 1000) -> StoredManifest:
    digest, body = random_bytes(seed, size)
    return StoredManifest(digest, "application/json", body)


def test_what_was_put_is_found_by_the_same_name_only() -> None:
    hot, found = HotManifests(), manifest(1)
    hot.put(APP, LATEST, found, hot.generation(APP))
    assert hot.get(APP, LATEST) is found
    assert hot.get(WEB, LATEST) is None
    assert hot.get(APP, Tag("other")) is None
    assert hot.get(APP, found.digest) is None
    assert hot.get(Repository(APP.name, "docker.io"), LATEST) is None


def test_a_change_forgets_the_whole_repository_and_no_other() -> None:
    hot = HotManifests()
    for repository in (APP, NGINX):
        for reference in (LATEST, Tag("v1"), manifest(1).digest):
            hot.put(repository, reference, manifest(1), hot.generation(repository))
    hot.forget(APP)
    assert [hot.get(APP, reference) for reference in (LATEST, Tag("v1"), manifest(1).digest)] == [None] * 3
    assert hot.get(NGINX, LATEST) == manifest(1)


def test_what_was_read_before_a_change_is_not_kept() -> None:
    hot = HotManifests()
    before = hot.generation(APP)
    hot.forget(APP)
    hot.put(APP, LATEST, manifest("old"), before)
    assert hot.get(APP, LATEST) is None
    hot.put(APP, LATEST, manifest("new"), hot.generation(APP))
    assert hot.get(APP, LATEST) == manifest("new")


def test_a_repository_that_changed_often_is_not_mistaken_for_a_new_one() -> None:
    hot = HotManifests()
    hot.put(APP, LATEST, manifest(1), hot.generation(APP))
    for _ in range(3):
        hot.forget(APP)
        assert hot.get(APP, LATEST) is None


def test_memory_is_bounded_by_the_bytes_and_the_least_used_goes_first() -> None:
    hot = HotManifests(max_bytes=10 * (1000 + 512))
    tags = [Tag(f"v{n}") for n in range(10)]
    for tag in tags:
        hot.put(APP, tag, manifest(str(tag)), 0)
    assert all(hot.get(APP, tag) for tag in tags)  # each has been used once more, in this order
    assert hot.get(APP, tags[0]) is not None
    hot.put(APP, Tag("new"), manifest("new"), 0)
    assert hot.get(APP, tags[0]) is not None
    assert hot.get(APP, tags[1]) is None
    assert hot.get(APP, Tag("new")) is not None


def test_a_manifest_larger_than_all_of_it_is_left_out() -> None:
    hot = HotManifests(max_bytes=4000)
    hot.put(APP, LATEST, manifest(1), 0)
    hot.put(APP, Tag("huge"), manifest(2, 4000), 0)
    assert hot.get(APP, Tag("huge")) is None
    assert hot.get(APP, LATEST) is not None


def test_the_same_again_does_not_count_twice() -> None:
    hot = HotManifests(max_bytes=2 * (1000 + 512))
    hot.put(APP, Tag("other"), manifest(0), 0)
    for _ in range(10):
        hot.put(APP, LATEST, manifest(1), 0)
    assert hot.get(APP, Tag("other")) is not None


def test_a_repository_is_named_by_its_upstream_too() -> None:
    assert Repository(RepositoryName("a/b"), "docker.io") != Repository(RepositoryName("a/b"))
    assert Repository(RepositoryName("a/b"), "docker.io").path == "docker.io/a/b"
    assert str(Repository(RepositoryName("a/b"))) == "a/b"
    assert APP.is_hosted
    assert not NGINX.is_hosted
    assert manifest(1).digest == Digest.of(manifest(1).body)
