"""Around every request: errors become answers in the protocol's own format, here and nowhere else."""

import logging
import secrets
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from mirror.http.drain import Drain
from mirror.http.keys import NOTES, SERVICES, Notes
from mirror.http.stream import cut
from mirror.upstream.errors import UpstreamError, UpstreamRateLimited, UpstreamRefused, UpstreamTimedOut
from ocispec.errors import (
    NameUnknown,
    PathUnknown,
    RegistryError,
    RequestInvalid,
    StorageFull,
    Unavailable,
    Unsupported,
    UpstreamFailed,
)
from ocispec.errors import (
    UpstreamTimedOut as TimedOut,
)
from storage.errors import StorageError, StoreFull

log = logging.getLogger(__name__)

# What every answer carries; not which versions of what it is made with.
SIGNATURE = {hdrs.SERVER: "registry-mirror", "Docker-Distribution-Api-Version": "registry/2.0"}

# Which registry a client meant that sent `ns` (distribution-spec, "Registry Proxying").
NAMESPACE = "OCI-Namespace"

# Below these are answers for programs, of what is here at the moment. What is pulled says itself how it may be kept.
_API = ("/api/v1/", "/v1/")
_API_HEADERS = {"X-Content-Type-Options": "nosniff", hdrs.CACHE_CONTROL: "no-store"}

Signer = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def answering(drain: Drain) -> Middleware:
    """Count a request while it is under way, and render what its handler raised."""

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[NOTES] = Notes()
        drain.begin()
        try:
            response = await handler(request)
            _count(request, response)
            return response
        except Exception as error:
            if request.writer.output_size > 0:
                # Once an answer has begun nothing can be rendered: the connection is cut.
                cut(request, error)
                raise
            return _render(request, error)
        finally:
            drain.end()

    return answer_errors


def signing(drain: Drain) -> Signer:
    async def sign(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(SIGNATURE)
        if request.path.startswith(_API):
            response.headers.update(_API_HEADERS)
        notes = request.get(NOTES)
        if notes is not None and notes.namespace is not None:
            response.headers[NAMESPACE] = notes.namespace
        if drain.stopping:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"

    return sign


def _count(request: web.Request, response: web.StreamResponse) -> None:
    """What was answered with content, for whoever looks at how much a mirror spares."""
    notes = request[NOTES]
    if notes.cache is not None:
        body = response.body if isinstance(response, web.Response) and request.method != hdrs.METH_HEAD else None
        whole = len(body) if isinstance(body, bytes | bytearray) else 0
        request.app[SERVICES].usage.answered(notes.cache, whole if notes.sent is None else notes.sent)


def _render(request: web.Request, error: Exception) -> web.Response:
    known = _translate(error, request.path)
    if known is None:
        reference = secrets.token_hex(8)
        log.error("unexpected error", exc_info=error, extra={"reference": reference, "path": request.path})
        known = RegistryError(f"internal error; the server's log has it as {reference}")
    headers = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", **known.headers}
    body = known.envelope()
    if request.method == hdrs.METH_HEAD:
        return web.Response(status=known.status, headers={**headers, "Content-Length": str(len(body))})
    return web.Response(status=known.status, body=body, headers=headers)


def _translate(error: Exception, path: str) -> RegistryError | None:
    """What the client is told; None for what nobody expected."""
    match error:
        case RegistryError():
            return error
        case StorageError():
            log.error(
                "the store cannot serve a request", extra={"path": path, "reason": str(error), "file": error.file}
            )
            return StorageFull() if isinstance(error, StoreFull) else Unavailable(headers={"Retry-After": "5"})
        case UpstreamError():
            facts = {"path": path, "upstream": error.upstream, "reason": str(error)}
            # That a limit holds is said once, when it begins.
            is_old = isinstance(error, UpstreamRateLimited) and not error.is_news
            level = logging.DEBUG if is_old else logging.WARNING
            log.log(level, "an upstream failed a request", extra=facts)
            return _of_upstream(error)
        case web.HTTPException():
            return _of_framework(error)
        case ConnectionError() | web.RequestPayloadError():
            return RequestInvalid("the request's body broke off")
        case _:
            return None


def _of_upstream(error: UpstreamError) -> RegistryError:
    match error:
        case UpstreamRateLimited():
            # Not 429: containerd repeats that six times at once, docker leaves the mirror for good.
            wait = 30 if error.retry_after is None else max(1, min(3600, round(error.retry_after)))
            return Unavailable(str(error), headers={"Retry-After": str(wait)})
        case UpstreamTimedOut():
            return TimedOut(str(error))
        case UpstreamRefused():
            return NameUnknown(str(error))
        case _:
            return UpstreamFailed(str(error))


def _of_framework(error: web.HTTPException) -> RegistryError:
    match error:
        case web.HTTPNotFound():
            return PathUnknown()
        case web.HTTPMethodNotAllowed():
            return Unsupported("this endpoint does not know the method", headers={"Allow": error.headers["Allow"]})
        case _:
            return RequestInvalid(error.reason)
