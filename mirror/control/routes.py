"""The API of commands as two tables: what the socket in the store takes, and what the port does."""

from aiohttp import web

from mirror.control import catalog, handlers
from mirror.control.guard import acting
from mirror.http.routes import expect


def _seeing() -> list[web.RouteDef]:
    """What there is to see, for whoever may pull it."""
    return [
        web.get("/api/v1/openapi.json", catalog.document),
        web.get("/api/v1/search", catalog.search),
        web.get("/api/v1/repositories", catalog.repositories),
        web.get("/api/v1/repositories/{name:.+}/tags", catalog.tags),
        web.get("/api/v1/repositories/{name:.+}/history", catalog.history),
        web.get("/api/v1/repositories/{name:.+}/images/{reference}", catalog.image),
        web.get("/api/v1/repositories/{name:.+}", catalog.repository),
    ]


def of_socket() -> list[web.RouteDef]:
    return [
        *_seeing(),
        web.get("/api/v1/server", handlers.server),
        web.get("/api/v1/status", handlers.status),
        web.get("/api/v1/upstreams", handlers.upstreams),
        web.get("/api/v1/warm", handlers.schedules),
        web.post("/api/v1/refresh", handlers.refresh),
        web.post("/api/v1/warm", handlers.warm),
    ]


def of_port() -> list[web.RouteDef]:
    """What only looks, for whoever may pull; what acts, for this machine."""
    return [
        *_seeing(),
        web.get("/api/v1/server", handlers.public_server),
        web.get("/api/v1/status", handlers.status),
        web.get("/api/v1/upstreams", handlers.public_upstreams),
        web.get("/api/v1/warm", handlers.public_schedules),
        web.post("/api/v1/refresh", acting(handlers.refresh), expect_handler=expect),
        web.post("/api/v1/warm", acting(handlers.warm), expect_handler=expect),
    ]
