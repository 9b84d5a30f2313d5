"""The manifests that are asked for all day, in memory: a warm pull of one costs no thread and no query.

The store tells it of every change (`forget`), before the change is acknowledged, so it never answers with what was.
"""

from collections import defaultdict
from dataclasses import dataclass

from cachetools import LRUCache

from ocispec.digest import Digest
from ocispec.names import Reference
from storage.repository import Repository

_Key = tuple[Repository, Reference]


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest of a repository with its exact bytes. `checked_at` is that of the tag it was asked by."""

    digest: Digest
    media_type: str
    body: bytes
    checked_at: float | None = None


class HotManifests:
    """Least recently used first out, bounded by the bytes of the bodies."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        self._entries: LRUCache[_Key, tuple[int, StoredManifest]] = LRUCache(max_bytes, getsizeof=_weight)
        self._generations: defaultdict[Repository, int] = defaultdict(int)

    def get(self, repository: Repository, reference: Reference) -> StoredManifest | None:
        try:
            generation, manifest = self._entries[repository, reference]
        except KeyError:
            return None
        return manifest if generation == self._generations.get(repository, 0) else None

    def generation(self, repository: Repository) -> int:
        """What to hand to `put`: ask for it before reading, so that a change meanwhile makes the answer void."""
        return self._generations.get(repository, 0)

    def put(self, repository: Repository, reference: Reference, manifest: StoredManifest, generation: int) -> None:
        if generation == self.generation(repository) and _weight((generation, manifest)) <= self._entries.maxsize:
            self._entries[repository, reference] = (generation, manifest)

    def forget(self, repository: Repository) -> None:
        """Something of this repository changed."""
        self._generations[repository] += 1


def _weight(entry: tuple[int, StoredManifest]) -> int:
    return len(entry[1].body) + 512  # the objects around it
