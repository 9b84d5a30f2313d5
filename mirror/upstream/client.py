"""One upstream registry, in the API's own verbs. None means: it says that there is no such thing.

Requests that a client waits for are repeated where that can help (mirror/upstream/retry.py). All of them wait for
their turn, if the operator has set limits (mirror/upstream/pace.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp.hdrs import (
    ACCEPT,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    IF_RANGE,
    RANGE,
)
from multidict import istr

from mirror.config import Upstream
from mirror.upstream.answer import Answer, check_plain
from mirror.upstream.endpoints import Endpoints
from mirror.upstream.errors import UpstreamBroken, UpstreamRateLimited, UpstreamTimedOut
from mirror.upstream.limits import Kind
from mirror.upstream.line import Rank, Want
from mirror.upstream.state import UpstreamState
from mirror.upstream.tags import all_tags
from mirror.upstream.transport import Transport
from ocispec import endpoints, manifest, media_types
from ocispec.digest import Digest
from ocispec.errors import DigestInvalid
from ocispec.names import Reference, RepositoryName
from ocispec.ranges import ContentRange, parse_content_range
from ocispec.token import pull_scope

_DIGEST_HEADER = "Docker-Content-Digest"
_MAX_LIST_BYTES = 4 * 2**20
# Of a whole list of tags: everybody who asks for it waits for the same one.
_LISTING_SECONDS = 60.0
# To an upstream that limits how many connections there are, each blob would begin with a 429.
_ONE_CONNECTION_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class RemoteManifest:
    """A manifest as the upstream sent it; `digest` is what it claims, to be checked against the body."""

    body: bytes
    content_type: str
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class RemoteHead:
    """A blob that the upstream has; `size` is None where it does not say how long it is."""

    size: int | None


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A blob that is being received from byte `start` on, up to the one before `end`. `total` is its whole length; None
    where it is not said."""

    start: int
    end: int | None
    total: int | None
    etag: str | None
    batches: AsyncIterator[Sequence[bytes]]
    endpoint: int  # which of the upstream's it comes from


class UpstreamClient:
    """Reads from one upstream. Make it inside a running loop; `close` it in the end. `clock` is the time of day."""

    def __init__(self, config: Upstream, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self._endpoints = Endpoints(config, clock)
        self._one_until = 0.0

    async def close(self) -> None:
        await self._endpoints.close()

    def suspect(self, reason: str) -> None:
        """Whoever waited for an answer has given up."""
        self._endpoints.suspect(reason)

    @property
    def is_asked(self) -> bool:
        """Whether a question would be put to it."""
        return self._endpoints.are_asked

    @property
    def may_fetch_ahead(self) -> bool:
        """Whether blobs may be asked for that nobody waits for."""
        return self._endpoints.may_fetch_ahead

    @property
    def connections_per_blob(self) -> int:
        """How many a long blob may come by now."""
        return self.config.connections_per_blob if time.monotonic() >= self._one_until else 1

    def keep_to_one_connection(self) -> None:
        """For a while: it has answered 429 to one more for the same blob."""
        self._one_until = time.monotonic() + _ONE_CONNECTION_SECONDS

    @property
    def received(self) -> int:
        """Bytes of bodies since the start."""
        return self._endpoints.received

    @property
    def state(self) -> UpstreamState:
        """How it is doing now."""
        return self._endpoints.state

    def spare(self) -> None:
        """Raises UpstreamRateLimited where the budget of pulls is better kept for what is not here at all."""
        if self._endpoints.are_scarce:
            raise UpstreamRateLimited("the budget of pulls is nearly spent, and kept for what is not here at all")

    async def head_manifest(
        self, repository: RepositoryName, reference: Reference, want: Want | None = None
    ) -> Digest | None:
        """Where a tag points, which Docker Hub tells for free. Raises UpstreamBroken where the answer does not say."""

        async def ask(endpoint: Transport) -> Digest | None:
            place = endpoints.manifest(repository, reference)
            async with endpoint.request(Kind.TAG, "HEAD", place, pull_scope(repository), _ACCEPT, want) as response:
                if response.status == 404:
                    return None
                digest = _claimed(response)
                if digest is None:
                    raise UpstreamBroken("the upstream does not say which digest the tag has")
                return digest

        return await self._endpoints.first(Kind.TAG, ask)  # once: whoever revalidates has a copy to fall back on

    async def get_manifest(
        self, repository: RepositoryName, reference: Reference, want: Want | None = None
    ) -> RemoteManifest | None:
        async def ask(endpoint: Transport) -> RemoteManifest | None:
            place = endpoints.manifest(repository, reference)
            async with endpoint.request(Kind.MANIFEST, "GET", place, pull_scope(repository), _ACCEPT, want) as response:
                if response.status == 404:
                    return None
                check_plain(response)
                body = await response.whole(manifest.MAX_BYTES)
                return RemoteManifest(body, response.headers.get(CONTENT_TYPE, ""), _claimed(response))

        return await self._endpoints.persistently(Kind.MANIFEST, ask)

    async def head_blob(
        self, repository: RepositoryName, digest: Digest, want: Want | None = None
    ) -> RemoteHead | None:
        """Whether the upstream has this blob in this repository."""

        async def ask(endpoint: Transport) -> RemoteHead | None:
            place = endpoints.blob(repository, digest)
            async with endpoint.request(Kind.BLOB, "HEAD", place, pull_scope(repository), want=want) as response:
                return RemoteHead(_length(response)) if response.status == 200 else None

        return await self._endpoints.persistently(Kind.BLOB, ask)

    @asynccontextmanager
    async def open_blob(
        self,
        repository: RepositoryName,
        digest: Digest,
        start: int = 0,
        last: int | None = None,
        etag: str | None = None,
        endpoint: int = 0,
        want: Want | None = None,
    ) -> AsyncIterator[RemoteBlob | None]:
        """A blob from byte `start` on, to its end or to byte `last`; all of it where the upstream knows no parts.

        `endpoint` is the one to begin with: the number of one that broke off, and one more. With `etag`, only if it is
        still the same entity (If-Range). `want` says who waits, if not a client. Raises UpstreamError, also while it is
        read.
        """
        headers = _ranged(start, last, etag) if start or last is not None else {}
        async with self._open(repository, digest, headers, want or Want(Rank.BLOB), endpoint) as (response, which):
            if response.status == 404:
                yield None
            else:
                check_plain(response)
                first, end, total = _extent(response, start, last)
                yield RemoteBlob(first, end, total, response.headers.get(ETAG), response.batches(), which)

    @asynccontextmanager
    async def open_part(
        self,
        repository: RepositoryName,
        digest: Digest,
        part: ContentRange,
        etag: str | None = None,
        endpoint: int = 0,
        want: Want | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Just this part of a blob, of the entity with `etag` if that is given. `endpoint` is as in `open_blob`;
        `want` says who waits, if not a client for just this part.

        Raises UpstreamError, also while it is read; UpstreamBroken for anything else.
        """
        headers = _ranged(part.first, part.last, etag)
        async with self._open(repository, digest, headers, want or Want(Rank.PART), endpoint) as (response, _):
            check_plain(response)
            is_part = response.status == 206 and _length(response) in (None, part.length)
            if not is_part or parse_content_range(response.headers.get(CONTENT_RANGE, "")) != part:
                raise UpstreamBroken("the upstream sends another part than was asked for")
            if etag and response.headers.get(ETAG, etag) != etag:
                raise UpstreamBroken("the upstream sends a part of something else")
            yield response.chunks()

    @asynccontextmanager
    async def _open(
        self, repository: RepositoryName, digest: Digest, headers: Mapping[istr, str], want: Want, begin: int = 0
    ) -> AsyncIterator[tuple[Answer, int]]:
        """The first answer to a GET of a blob, and which endpoint gave it."""
        place, scope = endpoints.blob(repository, digest), pull_scope(repository)
        async with AsyncExitStack() as stack:

            async def ask(endpoint: Transport) -> tuple[Answer, int]:
                request = endpoint.request(Kind.BLOB, "GET", place, scope, headers, want)
                return await stack.enter_async_context(request), self._endpoints.all.index(endpoint)

            was_ahead = want.is_ahead
            try:
                found = await self._endpoints.first(Kind.BLOB, ask, begin)
            except UpstreamRateLimited:
                if want.is_ahead or not was_ahead:
                    raise
                found = await self._endpoints.first(Kind.BLOB, ask, begin)  # for the client that has come meanwhile
            yield found

    async def tags(self, repository: RepositoryName) -> list[str] | None:
        """Every tag, all pages, from one endpoint. Raises UpstreamBroken rather than leave some out, UpstreamTimedOut
        where the end does not come in time."""
        try:
            async with asyncio.timeout(_LISTING_SECONDS):
                return await self._endpoints.first(Kind.LIST, lambda endpoint: all_tags(endpoint, repository))
        except TimeoutError:
            raise UpstreamTimedOut("the upstream's list of tags takes too long") from None

    async def referrers(self, repository: RepositoryName, subject: Digest, artifact_type: str | None) -> bytes | None:
        """The upstream's referrers index as it is; None where it has no such endpoint."""

        async def ask(endpoint: Transport) -> bytes | None:
            place = endpoints.referrers(repository, subject, artifact_type)
            headers = {ACCEPT: media_types.OCI_INDEX}
            async with endpoint.request(Kind.LIST, "GET", place, pull_scope(repository), headers) as response:
                if response.status == 404:
                    return None
                check_plain(response)
                return await response.whole(_MAX_LIST_BYTES)

        return await self._endpoints.persistently(Kind.LIST, ask)


_ACCEPT = {ACCEPT: media_types.ACCEPT}


def _claimed(response: Answer) -> Digest | None:
    try:
        return Digest.parse(response.headers.get(_DIGEST_HEADER, ""))
    except DigestInvalid:
        return None


def _ranged(start: int, last: int | None, etag: str | None) -> dict[istr, str]:
    headers = {RANGE: f"bytes={start}-{'' if last is None else last}"}
    return headers | {IF_RANGE: etag} if etag else headers


def _extent(response: Answer, start: int, last: int | None) -> tuple[int, int | None, int | None]:
    """Where what is coming begins and ends, and its whole length."""
    if response.status == 206:
        extent = parse_content_range(response.headers.get(CONTENT_RANGE, ""))
        is_asked = extent is not None and extent.last == (extent.size - 1 if last is None else last)
        if extent is None or not is_asked or extent.first != start or (not start and last is None):
            raise UpstreamBroken("the upstream sends another part than was asked for")
        return start, extent.last + 1, extent.size
    if response.status != 200:
        raise UpstreamBroken(f"the upstream gave an answer that makes no sense here ({response.status})")
    return 0, _length(response), _length(response)


def _length(response: Answer) -> int | None:
    text = response.headers.get(CONTENT_LENGTH, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
