"""Requests to one endpoint of an upstream: its turn, its redirects, its challenges.

Redirects are followed by our own loop, which sends credentials to the upstream's own origin only and looks at every
address before it connects (mirror/upstream/trust.py has the rules). An error's text never carries a URL: those of
redirects are signed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import ClientResponse, ClientSession
from aiohttp.hdrs import AUTHORIZATION, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE
from multidict import istr
from yarl import URL

from mirror import buffers
from mirror.config import Upstream
from mirror.upstream.answer import Answer
from mirror.upstream.breaker import Breaker
from mirror.upstream.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamLoginRefused,
    UpstreamNoLogin,
    UpstreamOffline,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamUnavailable,
)
from mirror.upstream.identity import Identity, identities_of, in_turn
from mirror.upstream.limits import Kind, believed
from mirror.upstream.line import Rank, Want
from mirror.upstream.pace import Pace
from mirror.upstream.record import Record
from mirror.upstream.sessions import Sessions
from mirror.upstream.state import EndpointState
from mirror.upstream.translation import mapped
from mirror.upstream.trust import follow, same_origin
from ocispec import token
from ocispec.limits import parse_budget, parse_retry_after

log = logging.getLogger(__name__)

_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 5

_MOST_BUFFERED = 2**21


class Transport:
    """Sends requests to one endpoint, at the pace of its upstream. Make it inside a running loop; `close` it in the
    end."""

    def __init__(self, config: Upstream, base: str, pace: Pace, record: Record, clock: Callable[[], float]) -> None:
        self.base = URL(base)
        self._config, self._pace, self._record = config, pace, record
        self._identities = identities_of(config, self.base, self._fetch_token)
        self._sessions = Sessions(config, self.base)
        self.breaker = Breaker(config.host, self.base.authority, self._probe, clock)

    async def close(self) -> None:
        await self.breaker.close()
        for identity in self._identities:
            await identity.auth.close()
        await self._sessions.close()

    def url(self, place: str) -> URL:
        """Of a path, with its query."""
        return URL(f"{self.base.origin()}{place}", encoded=True)

    @property
    def state(self) -> EndpointState:
        accounts = tuple(identity.state for identity in self._identities)
        breaker = self.breaker
        return EndpointState(str(self.base), breaker.is_open, breaker.is_known, breaker.reason, breaker.since, accounts)

    @asynccontextmanager
    async def request(
        self,
        kind: Kind,
        method: str,
        place: str,
        scope: str,
        headers: Mapping[istr, str] | None = None,
        want: Want | None = None,
    ) -> AsyncIterator[Answer]:
        """The answer at the end of challenges and redirects: 2xx, 404 or 416. Everything else raises UpstreamError.

        It waits for its turn first, and has it until the context ends. `want` says who waits, if not a client for a
        short answer.
        """
        want = want or Want(Rank.QUESTION)
        try:
            self._admit(kind, want)
            async with self._pace.slot(want):
                askers = self._admit(kind, want)  # again: that may have taken a while
                question = _Question(kind, method, self.url(place), scope, headers or {}, want.is_extra)
                async with self._asked(question, askers, want) as answer:
                    yield answer
        except UpstreamError as error:
            error.upstream = self._config.host
            raise

    def _admit(self, kind: Kind, want: Want) -> Sequence[Identity]:
        """Who may ask. Raises UpstreamError where nobody may, or the endpoint is not worth asking."""
        if self._config.offline:
            raise UpstreamOffline("this upstream is switched off (offline)")
        # Whoever asks where a tag points has a copy of it: that is no reason to probe.
        self.breaker.admit(urgent=kind is not Kind.TAG and not want.is_ahead)
        return in_turn(self._identities, kind, ahead=want.is_extra)

    @asynccontextmanager
    async def _asked(self, question: "_Question", askers: Sequence[Identity], want: Want) -> AsyncIterator[Answer]:
        """The answer while it is read; how that ended is noted."""
        try:
            response = await self._answer(question, askers)
            try:
                yield Answer(response, want, self._pace, self._elsewhere(response.url))
            finally:
                response.release()
        except UpstreamError as error:
            self._record.failed(question.kind, error)
            raise
        self._record.ended(question.kind, response.status)

    async def _answer(self, question: "_Question", askers: Sequence[Identity]) -> ClientResponse:
        """One that is of use; the next account asks where one is told to wait."""
        *others, last = askers
        for identity in others:
            try:
                return await self._answer_to(identity, question)
            except UpstreamRateLimited as error:
                facts = {"upstream": self._config.host, "account": identity.name, "reason": str(error)}
                log.info("asking as the next account", extra=facts)
        return await self._answer_to(last, question)

    async def _answer_to(self, identity: Identity, question: "_Question") -> ClientResponse:
        try:
            response = await self._heard(identity, question)
            if same_origin(response.url, self.base):
                self._note_budget(identity, response)
                return _checked(response, redirected=False)
        except UpstreamRateLimited as error:
            self._note_limit(identity, question, error.retry_after or 0.0)
            raise
        # The account is not known where a redirect has led to: a 429 of that place is for this request alone.
        return _checked(response, redirected=True)

    async def _heard(self, identity: Identity, question: "_Question") -> ClientResponse:
        """An answer, whatever it says; that there is one, or none, is told to the breaker."""
        try:
            response = await self._send(identity, question.method, question.url, question.scope, question.headers)
        except UpstreamUnavailable as error:
            self.breaker.suspect(str(error))
            raise
        except UpstreamNoLogin:
            raise  # before anything was asked
        except UpstreamError:
            self.breaker.heard()
            raise
        self.breaker.answered()
        return response

    def _note_limit(self, identity: Identity, question: "_Question", seconds: float) -> None:
        """One line when it begins, and not one for each request."""
        is_known = identity.limits.wait(question.kind, ahead=question.is_extra) > 0
        identity.limits.limited(question.kind, seconds, ahead=question.is_extra)
        facts: dict[str, object] = {"upstream": self._config.host, "account": identity.name, "kind": question.kind}
        level = logging.DEBUG if is_known else logging.INFO if question.is_extra else logging.WARNING
        log.log(level, "an upstream limits our requests", extra={**facts, "seconds": round(seconds, 1)})

    def _note_budget(self, identity: Identity, response: ClientResponse) -> None:
        budget = parse_budget(response.headers)
        if budget is not None and identity.limits.note(budget):
            facts: dict[str, object] = {"upstream": self._config.host, "account": identity.name}
            facts |= {"source": budget.source, "left": budget.remaining, "of": budget.limit}
            log.warning("the budget of pulls is nearly spent", extra=facts)

    @property
    def is_scarce(self) -> bool:
        """Whether every account's budget of pulls is down to the reserve, leaving out those that may not pull now."""
        limits = [identity.limits for identity in self._identities if not identity.limits.wait(Kind.MANIFEST)]
        return bool(limits) and all(one.is_scarce for one in limits)

    @property
    def may_fetch_ahead(self) -> bool:
        """Whether it answers, and has not told us to ask for fewer blobs."""
        limits = [identity.limits for identity in self._identities]
        return not self.breaker.is_open and any(not one.wait(Kind.BLOB, ahead=True) for one in limits)

    async def _probe(self) -> None:
        (await self._send(self._identities[0], "GET", self.base / "v2" / "", "", {})).release()

    async def _send(
        self, identity: Identity, method: str, url: URL, scope: str, headers: Mapping[istr, str]
    ) -> ClientResponse:
        """Follow redirects, a new challenge at most once; the response is the caller's to release."""
        authorization = await identity.auth.header(scope)
        challenged, own = False, True
        for _ in range(_MAX_REDIRECTS + 2):
            # Never again once a redirect has led away, not even back here: to where is somebody else's choice then.
            own = own and same_origin(url, self.base)
            sent = {**headers, **({AUTHORIZATION: authorization} if own and authorization else {})}
            response = await self._ask(self._sessions.to(url), method, url, sent, self._buffer)
            if response.status == 401 and own and not challenged:
                challenged = True
                asked = response.headers.getall(WWW_AUTHENTICATE, [])
                response.release()
                authorization = await identity.auth.answer(scope, asked, authorization)
            elif response.status in _REDIRECTS:
                location = response.headers.get(LOCATION, "")
                response.release()
                url = follow(url, location)
            else:
                return response
        raise UpstreamBroken("the upstream redirects without end")

    def _elsewhere(self, url: URL) -> str:
        """The host, where it is not the upstream's own."""
        return "" if same_origin(url, self.base) else url.host_port_subcomponent or ""

    @property
    def _buffer(self) -> int:
        """What one answer may buffer. Where bytes are rationed, no more than comes in a quarter of a second."""
        rationed = self._pace.bytes_per_second
        most = max(buffers.LEAST, min(_MOST_BUFFERED, rationed // 4)) if rationed else _MOST_BUFFERED
        return buffers.share(self._pace.under_way, most)

    async def _ask(
        self,
        session: ClientSession,
        method: str,
        url: URL,
        headers: Mapping[istr, str],
        buffer: int = buffers.LEAST,
        form: Mapping[str, str] | None = None,
    ) -> ClientResponse:
        """One request, up to the head of its answer. sock_read alone would let a head trickle in for ever."""
        with mapped(self._elsewhere(url)):
            async with asyncio.timeout(self._config.connect_timeout + self._config.read_timeout):
                return await session.request(
                    method,
                    url,
                    headers=headers,
                    data=form,
                    allow_redirects=False,
                    read_bufsize=buffer,
                    proxy=self._config.proxy or None,
                )

    async def _fetch_token(self, url: URL, authorization: str | None, form: Mapping[str, str] | None) -> bytes:
        headers = {AUTHORIZATION: authorization} if authorization else {}
        # No redirect of a token request is followed: it would take the password along (go-containerregistry#2292).
        response = await self._ask(self._sessions.named, "POST" if form else "GET", url, headers, form=form)
        try:
            if response.status in (400, 401, 403, 404):
                if authorization or form:
                    # Not "refused": what is cached stays good while the operator's password is wrong.
                    raise UpstreamLoginRefused("the upstream's token service refuses the configured login")
                raise UpstreamRefused("the upstream gives no token to anonymous clients")
            _raise_for(response, redirected=False)
            return await Answer(response, Want(Rank.QUESTION), self._pace).whole(token.MAX_BYTES)
        finally:
            response.release()


@dataclass(frozen=True, slots=True)
class _Question:
    """A request as it is put to one account after the other. `is_extra`: everybody would have been served
    without it, when it was sent."""

    kind: Kind
    method: str
    url: URL
    scope: str
    headers: Mapping[istr, str]
    is_extra: bool


def _checked(response: ClientResponse, *, redirected: bool) -> ClientResponse:
    """The response, if it is of use; else it is let go, and said why."""
    try:
        _raise_for(response, redirected=redirected)
    except UpstreamError:
        response.release()
        raise
    return response


def _raise_for(response: ClientResponse, *, redirected: bool) -> None:
    status = response.status
    if 200 <= status < 300 or status in (404, 416):
        return
    if status == 429:
        wait = parse_retry_after(response.headers.get(RETRY_AFTER), datetime.now(UTC))
        raise UpstreamRateLimited("the upstream limits our requests (429)", believed(wait))
    if redirected and status in (400, 401, 403):
        # A signed address that has expired, most often: asking the upstream again gives a new one.
        raise UpstreamUnavailable(f"the place that the upstream redirects to refuses the request ({status})")
    if status in (401, 403, 451):
        raise UpstreamRefused(f"the upstream does not let this mirror read it ({status})")
    if status >= 500:
        raise UpstreamUnavailable(f"the upstream has a problem of its own ({status})")
    raise UpstreamBroken(f"the upstream gave an answer that makes no sense here ({status})")
