"""A web page is no client: what one in somebody's browser can do here without the user's knowledge (decision 21).

Browsers send requests for any page to any address that they reach, loopback too. What they let it send without asking
is a push in every respect (cross-site requests); and a name of its own that is made to mean loopback lets it read the
answers (DNS rebinding).
"""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import istr

from ocispec.errors import Denied

SEC_FETCH_SITE = istr("Sec-Fetch-Site")
_LOOKS = (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS)
# Of a page of this server, or of nothing but the user (Fetch Metadata Request Headers, 2.3).
_OURS = ("same-origin", "none")
_NOTHING = SplitResult("", "", "", "", "")


def keeping_pages_out(*, on_loopback: bool, external_url: str) -> Middleware:
    """Refuse what pages of others send. `on_loopback`: only this machine can connect, by names that are known."""
    external = urlsplit(external_url)

    def is_known(host: str) -> bool:
        """Whether nobody else can have a page under this name: an address is not looked up, and localhost is nobody's
        (RFC 6761, 6.3)."""
        return host in ("localhost", external.hostname) or host.endswith(".localhost") or _is_address(host)

    def is_ours(origin: str, host: SplitResult) -> bool:
        page = _split(origin.partition("://")[2]).netloc
        return page != "" and (page == external.netloc or (page == host.netloc and is_known(host.hostname or "")))

    @web.middleware
    async def refuse_pages(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        if not of_browser(headers):
            return await handler(request)
        host = _host(request)
        if on_loopback and not is_known(host.hostname or ""):
            raise Denied(
                "a browser asked for this under a name that may be anybody's: use localhost, or set server.external_url"
            )
        if request.method not in _LOOKS and not (
            headers.get(SEC_FETCH_SITE, "none") in _OURS
            and (hdrs.ORIGIN not in headers or is_ours(headers[hdrs.ORIGIN].lower(), host))
        ):
            raise Denied("a web page of another site asked for this; pages can neither push nor delete")
        return await handler(request)

    return refuse_pages


def of_browser(headers: Mapping[str, str]) -> bool:
    """Whether it has what browsers send and registry clients do not.

    A page can choose its User-Agent, and leave Referer out; that there is an Accept-Language it cannot help.
    """
    return (
        hdrs.ACCEPT_LANGUAGE in headers
        or hdrs.ORIGIN in headers
        or SEC_FETCH_SITE in headers
        or headers.get(hdrs.USER_AGENT, "").startswith("Mozilla/")
    )


def host_of(request: web.BaseRequest) -> str:
    """The host that the client believes it talks to, without the port; empty where it makes no sense."""
    return _host(request).hostname or ""


def is_loopback(host: str) -> bool:
    """Of a host as it is written, without a look-up: what a name means is somebody else's to say."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _host(request: web.BaseRequest) -> SplitResult:
    return _split(request.headers.get(hdrs.HOST, "").lower())


def _split(netloc: str) -> SplitResult:
    """A host and its port; nothing at all where it makes no sense."""
    try:
        return urlsplit(f"//{netloc}")
    except ValueError:
        return _NOTHING
