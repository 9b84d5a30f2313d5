"""aiohttp's errors as ours. Their own text is left out: it may hold signed URLs, or the body."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientSSLError,
)

from mirror.upstream.errors import UpstreamBroken, UpstreamError, UpstreamTimedOut, UpstreamUnavailable
from mirror.upstream.resolver import NotPublic


@contextmanager
def mapped(elsewhere: str = "") -> Iterator[None]:
    """Around what aiohttp does, and nothing else: an OSError of the caller's own would be taken for the upstream's.

    `elsewhere` is the host that was asked, where that is not the upstream's own: it is named, but never the signed URL.
    """
    try:
        yield
    except (ClientError, OSError, ValueError) as error:
        known = _translated(error)
        if elsewhere and isinstance(known, UpstreamUnavailable):
            known = type(known)(f"{known} (at {elsewhere})")
        raise known from None


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


def _reason(error: OSError) -> str:
    """`Connection refused`, without the address that asyncio writes around it."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else "no connection"
