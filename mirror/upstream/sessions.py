"""The connections to one endpoint of an upstream, and to where it redirects to."""

import ssl
from typing import Literal

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, ThreadedResolver
from aiohttp.hdrs import ACCEPT_ENCODING, USER_AGENT
from yarl import URL

from mirror import __version__
from mirror.config import Upstream
from mirror.errors import ConfigError
from mirror.upstream.errors import UpstreamBroken
from mirror.upstream.resolver import PublicResolver
from mirror.upstream.trust import is_named, is_public, same_origin


class Sessions:
    """Two of them: one for the hosts that the operator named, one for the public rest of the world.

    Make it inside a running loop; `close` it in the end. Raises ConfigError.
    """

    def __init__(self, config: Upstream, base: URL) -> None:
        self._base, self._redirect_hosts = base, config.redirect_hosts
        tls = tls_of(config)
        self.named = _session(config, ThreadedResolver(), tls)
        # A proxy is reached wherever it is, and looks up names itself.
        self._public = _session(config, ThreadedResolver() if config.proxy else PublicResolver(), tls)

    def to(self, url: URL) -> ClientSession:
        """The session that may go there; raises UpstreamBroken for an address written out that is not public."""
        if same_origin(url, self._base) or is_named(url, self._redirect_hosts):
            return self.named
        host = url.host or ""
        if (":" in host or host.replace(".", "").isdigit()) and not is_public(host):
            raise UpstreamBroken("the upstream redirects to an address that is not public")
        return self._public

    async def close(self) -> None:
        await self.named.close()
        await self._public.close()


def tls_of(config: Upstream) -> ssl.SSLContext | Literal[True]:
    """The usual authorities, and the operator's own. Blocking; raises ConfigError."""
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
