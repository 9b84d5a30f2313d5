"""The whole API as one table; `end-N` are the specification's own names of its endpoints."""

from aiohttp import hdrs, web

from mirror.http import blobs, discovery, health, manifests, metrics, search, uploads


async def expect(request: web.Request) -> None:
    """100-continue is granted; any other expectation is ignored, as RFC 9110, 10.1.1 allows."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # an interim answer is not the beginning of the answer


def routes() -> list[web.RouteDef]:
    return [
        web.RouteDef(route.method, route.path, route.handler, {**route.kwargs, "expect_handler": expect})
        for route in _routes()
    ]


def _routes() -> list[web.RouteDef]:
    # The router tries them in this order: what is asked for most comes first.
    return [
        web.get("/v2/{name:.+}/manifests/{reference}", manifests.get),  # end-3
        web.put("/v2/{name:.+}/manifests/{reference}", manifests.put),  # end-7
        web.delete("/v2/{name:.+}/manifests/{reference}", manifests.delete),  # end-9
        web.get("/v2/{name:.+}/blobs/{digest}", blobs.get, allow_head=False),  # end-2
        web.head("/v2/{name:.+}/blobs/{digest}", blobs.head),  # end-2
        web.delete("/v2/{name:.+}/blobs/{digest}", blobs.delete),  # end-10
        web.post("/v2/{name:.+}/blobs/uploads/", uploads.start),  # end-4a, end-4b, end-11
        web.post("/v2/{name:.+}/blobs/uploads", uploads.start),
        web.get("/v2/{name:.+}/blobs/uploads/{session}", uploads.status),  # end-13
        web.patch("/v2/{name:.+}/blobs/uploads/{session}", uploads.append),  # end-5
        web.put("/v2/{name:.+}/blobs/uploads/{session}", uploads.finish),  # end-6
        web.delete("/v2/{name:.+}/blobs/uploads/{session}", uploads.cancel),  # end-14
        web.get("/v2/", health.version),  # end-1
        web.get("/v2", health.version),
        web.get("/v2/_catalog", discovery.catalog),
        web.get("/v2/{name:.+}/tags/list", discovery.tags),  # end-8a, end-8b
        web.get("/v2/{name:.+}/referrers/{digest}", discovery.referrers),  # end-12a, end-12b
        web.get("/v1/_ping", search.ping),
        web.get("/v1/search", search.search),
        web.get("/healthz", health.alive),
        web.get("/readyz", health.ready),
        web.get("/metrics", metrics.metrics),
    ]
