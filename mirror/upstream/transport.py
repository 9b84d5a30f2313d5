"""Requests to one upstream: its sessions, its redirects, its challenges. The only aiohttp client in the project.

Redirects are followed by our own loop, which sends credentials to the upstream's own origin only and looks at every
address before it connects (mirror/upstream/trust.py has the rules). An error's text never carries a URL: those of
redirects are signed.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

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

from mirror import __version__
from mirror.config import Upstream
from mirror.upstream.auth import Authenticator
from mirror.upstream.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamLoginRefused,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from mirror.upstream.resolver import NotPublic, PublicResolver
from mirror.upstream.trust import follow, is_named, is_public, same_origin
from ocispec import token
from ocispec.limits import parse_retry_after

_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 5
# A manifest, a list or a token that is not here after this time comes too slowly to wait for.
_BODY_SECONDS = 60.0

# What all answers under way may buffer together (each keeps up to twice its share), and the bounds of a share. A large
# one means few thread hops for a fast download; many downloads at once must not take the memory for it.
_READ_BUFFERS = 32 * 2**20
_MIN_BUFFER, _MAX_BUFFER = 2**16, 2**21


class Transport:
    """Sends requests for one upstream. Make it inside a running loop; `close` it in the end."""

    def __init__(self, config: Upstream, password: str) -> None:
        self.base = URL(config.url)
        self._config = config
        self._under_way = 0
        self._named = _session(config, ThreadedResolver())
        self._public = _session(config, PublicResolver())
        self.auth = Authenticator(self.base, config.token_hosts, config.username, password, self._fetch_token)

    async def close(self) -> None:
        await self.auth.close()
        await self._named.close()
        await self._public.close()

    @asynccontextmanager
    async def request(
        self, method: str, url: URL, scope: str, headers: Mapping[istr, str] | None = None
    ) -> AsyncIterator[ClientResponse]:
        """The answer at the end of challenges and redirects: 2xx, 404 or 416. Everything else raises UpstreamError."""
        self._under_way += 1
        try:
            with _mapped():
                response = await self._send(method, url, scope, dict(headers or {}))
                async with response:
                    _raise_for(response, redirected=not same_origin(response.url, self.base))
                    yield response
        except UpstreamError as error:
            error.upstream = self._config.host
            raise
        finally:
            self._under_way -= 1

    async def _send(self, method: str, url: URL, scope: str, headers: dict[istr, str]) -> ClientResponse:
        """Follow redirects, a new challenge at most once; the response is the caller's to close."""
        authorization = await self.auth.header(scope)
        challenged, own = False, True
        buffer = max(_MIN_BUFFER, min(_MAX_BUFFER, _READ_BUFFERS // self._under_way))
        for _ in range(_MAX_REDIRECTS + 2):
            # Never again once a redirect has led away, not even back here: to where is somebody else's choice then.
            own = own and same_origin(url, self.base)
            sent = headers | ({AUTHORIZATION: authorization} if own and authorization else {})
            response = await self._ask(self._session_for(url), method, url, sent, buffer)
            if response.status == 401 and own and not challenged:
                challenged = True
                asked = response.headers.getall(WWW_AUTHENTICATE, [])
                response.release()
                authorization = await self.auth.answer(scope, asked, authorization)
            elif response.status in _REDIRECTS:
                location = response.headers.get(LOCATION, "")
                response.release()
                url = follow(url, location)
            else:
                return response
        raise UpstreamBroken("the upstream redirects without end")

    async def _ask(
        self, session: ClientSession, method: str, url: URL, headers: Mapping[istr, str], buffer: int = _MIN_BUFFER
    ) -> ClientResponse:
        """One request, up to the head of its answer. sock_read alone would let a head trickle in for ever."""
        async with asyncio.timeout(self._config.connect_timeout + self._config.read_timeout):
            return await session.request(method, url, headers=headers, allow_redirects=False, read_bufsize=buffer)

    def _session_for(self, url: URL) -> ClientSession:
        """The session that may go there; raises UpstreamBroken for an address written out that is not public."""
        if same_origin(url, self.base) or is_named(url, self._config.redirect_hosts):
            return self._named
        host = url.host or ""
        if (":" in host or host.replace(".", "").isdigit()) and not is_public(host):
            raise UpstreamBroken("the upstream redirects to an address that is not public")
        return self._public

    async def _fetch_token(self, url: URL, authorization: str | None) -> bytes:
        headers = {AUTHORIZATION: authorization} if authorization else {}
        with _mapped():
            # No redirect of a token request is followed: it would take the password along (go-containerregistry#2292).
            async with await self._ask(self._named, "GET", url, headers) as response:
                if response.status in (400, 401, 403, 404):
                    if authorization:
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


def _session(config: Upstream, resolver: ThreadedResolver) -> ClientSession:
    return ClientSession(
        connector=TCPConnector(limit=0, limit_per_host=0, resolver=resolver, ttl_dns_cache=30),
        # No total: a blob may take an hour. Whoever reads one watches its progress.
        timeout=ClientTimeout(total=None, sock_connect=config.connect_timeout, sock_read=config.read_timeout),
        headers={USER_AGENT: f"registry-mirror/{__version__}", ACCEPT_ENCODING: "identity"},
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


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
