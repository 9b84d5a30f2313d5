"""Who may give commands over TCP: programs on this machine, where nothing but this machine can reach the port.

There are no logins yet, so the listener is the whole access control. It does not keep out the pages in a browser of
this machine (cross-site requests; names of their own that are made to mean loopback), nor what a proxy lets through.
So a command has to be of a kind that no page can send without asking first, to a host that is loopback, by no detour.
"""

from urllib.parse import urlsplit

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from mirror.control.keys import LOCAL
from mirror.http.browsers import SEC_FETCH_SITE, host_of, is_loopback
from ocispec.errors import Denied, RequestInvalid

# What browsers add by themselves to what a page sends, and proxies to what they hand on.
_OF_PAGES = (hdrs.ORIGIN, SEC_FETCH_SITE)
_OF_PROXIES = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip"}
)
_OF_PROXIES_TOO = ("x-forwarded", "x-original-", "x-envoy-")
_SOCKET = "give this command on its own machine, without --server: it goes through the socket in the store"


def is_local(host: str, external_url: str) -> bool:
    """Whether what listens on `host`, and is known to clients by `external_url` (or not), is for this machine only."""
    return is_loopback(host) and (not external_url or is_loopback(urlsplit(external_url).hostname or ""))


def acting(handler: Handler) -> Handler:
    """The same handler, for who may give commands. Raises Denied, RequestInvalid."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not request.app[LOCAL]:
            raise Denied(f"this server can be reached from other machines; {_SOCKET}")
        if _by_proxy(request):
            raise Denied(f"this request came through a proxy; {_SOCKET}")
        if any(name in request.headers for name in _OF_PAGES) or not is_loopback(host_of(request)):
            raise Denied(f"this request may come from a web page; {_SOCKET}")
        if request.content_type != "application/json":
            raise RequestInvalid("a command has to be application/json, and say so")
        return await handler(request)

    return guarded


def _by_proxy(request: web.Request) -> bool:
    """As far as it shows. HTTP/1.0 is what a proxy speaks that was told nothing but where to go; no client does."""
    names = (name.lower() for name in request.headers)
    return request.version < HttpVersion11 or any(
        name in _OF_PROXIES or name.startswith(_OF_PROXIES_TOO) for name in names
    )
