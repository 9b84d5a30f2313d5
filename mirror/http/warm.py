"""The short way of a warm pull: a manifest that is in memory is answered before anything else is done.

It gives exactly what `manifests.get` gives and sets in motion what that does, by the same use cases, and leaves to it
whatever is not plain. The router, the middleware and the making of headers cost more than all the rest of such a pull
(docs/decisions/0010).
"""

import re
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import lru_cache, partial

from aiohttp import HttpVersion11, hdrs, web

from mirror.http import reply
from mirror.http.browsers import of_browser
from mirror.http.drain import Drain
from mirror.http.keys import NOTES, Notes, Services
from mirror.http.middleware import NAMESPACE, SIGNATURE
from mirror.pull.manifest import PulledManifest
from mirror.pull.outcome import Outcome
from mirror.routing import Place
from ocispec.digest import Digest
from ocispec.errors import RegistryError
from ocispec.names import Reference, parse_reference

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# What clients write, to the letter; any other spelling of the same is for the router to read.
_TARGET = re.compile(r"/v2/([a-z0-9._/-]+)/manifests/([A-Za-z0-9._:-]+)(?:\?ns=([A-Za-z0-9.:-]+))?", re.ASCII)
# Longer than any that is asked for all day; anybody can send others, and they are kept.
_MAX_TARGET = 512
_REMEMBERED = 4096
_NS = "?ns="


def warm_first(services: Services, drain: Drain, behind: Handler) -> Handler:
    """A handler of all requests, which hands to `behind` what it cannot answer at once."""
    read = lru_cache(_REMEMBERED)(partial(_read, services))

    def recall(request: web.BaseRequest) -> PulledManifest | None:
        target = request.raw_path
        if "/manifests/" not in target or len(target) > _MAX_TARGET or not _is_plain(request) or drain.stopping:
            return None
        asked = read(target)
        return None if asked is None else services.manifest_pulls.recall(*asked)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        try:
            pulled = recall(request)
        except Exception:
            pulled = None  # the long way has the words for it
        if pulled is None:
            return await behind(request)
        manifest = pulled.manifest
        if request.method == hdrs.METH_GET:
            services.prefetch.after(pulled.repository, manifest)
        body = b"" if request.method == hdrs.METH_HEAD else manifest.body
        request[NOTES] = Notes(cache=pulled.outcome, sent=len(body))
        services.usage.answered(pulled.outcome, len(body))
        if body:
            services.usage.pulled(pulled.repository, manifest.digest)
        upstream, ns = pulled.repository.upstream, _NS in request.raw_path
        head = _head(manifest.digest, manifest.media_type, len(manifest.body), pulled.outcome, upstream, ns=ns)
        return _Ready(head, pulled.age, body)

    return handle


class _Ready(web.StreamResponse):
    """An answer that needs nothing but its age and date: one write, past everything that makes an answer of parts."""

    def __init__(self, head: bytes, age: float | None, body: bytes) -> None:
        super().__init__()
        self._parts = head, b"" if age is None else b"Age: %.0f\r\n" % age, body

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        head, age, body = self._parts
        transport.write(b"%b%bDate: %b\r\n\r\n%b" % (head, age, _date(int(time.time())), body))
        if transport.get_write_buffer_size() > 0:
            await request.writer.drain()

    async def write_eof(self, data: bytes = b"") -> None:
        """It is all written."""


def _is_plain(request: web.BaseRequest) -> bool:
    headers = request.headers
    return (
        request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
        and request.version == HttpVersion11
        and request.keep_alive
        and hdrs.IF_NONE_MATCH not in headers
        and hdrs.EXPECT not in headers
        and not of_browser(headers)
    )


def _read(services: Services, target: str) -> tuple[Place, Reference] | None:
    """None for what is not written to the letter, and for what the long way answers with an error."""
    match = _TARGET.fullmatch(target)
    if match is None:
        return None
    try:
        return services.names.read(match[1], match[3]), parse_reference(match[2])
    except RegistryError:
        return None


@lru_cache(_REMEMBERED)
def _head(digest: Digest, media_type: str, length: int, outcome: Outcome, upstream: str, *, ns: bool) -> bytes:
    """Status line and headers of a manifest, all but age and date."""
    headers = {
        **reply.manifest_headers(digest, media_type, outcome, upstream),
        hdrs.CONTENT_LENGTH: str(length),
        **SIGNATURE,
        **({NAMESPACE: upstream} if ns else {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\n{lines}".encode("latin-1")


@lru_cache(1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
