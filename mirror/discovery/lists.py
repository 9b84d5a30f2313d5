"""What is there: tags of a repository, repositories, and what refers to a manifest."""

import asyncio
import json
import logging
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from cachetools import TLRUCache, TTLCache

from mirror.flights import Flights
from mirror.reading import read
from mirror.routing import Place, owner
from mirror.upstream.client import UpstreamClient
from mirror.upstream.errors import UpstreamBroken, UpstreamError, UpstreamRefused
from ocispec import media_types
from ocispec.digest import Digest
from ocispec.documents import count_parts
from ocispec.errors import ManifestUnknown, NameUnknown
from ocispec.names import Tag
from ocispec.pagination import Page
from storage.repository import Repository
from storage.scope import Scope
from storage.store import Store

log = logging.getLogger(__name__)
_EVERYTHING = Page(limit=2**31)
# The pages of one long list are cut from one answer of the upstream: for this long after its first page, and for lists
# of so many tags together. Where it failed, all pages are of what is cached: known of so many repositories.
_PAGING_SECONDS = 60.0
_MAX_REMEMBERED = 400_000
_MAX_FAILING = 10_000
# A list of more tags than this took the upstream several requests. For so long it is its first page's answer, too.
_LONG = 1000
_LONG_SECONDS = 5.0
_FALLBACK_LENGTH = 64
# Of an upstream's list of referrers: fifteen thousand plain ones.
_MAX_PARTS = 200_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list; whether `more` follow; `is_stale` where the upstream could not be asked."""

    names: list[str]
    more: bool
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class _Whole:
    """Every tag of a repository, in order, as they were `at` a time in seconds since the epoch."""

    names: list[str]
    at: float


@dataclass(frozen=True, slots=True)
class Referrers:
    """A referrers index; `filtered` says whether the artifact type was applied to it. After `last` more follow.
    `is_stale`: of what is cached, since the upstream could not be asked."""

    body: bytes
    filtered: bool
    last: Digest | None = None
    is_stale: bool = False


class Lists:
    """Answers content discovery, from the store and from upstreams by host."""

    def __init__(
        self,
        store: Store,
        upstreams: Mapping[str, UpstreamClient],
        scope: Scope,
        clock: Callable[[], float],
    ) -> None:
        self._store, self._upstreams, self._scope, self._clock = store, upstreams, scope, clock
        self._flights = Flights()
        self._paged: TLRUCache[Repository, _Whole] = TLRUCache(
            _MAX_REMEMBERED, lambda _, __, now: now + _PAGING_SECONDS, clock, lambda whole: len(whole.names)
        )
        self._failing: TTLCache[Repository, None] = TTLCache(_MAX_FAILING, _PAGING_SECONDS, clock)

    async def close(self) -> None:
        await self._flights.close()

    async def tags(self, place: Place, page: Page) -> Listed:
        """A page of tags in lexical order. Raises NameUnknown.

        Of an upstream's repository: all that it has and all that is cached; the cached ones alone while it fails.
        """
        repository = self._owner(place)
        if repository.is_hosted:
            return Listed(*await self._store.manifests.tag_page(repository, page))
        whole = await self._whole(repository, page)
        if whole is None:
            return Listed(*await self._store.manifests.tag_page(repository, page), is_stale=True)
        return _cut(whole.names, page)

    def _owner(self, place: Place) -> Repository:
        """Raises NameUnknown for a hosted repository that there is not, too: it has no lists, not even empty ones."""
        repository = owner(place, self._store.repositories)
        if repository.is_hosted and repository not in self._store.repositories:
            raise NameUnknown(place.hint, detail={"name": place.name})
        return repository

    async def _whole(self, repository: Repository, page: Page) -> _Whole | None:
        """The list that a page is cut from; None where the upstream fails and something is cached.

        A first page is the upstream's word of now, or of a moment ago where that word is long; the others go with it.
        Raises NameUnknown, UpstreamError.
        """
        known = self._paged.get(repository)
        if known is not None and (page.last or self._is_new_and_long(known)):
            return known
        if page.last and repository in self._failing:
            return None
        return await self._flights.join(repository, lambda: self._ask(repository))

    def _is_new_and_long(self, whole: _Whole) -> bool:
        return len(whole.names) > _LONG and abs(self._clock() - whole.at) < _LONG_SECONDS

    async def _ask(self, repository: Repository) -> _Whole | None:
        """As `_whole`, of the upstream. Everybody waits for the same: each would sort a hundred thousand otherwise."""
        try:
            whole = _Whole(await self._merged_tags(repository), self._clock())
        except UpstreamError as error:
            self._note_failure(repository, error)
            return None
        self._failing.pop(repository, None)
        if len(whole.names) <= self._paged.maxsize:
            self._paged[repository] = whole
        return whole

    def _note_failure(self, repository: Repository, error: UpstreamError) -> None:
        """Raises it where nothing is cached; as NameUnknown, where the upstream refuses."""
        if repository not in self._store.repositories:
            if isinstance(error, UpstreamRefused):
                raise NameUnknown(str(error)) from error
            raise error
        if repository not in self._failing:
            log.warning("listing cached tags only", extra={"repository": str(repository), "reason": str(error)})
        self._failing[repository] = None

    async def _merged_tags(self, repository: Repository) -> list[str]:
        remote = await self._upstreams[repository.upstream].tags(repository.name)
        if remote is None and repository not in self._store.repositories:
            raise NameUnknown(detail={"name": repository.path})
        cached, _ = await self._store.manifests.tag_page(repository, _EVERYTHING)
        return await asyncio.to_thread(_merged, remote or [], cached)

    async def repositories(self, page: Page) -> Listed:
        """A page of the repositories that can be pulled from, in lexical order."""
        return Listed(*await self._store.catalog(page, self._scope))

    async def referrers(
        self, place: Place, subject: Digest, artifact_type: str | None, after: Digest | None
    ) -> Referrers:
        """What refers to a manifest. An upstream's repository: what the upstream says, never an empty list of our own.

        (Clients believe an empty list and then do not look for the fallback tag: it would hide every signature.) What
        is hosted, or would be, has always a list, if an empty one: a registry that has this API must not answer 404
        (distribution-spec, "Listing Referrers").
        Raises NameUnknown, ManifestUnknown where the upstream has no such list, and UpstreamError where it fails and
        nothing that refers to it is cached.
        """
        hides = place.hidden is not None  # by a rule: then it is as if there were nothing
        repository = self._owner(place) if hides else owner(place, self._store.repositories)
        if repository.is_hosted:
            return await self._kept_referrers(repository, subject, artifact_type, after)
        try:
            listed = await self._remote_referrers(repository, subject, artifact_type)
            if listed is not None:
                return listed
        except UpstreamRefused as error:
            raise ManifestUnknown(str(error)) from error
        except UpstreamError as error:
            return await self._stale_referrers(repository, subject, artifact_type, after, error)
        raise ManifestUnknown("the upstream keeps no list of referrers for this", detail={"digest": str(subject)})

    async def _kept_referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None, after: Digest | None
    ) -> Referrers:
        found, more = await self._store.manifests.referrers(repository, subject, artifact_type, after)
        body = _index([entry.to_json() for entry in found])
        return Referrers(body, artifact_type is not None, found[-1].digest if more else None)

    async def _stale_referrers(
        self,
        repository: Repository,
        subject: Digest,
        artifact_type: str | None,
        after: Digest | None,
        failure: UpstreamError,
    ) -> Referrers:
        """What is cached of a list that the upstream cannot give now. Raises `failure` where that is nothing: an empty
        list would say that there are no signatures, and that is not known.

        Where the list was kept under the fallback tag, it is cached there as its upstream had it last. So the answer is
        then what it was: that there is no other list.
        """
        if await self._store.manifests.find(repository, _fallback_tag(subject)) is not None:
            raise ManifestUnknown(
                "the upstream keeps no list of referrers but its tag", detail={"digest": str(subject)}
            )
        kept, _ = await self._store.manifests.referrers(repository, subject, artifact_type, after)
        if not kept:
            raise failure
        facts = {"repository": str(repository), "digest": str(subject), "reason": str(failure)}
        log.warning("listing cached referrers only", extra=facts)
        return replace(await self._kept_referrers(repository, subject, artifact_type, after), is_stale=True)

    async def _remote_referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> Referrers | None:
        async def ask() -> Referrers | None:
            body = await self._upstreams[repository.upstream].referrers(repository.name, subject, artifact_type)
            return None if body is None else await read(partial(_filtered, artifact_type=artifact_type), body)

        return await self._flights.join((repository, subject, artifact_type), ask)


def _cut(names: list[str], page: Page) -> Listed:
    start = bisect_right(names, page.last) if page.last else 0
    end = start + page.limit
    return Listed(names[start:end], more=end < len(names))


def _merged(some: list[str], others: list[str]) -> list[str]:
    """Two lists that are in order already, most often: quick to sort, where a set of them would not be."""
    return list(dict.fromkeys(sorted([*some, *others])))


def _fallback_tag(subject: Digest) -> Tag:
    """Where a registry without a referrers API has the list (distribution-spec, "Referrers Tag Schema")."""
    return Tag(f"{subject.algorithm}-{subject.hex[:_FALLBACK_LENGTH]}")


def _index(manifests: list[dict[str, object]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": manifests}).encode()


def _filtered(body: bytes, artifact_type: str | None) -> Referrers:
    """The upstream's list with the filter applied, whether it has applied it or not. Raises UpstreamBroken."""
    if count_parts(body) > _MAX_PARTS:
        raise UpstreamBroken("the upstream's list of referrers has too many parts")
    try:
        manifests = json.loads(body, parse_constant=_refuse)["manifests"]
        if not isinstance(manifests, list) or not all(isinstance(entry, dict) for entry in manifests):
            raise TypeError
        if artifact_type is None:
            return Referrers(body, filtered=False)
        kept = [entry for entry in manifests if entry.get("artifactType") == artifact_type]
        return Referrers(_index(kept), filtered=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UpstreamBroken("the upstream's list of referrers cannot be read") from None


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
