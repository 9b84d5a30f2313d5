"""What people are shown of the store. Times are seconds since the epoch, sizes bytes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ocispec.digest import Digest
from ocispec.names import Tag
from storage.repository import Repository


class Order(StrEnum):
    """What comes first in a list of repositories."""

    FITTING = "fitting"  # the best answer to what was looked for
    NAME = "name"
    PULLS = "pulls"
    RECENT = "recent"  # what was pulled last


@dataclass(frozen=True, slots=True)
class Hit:
    """A repository that was looked for. Its description is what one of its images says."""

    repository: Repository
    tags: int
    pulls: int
    last_pulled_at: float | None
    description: str


@dataclass(frozen=True, slots=True)
class Search:
    """A page of what was found, and how many there are. `named` are those that were asked about by name, and fit."""

    hits: Sequence[Hit]
    total: int
    named: Collection[Repository]


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """Times are seconds since the epoch; `size` is what its manifests and blobs have in all, shared or not."""

    repository: Repository
    tags: int
    size: int
    pulls: int
    created_at: float
    last_pulled_at: float | None


@dataclass(frozen=True, slots=True)
class TagFacts:
    """A tag and what it points at. `size` is what a pull of all its platforms moves, as far as that is known here;
    `checked_at` is None where it was pushed."""

    name: Tag
    digest: Digest
    media_type: str
    artifact_type: str | None
    size: int
    platforms: tuple[str, ...]
    updated_at: float
    checked_at: float | None
    pulls: int
    last_pulled_at: float | None


@dataclass(frozen=True, slots=True)
class Move:
    """A tag that moved: `before` is None where it is new, `after` where it is gone. `cause` is push, pull or delete."""

    id: int
    tag: Tag
    at: float
    before: Digest | None
    after: Digest | None
    cause: str


@dataclass(frozen=True, slots=True)
class Stored:
    """How many repositories and tags a scope has, and the bytes kept in all. `referred` counts what several
    repositories have once for each of them."""

    repositories: int
    tags: int
    stored: int
    referred: int

    @property
    def ratio(self) -> float:
        """How many times as much is referred to as is stored; 0 where nothing is."""
        return self.referred / self.stored if self.stored else 0.0


@dataclass(frozen=True, slots=True)
class Sharing:
    """How many repositories have a blob, and those that had it first."""

    count: int
    repositories: tuple[Repository, ...]


@dataclass(frozen=True, slots=True)
class Pulls:
    """How often a manifest was pulled since it was last written down, and when last (seconds since the epoch)."""

    repository: Repository
    digest: Digest
    count: int
    at: float
