"""Who may give commands over TCP: programs on this machine, where nothing but this machine can reach the port.

There are no logins yet, so the listener is the whole access control. It does not keep out the pages in a browser of
this machine (cross-site requests; names of their own that are made to mean loopback), nor what a proxy lets through.
So a command has to be of a kind that no page can send without asking first, to a host that is loopback, by no detour.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from mirror.control.keys import LOCAL
from ocispec.errors import Denied, RequestInvalid

# What browsers add by themselves to what a page sends, and proxies to what they hand on.
_OF_PAGES = (hdrs.ORIGIN, "Sec-Fetch-Site")
_OF_PROXIES = (hdrs.FORWARDED, hdrs.X_FORWARDED_FOR, hdrs.X_FORWARDED_HOST, "X-Real-IP", hdrs.VIA)
_SOCKET = "give this command on its own machine, without --server: it goes through the socket in the store"


def is_local(host: str, external_url: str) -> bool:
    """Whether what listens on `host`, and is known to clients by `external_url` (or not), is for this machine only."""
    return is_loopback(host) and (not external_url or is_loopback(urlsplit(external_url).hostname or ""))


def is_loopback(host: str) -> bool:
    """Of a host as it is written, without a look-up: what a name means is somebody else's to say."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def acting(handler: Handler) -> Handler:
    """The same handler, for who may give commands. Raises Denied, RequestInvalid."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not request.app[LOCAL]:
            raise Denied(f"this server can be reached from other machines; {_SOCKET}")
        if any(name in request.headers for name in _OF_PROXIES):
            raise Denied(f"this request came through a proxy; {_SOCKET}")
        if any(name in request.headers for name in _OF_PAGES) or not is_loopback(_host(request)):
            raise Denied(f"this request may come from a web page; {_SOCKET}")
        if request.content_type != "application/json":
            raise RequestInvalid("a command has to be application/json, and say so")
        return await handler(request)

    return guarded


def _host(request: web.Request) -> str:
    """The host that the client believes it talks to, without the port; empty where it makes no sense."""
    try:
        return urlsplit(f"//{request.headers.get(hdrs.HOST, '')}").hostname or ""
    except ValueError:
        return ""
