"""Where our requests, and our credentials, may go. Pure functions; every rule has its precedent in an advisory.

- A token realm is on the upstream's own host and port, or on a host the operator named (CVE-2026-33540).
- Credentials go to the upstream's own origin and to such a realm, never along a redirect (CVE-2026-49349).
- Never from https down to http.
- A redirect leads to a public address, unless it is the upstream's own or the operator named it (SSRF).
"""

import ipaddress
from collections.abc import Iterable

from yarl import URL

from mirror.upstream.errors import UpstreamBroken

# RFC 4291, 2.4: what is outside was never given to anybody, or is special; RFC 6052: IPv4 behind a translator.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_named(url: URL, hosts: Iterable[str]) -> bool:
    """Whether the operator named this host: as `host`, any port of it, or as `host:port`."""
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    return any(named in (host, f"{host}:{url.port}") for named in hosts)


def same_origin(one: URL, other: URL) -> bool:
    # Not origin(): to yarl https://host and https://host:443 are two.
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def check_realm(realm: str, upstream: URL, token_hosts: Iterable[str]) -> URL:
    """The token service's URL; raises UpstreamBroken where no request, let alone a credential, may go there."""
    url = _parse(realm)
    if url.scheme == "http" and upstream.scheme == "https":
        raise UpstreamBroken("the upstream names a token service without TLS")
    if not same_origin(url, upstream) and not is_named(url, token_hosts):
        raise UpstreamBroken("the upstream names a token service on a host that is not in token_hosts")
    return url


def follow(current: URL, location: str) -> URL:
    """Where a redirect leads; raises UpstreamBroken where it must not be followed."""
    url = _parse(location, base=current)
    if current.scheme == "https" and url.scheme == "http":
        raise UpstreamBroken("the upstream redirects from https to http")
    return url


def _parse(text: str, base: URL | None = None) -> URL:
    try:
        url = URL(text) if base is None else base.join(URL(text, encoded=True))
        if url.scheme in ("http", "https") and url.host and url.port and url.user is None and url.password is None:
            return url
    except (ValueError, IndexError):  # yarl raises either
        pass
    raise UpstreamBroken("the upstream names an address that cannot be used")


def is_public(address: str) -> bool:
    """Whether an IP address (with or without a scope) is one that strangers may send us to."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast
    translated = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _NAT64 else None
    inner = ip.ipv4_mapped or ip.sixtofour or translated
    return is_public(str(inner)) if inner is not None else ip in _GLOBAL_UNICAST and ip.is_global
