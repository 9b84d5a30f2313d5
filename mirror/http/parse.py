"""From a request to typed values. The routes are loose on purpose: what is wrong with a name is said here."""

from aiohttp import web

from mirror.http.keys import NOTES, SERVICES, Services
from mirror.routing import Place
from ocispec.digest import Digest
from ocispec.errors import ContentEncodingUnsupported, NameInvalid
from ocispec.names import Reference, RepositoryName, parse_reference
from ocispec.pagination import Page, parse_page


def services(request: web.Request) -> Services:
    return request.app[SERVICES]


def place(request: web.Request) -> Place:
    """Where the name in the path may be found. Raises NameInvalid, NameUnknown."""
    ns = request.query.get("ns")
    found = services(request).names.read(request.match_info["name"], ns)
    if ns is not None and found.cached is not None:
        request[NOTES].namespace = found.cached.upstream
    return found


def source_place(request: web.Request) -> Place | None:
    """The repository that a mount is `from`; a bad name is as good as none that has the blob."""
    text = request.query.get("from")
    if not text:
        return None
    try:
        return services(request).names.resolve(RepositoryName.parse(text))
    except NameInvalid:
        return None


def digest(request: web.Request) -> Digest:
    return Digest.parse(request.match_info["digest"])


def reference(request: web.Request) -> Reference:
    return parse_reference(request.match_info["reference"])


def page(request: web.Request) -> Page:
    return parse_page(request.query.get("n"), request.query.get("last"))


def refuse_encoding(request: web.Request) -> None:
    """Digests are over the bytes that are sent: an encoded body would be stored as something else than was meant."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ContentEncodingUnsupported()
