"""Docker Hub's search on loopback, to be given words and manners by a test."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conftest import RunningMirror

HITS = [
    {"name": "nginx", "description": "Official build of Nginx.", "star_count": 20000, "is_official": True},
    {"name": "bitnami/nginx", "description": "Bitnami's", "star_count": 200, "is_official": False},
    {"name": "evil/nginx", "description": "\x1b[2J\u2028red\nblue" + "x" * 1000, "star_count": -1},
    {"name": "Not Valid"},
    "nonsense",
]


class FakeSearch:
    """Docker Hub's search. `answer` is what it says; it counts who asks."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.headers: list[Any] = []
        self.answer: object = {"results": HITS}
        self.status = 200
        self.more_headers: dict[str, str] = {}
        self.hold: Callable[[], Awaitable[object]] | None = None

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        self.headers.append(request.headers)
        if self.hold is not None:
            await self.hold()
        body = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return web.Response(status=self.status, body=body, headers={"Location": "/elsewhere", **self.more_headers})


@asynccontextmanager
async def search_server() -> AsyncIterator[tuple[FakeSearch, str]]:
    fake = FakeSearch()
    application = web.Application()
    application.router.add_get("/v1/search", fake.serve)
    server = TestServer(application, host="127.0.0.1")
    await server.start_server()
    yield fake, str(server.make_url("")).rstrip("/")
    await server.close()


async def results(mirror: RunningMirror, **query: str) -> list[dict[str, Any]]:
    answer = await mirror.get("/v1/search", params=query)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["results"]
    assert answer.json()["num_results"] >= len(found)
    return found
