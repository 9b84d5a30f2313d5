"""Requests to one upstream: its sessions, its redirects, its challenges. The only aiohttp client in the project.

Redirects are followed by our own loop, which sends credentials to the upstream's own origin only and looks at every
address before it connects (mirror/upstream/trust.py has the rules). An error's text never carries a URL: those of
redirects are signed.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Literal

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    ThreadedResolver,
)
from aiohttp.hdrs import ACCEPT_ENCODING, AUTHORIZATION, LOCATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE
from multidict import istr
from yarl import URL

from mirror import __version__, buffers
from mirror.config import Upstream
from mirror.errors import ConfigError
from mirror.upstream import health
from mirror.upstream.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamLoginRefused,
    UpstreamOffline,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from mirror.upstream.health import Health
from mirror.upstream.identity import Identity, identities_of, in_turn
from mirror.upstream.limits import Kind
from mirror.upstream.resolver import NotPublic, PublicResolver
from mirror.upstream.trust import follow, is_named, is_public, same_origin
from ocispec import token
from ocispec.limits import parse_budget, parse_retry_after

log = logging.getLogger(__name__)

_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 5
# A manifest, a list or a token that is not here after this time comes too slowly to wait for.
_BODY_SECONDS = 60.0
# A registry that takes longer than this to say hello is not there.
_PROBE_SECONDS = 5.0

_MOST_BUFFERED = 2**21


class Transport:
    """Sends requests to one endpoint of an upstream. Make it inside a running loop; `close` it in the end."""

    def __init__(self, config: Upstream, base: str) -> None:
        self.base = URL(base)
        self.health = Health()
        self._config = config
        self._under_way = 0
        self._identities = identities_of(config, self.base, self._fetch_token)
        tls = _tls(config)
        self._named = _session(config, ThreadedResolver(), tls)
        # A proxy is reached wherever it is, and looks up names itself.
        self._public = _session(config, ThreadedResolver() if config.proxy else PublicResolver(), tls)
        self._probing: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        for identity in self._identities:
            await identity.auth.close()
        await self._named.close()
        await self._public.close()

    def url(self, place: str | URL) -> URL:
        return place if isinstance(place, URL) else URL(f"{self.base.origin()}{place}", encoded=True)

    @asynccontextmanager
    async def request(
        self, kind: Kind, method: str, place: str | URL, scope: str, headers: Mapping[istr, str] | None = None
    ) -> AsyncIterator[ClientResponse]:
        """The answer at the end of challenges and redirects: 2xx, 404 or 416. Everything else raises UpstreamError.

        `place` is a path, or a whole URL that an earlier answer gave.
        """
        self._under_way += 1
        try:
            response = await self._answer(kind, method, self.url(place), scope, dict(headers or {}))
            with _mapped():
                async with response:
                    yield response
        except UpstreamError as error:
            error.upstream = self._config.host
            raise
        finally:
            self._under_way -= 1

    async def _answer(self, kind: Kind, method: str, url: URL, scope: str, headers: dict[istr, str]) -> ClientResponse:
        """One that is of use, if the endpoint is worth asking; the next account asks where one is told to wait."""
        if self._config.offline:
            raise UpstreamOffline("this upstream is switched off (offline)")
        if self.health.is_open:
            self._wanted.set()
        self.health.admit()
        *others, last = in_turn(self._identities, kind)
        for identity in others:
            try:
                return await self._answer_to(identity, kind, method, url, scope, headers)
            except UpstreamRateLimited as error:
                facts = {"upstream": self._config.host, "account": identity.name, "reason": str(error)}
                log.info("asking as the next account", extra=facts)
        return await self._answer_to(last, kind, method, url, scope, headers)

    async def _answer_to(
        self, identity: Identity, kind: Kind, method: str, url: URL, scope: str, headers: dict[istr, str]
    ) -> ClientResponse:
        try:
            response = await self._heard(identity, method, url, scope, headers)
            self._note_budget(identity, response)
            return _checked(response, redirected=not same_origin(response.url, self.base))
        except UpstreamRateLimited as error:
            identity.limits.limited(kind, error.retry_after)
            raise

    async def _heard(
        self, identity: Identity, method: str, url: URL, scope: str, headers: dict[istr, str]
    ) -> ClientResponse:
        """An answer, whatever it says; that there is one, or none, is noted in the endpoint's health."""
        try:
            with _mapped():
                response = await self._send(identity, method, url, scope, headers)
        except UpstreamUnavailable as error:
            self.suspect(str(error))
            raise
        self.health.answered()
        return response

    def _note_budget(self, identity: Identity, response: ClientResponse) -> None:
        budget = parse_budget(response.headers) if same_origin(response.url, self.base) else None
        if budget is not None and identity.limits.note(budget):
            facts: dict[str, object] = {"upstream": self._config.host, "account": identity.name}
            facts |= {"source": budget.source, "left": budget.remaining, "of": budget.limit}
            log.warning("the budget of pulls is nearly spent", extra=facts)

    @property
    def is_scarce(self) -> bool:
        """Whether every account's budget of pulls is down to the reserve, leaving out those that may not pull now."""
        limits = [identity.limits for identity in self._identities if not identity.limits.wait(Kind.MANIFEST)]
        return bool(limits) and all(one.is_scarce for one in limits)

    def suspect(self, reason: str) -> None:
        """It did not answer, or not as soon as it should have. A probe finds out whether it is only this one question,
        or the place that it redirects to."""
        if self.health.failed() and (self._probing is None or self._probing.done()):
            self._probing = asyncio.create_task(self._probe(reason))

    async def _probe(self, reason: str) -> None:
        """Ask for what costs nothing, until there is an answer."""
        facts = {"upstream": self._config.host, "endpoint": self.base.host}
        while not await self._answers():
            if not self.health.is_open:
                self.health.open()
                log.warning(
                    "an upstream does not answer: it is not asked until it does", extra={**facts, "reason": reason}
                )
            await self._pause(self.health.next_probe())
        if self.health.is_open:
            log.info("an upstream answers again", extra=facts)
        self.health.answered()

    async def _pause(self, seconds: float) -> None:
        """Between two probes: shorter where somebody wants something that is not here."""
        least = min(seconds, health.FIRST_PROBE)
        await asyncio.sleep(least)
        self._wanted.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds - least):
                await self._wanted.wait()

    async def _answers(self) -> bool:
        try:
            with _mapped():
                async with asyncio.timeout(_PROBE_SECONDS):
                    (await self._send(self._identities[0], "GET", self.base / "v2" / "", "", {})).release()
        except UpstreamUnavailable:
            return False
        except UpstreamError:
            return True  # not what anybody wants to hear, but an answer
        except Exception:
            log.exception("unexpected error", extra={"upstream": self._config.host})  # whoever asks next will see
        return True

    async def _send(
        self, identity: Identity, method: str, url: URL, scope: str, headers: dict[istr, str]
    ) -> ClientResponse:
        """Follow redirects, a new challenge at most once; the response is the caller's to close."""
        authorization = await identity.auth.header(scope)
        challenged, own = False, True
        buffer = buffers.share(self._under_way, _MOST_BUFFERED)
        for _ in range(_MAX_REDIRECTS + 2):
            # Never again once a redirect has led away, not even back here: to where is somebody else's choice then.
            own = own and same_origin(url, self.base)
            sent = headers | ({AUTHORIZATION: authorization} if own and authorization else {})
            response = await self._ask(self._session_for(url), method, url, sent, buffer)
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

    def _session_for(self, url: URL) -> ClientSession:
        """The session that may go there; raises UpstreamBroken for an address written out that is not public."""
        if same_origin(url, self.base) or is_named(url, self._config.redirect_hosts):
            return self._named
        host = url.host or ""
        if (":" in host or host.replace(".", "").isdigit()) and not is_public(host):
            raise UpstreamBroken("the upstream redirects to an address that is not public")
        return self._public

    async def _fetch_token(self, url: URL, authorization: str | None, form: Mapping[str, str] | None) -> bytes:
        headers = {AUTHORIZATION: authorization} if authorization else {}
        with _mapped():
            # No redirect of a token request is followed: it would take the password along (go-containerregistry#2292).
            async with await self._ask(self._named, "POST" if form else "GET", url, headers, form=form) as response:
                if response.status in (400, 401, 403, 404):
                    if authorization or form:
                        # Not "refused": what is cached stays good while the operator's password is wrong.
                        raise UpstreamLoginRefused("the upstream's token service refuses the configured login")
                    raise UpstreamRefused("the upstream gives no token to anonymous clients")
                _raise_for(response, redirected=False)
                return await read_capped(response, token.MAX_BYTES)


async def read_capped(response: ClientResponse, limit: int) -> bytes:
    """The whole body, if it is no longer than `limit` bytes and comes in time; raises UpstreamBroken, TimeoutError."""
    body = bytearray()
    async with asyncio.timeout(_BODY_SECONDS):
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise UpstreamBroken(f"the upstream's answer is longer than {limit} bytes")
    return bytes(body)


def _tls(config: Upstream) -> ssl.SSLContext | Literal[True]:
    """The usual authorities, and the operator's own; raises ConfigError."""
    if config.ca_file is None:
        return True
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(config.ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = "not certificates in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"ca_file {config.ca_file}: {reason}") from error
    return context


def _session(config: Upstream, resolver: ThreadedResolver, tls: ssl.SSLContext | Literal[True]) -> ClientSession:
    return ClientSession(
        connector=TCPConnector(limit=0, limit_per_host=0, resolver=resolver, ttl_dns_cache=30, ssl=tls),
        # No total: a blob may take an hour. Whoever reads one watches its progress.
        timeout=ClientTimeout(total=None, sock_connect=config.connect_timeout, sock_read=config.read_timeout),
        headers={USER_AGENT: f"registry-mirror/{__version__}", ACCEPT_ENCODING: "identity"},
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


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
        raise UpstreamRateLimited("the upstream limits our requests (429)", wait)
    if redirected and status in (400, 401, 403):
        # A signed address that has expired, most often: asking the upstream again gives a new one.
        raise UpstreamUnavailable(f"the place that the upstream redirects to refuses the request ({status})")
    if status in (401, 403, 451):
        raise UpstreamRefused(f"the upstream does not let this mirror read it ({status})")
    if status >= 500:
        raise UpstreamUnavailable(f"the upstream has a problem of its own ({status})")
    raise UpstreamBroken(f"the upstream gave an answer that makes no sense here ({status})")


def _reason(error: OSError) -> str:
    """`Connection refused`, without the address that asyncio writes around it."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else "no connection"


@contextmanager
def _mapped() -> Iterator[None]:
    """aiohttp's errors as ours. Their own text is left out: it may hold signed URLs, or the body."""
    try:
        yield
    except (ClientError, OSError, ValueError) as error:
        raise _translated(error) from None


def _translated(error: Exception) -> UpstreamError:
    match error:
        case ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return UpstreamUnavailable("the upstream's TLS certificate is not valid for it")
        case ssl.SSLError() | ClientSSLError():
            return UpstreamUnavailable("the upstream does not speak TLS that can be understood; is its url plain http?")
        case ClientConnectorDNSError() if isinstance(error.os_error, NotPublic):
            return UpstreamBroken("the upstream redirects to an address that is not public, and not in redirect_hosts")
        case ClientConnectorDNSError():
            return UpstreamUnavailable("the upstream's host name cannot be resolved")
        case TimeoutError():
            return UpstreamTimedOut("the upstream did not answer in time")
        case ClientConnectorError():
            return UpstreamUnavailable(f"the upstream cannot be reached: {_reason(error.os_error)}")
        case ClientError() | OSError():
            return UpstreamUnavailable(f"the connection to the upstream broke ({type(error).__name__})")
        case _:
            return UpstreamBroken("the upstream's answer cannot be read")
