"""What is there: tags of a repository, repositories, and what refers to a manifest."""

import json
import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirror.flights import Flights
from mirror.routing import Place, owner
from mirror.upstream.client import UpstreamClient
from mirror.upstream.errors import UpstreamBroken, UpstreamError, UpstreamRefused
from ocispec import media_types
from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.errors import ManifestUnknown, NameUnknown
from ocispec.names import Tag, is_tag
from ocispec.pagination import Page
from storage.repository import Repository
from storage.store import Store

log = logging.getLogger(__name__)
_EVERYTHING = Page(limit=2**31)


@dataclass(frozen=True, slots=True)
class Referrers:
    """A referrers index; `filtered` says whether the artifact type was applied to it. After `last` more follow."""

    body: bytes
    filtered: bool
    last: Digest | None = None


class Lists:
    """Answers content discovery, from the store and from upstreams by host."""

    def __init__(self, store: Store, upstreams: Mapping[str, UpstreamClient]) -> None:
        self._store, self._upstreams = store, upstreams
        self._flights = Flights()

    async def close(self) -> None:
        await self._flights.close()

    async def tags(self, place: Place, page: Page) -> tuple[list[str], bool]:
        """A page of tags in lexical order, and whether more follow. Raises NameUnknown.

        Of an upstream's repository: all that it has and all that is cached; the cached ones alone while it fails.
        """
        repository = owner(place, self._store.repositories)
        known = repository in self._store.repositories
        if repository.is_hosted:
            if not known:
                raise NameUnknown(place.hint, detail={"name": place.name})
            return await self._store.manifests.tag_page(repository, page)
        return _cut(await self._merged_tags(repository, known=known), page)

    async def _merged_tags(self, repository: Repository, *, known: bool) -> list[str]:
        try:
            upstream = self._upstreams[repository.upstream]
            remote = await self._flights.join(repository, lambda: upstream.tags(repository.name))
        except UpstreamError as error:
            if not known:
                if isinstance(error, UpstreamRefused):
                    raise NameUnknown(str(error)) from error
                raise
            log.warning("listing cached tags only", extra={"repository": str(repository), "reason": str(error)})
            remote = []
        if remote is None and not known:
            raise NameUnknown(detail={"name": repository.path})
        cached, _ = await self._store.manifests.tag_page(repository, _EVERYTHING)
        return sorted({*(remote or []), *cached})

    async def repositories(self, page: Page) -> tuple[list[str], bool]:
        """A page of the repositories that can be asked for, in lexical order, and whether more follow."""
        return await self._store.catalog(page, self._upstreams)

    async def referrers(
        self, place: Place, subject: Digest, artifact_type: str | None, after: Digest | None
    ) -> Referrers:
        """What refers to a manifest. An upstream's repository: what the upstream says, never an empty list of our own.

        (Clients believe an empty list and then do not look for the fallback tag: it would hide every signature.)
        The cached ones alone while it fails. Raises ManifestUnknown where the upstream has no such list.
        """
        repository = owner(place, self._store.repositories)
        if repository.is_hosted:
            found, more = await self._store.manifests.referrers(repository, subject, artifact_type, after)
            return _listed(found, more, artifact_type)
        try:
            listed = await self._remote_referrers(repository, subject, artifact_type)
            if listed is not None:
                return _filtered(listed, artifact_type)
        except UpstreamRefused as error:
            raise ManifestUnknown(str(error)) from error
        except UpstreamError as error:
            found, more = await self._store.manifests.referrers(repository, subject, artifact_type, after)
            if not found and not await self._has_fallback(repository, subject):
                raise
            log.warning("listing cached referrers only", extra={"repository": str(repository), "reason": str(error)})
            if not found:
                raise ManifestUnknown(str(error)) from error
            return _listed(found, more, artifact_type)
        raise ManifestUnknown("the upstream keeps no list of referrers for this", detail={"digest": str(subject)})

    async def _has_fallback(self, repository: Repository, subject: Digest) -> bool:
        """Whether the tag is here that clients look for where there is no list (distribution-spec, "Referrers Tag
        Schema")."""
        tag = f"{subject.algorithm}-{subject.hex}"
        return is_tag(tag) and await self._store.manifests.find(repository, Tag(tag)) is not None

    async def _remote_referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> bytes | None:
        async def ask() -> bytes | None:
            return await self._upstreams[repository.upstream].referrers(repository.name, subject, artifact_type)

        return await self._flights.join((repository, subject, artifact_type), ask)


def _cut(names: list[str], page: Page) -> tuple[list[str], bool]:
    start = bisect_right(names, page.last) if page.last else 0
    end = start + page.limit
    return names[start:end], end < len(names)


def _listed(found: Sequence[Descriptor], more: bool, artifact_type: str | None) -> Referrers:
    body = _index([entry.to_json() for entry in found])
    return Referrers(body, artifact_type is not None, found[-1].digest if more else None)


def _index(manifests: list[dict[str, object]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": manifests}).encode()


def _filtered(body: bytes, artifact_type: str | None) -> Referrers:
    """The upstream's list with the filter applied, whether it has applied it or not."""
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
