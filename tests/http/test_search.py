"""`docker search` with this server's address: what is here and what the upstream's own search finds, each once."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.upstream import limits
from tests.conftest import Clock, RunningMirror, Server
from tests.fakes.upstream import FakeHub
from tests.pages.shop import STOCK, fill, image_index, pull_everything, push

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


@pytest.fixture
async def searching() -> AsyncIterator[tuple[FakeSearch, str]]:
    async with search_server() as running:
        yield running


async def results(mirror: RunningMirror, **query: str) -> list[dict[str, Any]]:
    answer = await mirror.get("/v1/search", params=query)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["results"]
    assert answer.json()["num_results"] >= len(found)
    return found


async def test_ping(mirror: RunningMirror) -> None:
    assert (await mirror.get("/v1/_ping")).status == 200


async def test_nothing_is_here(mirror: RunningMirror) -> None:
    answer = await mirror.get("/v1/search", params={"q": "nginx"})
    assert answer.json() == {
        "query": "nginx",
        "page": 1,
        "page_size": 25,
        "num_pages": 0,
        "num_results": 0,
        "results": [],
    }


async def test_what_is_here_and_what_is_not(server: Server, hub: FakeHub, searching: tuple[FakeSearch, str]) -> None:
    fake, url = searching
    fill(hub)
    mirror = await server(upstream={"search_url": url})
    await pull_everything(mirror, "library/nginx")
    await push(mirror, "team/nginx-gateway", "1")
    found = await results(mirror, q="nginx")
    assert [(one["name"], one["is_here"], one["is_official"]) for one in found] == [
        ("nginx", True, True),
        ("team/nginx-gateway", True, False),
        ("bitnami/nginx", False, False),
        ("evil/nginx", False, False),
    ]
    assert found[0]["description"] == "(here) Official build of Nginx."
    assert found[0]["star_count"] == 20000
    assert found[3]["star_count"] == 0
    assert found[3]["description"].startswith("[2J red blue")
    assert len(found[3]["description"]) == 400
    assert fake.asked == [{"q": "nginx", "n": "100"}]


async def test_every_name_can_be_pulled(server: Server, hub: FakeHub, searching: tuple[FakeSearch, str]) -> None:
    """Also where something pushed has the name that the upstream's would have."""
    _, url = searching
    fill(hub)
    mirror = await server(upstream={"search_url": url})
    await push(mirror, "nginx", "latest")
    await pull_everything(mirror, "library/nginx", "bitnami/hostile")
    names = {one["name"] for one in await results(mirror, q="nginx") if one["is_here"]}
    assert names == {"nginx", "library/nginx"}
    for name in names:
        assert (await mirror.get(f"/v2/{name}/manifests/latest")).status == 200


async def test_pages(server: Server, searching: tuple[FakeSearch, str]) -> None:
    fake, url = searching
    fake.answer = {"results": [{"name": f"org/app-{n:03}"} for n in range(100)]}
    mirror = await server(upstream={"search_url": url})
    names: list[str] = []
    for page in range(1, 6):
        names += [one["name"] for one in await results(mirror, q="app", n="30", page=str(page))]
    assert names == [f"org/app-{n:03}" for n in range(100)]
    assert len(fake.asked) == 1, "one answer for all pages"


@pytest.mark.parametrize("query", [{"n": "0"}, {"n": "x"}, {"n": "-1"}, {"page": "0"}, {"page": "1e3"}])
async def test_what_makes_no_sense(mirror: RunningMirror, query: dict[str, str]) -> None:
    answer = await mirror.get("/v1/search", params={"q": "a", **query})
    assert (answer.status, answer.json()["errors"][0]["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"results": 7}', b"[" * 10**5, b"x" * 2**21])
async def test_a_search_that_cannot_be_understood(
    server: Server, hub: FakeHub, searching: tuple[FakeSearch, str], answer: bytes
) -> None:
    fake, url = searching
    fill(hub)
    fake.answer = answer
    mirror = await server(upstream={"search_url": url})
    await pull_everything(mirror, "library/redis")
    for _ in range(2):
        assert [one["name"] for one in await results(mirror, q="redis")] == ["redis"]
    assert len(fake.asked) == 1, "it is left alone for a while"


@pytest.mark.parametrize("status", [302, 404, 429, 500])
async def test_a_search_that_fails(server: Server, searching: tuple[FakeSearch, str], status: int) -> None:
    fake, url = searching
    fake.status = status
    mirror = await server(upstream={"search_url": url})
    assert await results(mirror, q="nginx") == []


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_query_that_is_refused_says_nothing_of_others(
    server: Server, searching: tuple[FakeSearch, str], status: int
) -> None:
    fake, url = searching
    fake.status = status
    mirror = await server(upstream={"search_url": url})
    for _ in range(2):
        assert await results(mirror, q="%%%") == []
    assert len(fake.asked) == 1, "remembered as nothing"
    fake.status = 200
    assert len(await results(mirror, q="nginx")) == 3


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (500, {}, 30),
        (403, {}, 30),
        (429, {}, 10),
        (429, {"Retry-After": "120"}, 120),
        (429, {"Retry-After": "9999999"}, 3600),
    ],
)
async def test_a_search_that_fails_is_left_alone(
    server: Server,
    searching: tuple[FakeSearch, str],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    headers: dict[str, str],
    seconds: int,
) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 10.0)
    monkeypatch.setattr(limits, "_MAX_LIMITED", 3600.0)
    caplog.set_level(logging.INFO, "mirror.upstream.search")
    fake, url = searching
    mirror = await server(upstream={"search_url": url})
    assert len(await results(mirror, q="nginx")) == 3
    fake.status, fake.more_headers = status, headers
    for asked in (2, 3):  # at once; and again, when the time is over
        await results(mirror, q="b")
        clock.advance(seconds - 1)
        await results(mirror, q="c")
        assert len(fake.asked) == asked
        clock.advance(1)
    fake.status = 200
    assert len(await results(mirror, q="b")) == 3
    said = [record.message for record in caplog.records if record.message.startswith("an upstream's search")]
    assert said == ["an upstream's search fails", "an upstream's search answers again"]


async def test_a_search_that_fails_is_asked_again_when_the_clock_was_set(
    server: Server, searching: tuple[FakeSearch, str], clock: Clock
) -> None:
    fake, url = searching
    fake.status = 500
    mirror = await server(upstream={"search_url": url})
    await results(mirror, q="a")
    clock.advance(-86_400)
    await results(mirror, q="b")
    assert len(fake.asked) == 2


async def test_what_is_known_is_found_while_it_fails(server: Server, searching: tuple[FakeSearch, str]) -> None:
    fake, url = searching
    mirror = await server(upstream={"search_url": url})
    await results(mirror, q="nginx")
    fake.status = 500
    assert await results(mirror, q="other") == []
    assert len(await results(mirror, q="nginx")) == 3


async def test_no_more_than_four_at_once(server: Server, hub: FakeHub, searching: tuple[FakeSearch, str]) -> None:
    fake, url = searching
    fill(hub)
    held, come = asyncio.Event(), asyncio.Semaphore(0)

    async def hold() -> None:
        come.release()
        await held.wait()

    fake.hold = hold
    mirror = await server(upstream={"search_url": url})
    await pull_everything(mirror, "library/redis")
    first = [asyncio.create_task(results(mirror, q=f"nginx {n}")) for n in range(4)]
    for _ in first:
        await come.acquire()
    assert [one["name"] for one in await results(mirror, q="redis")] == ["redis"]  # and does not wait for a place
    held.set()
    assert [len(found) for found in await asyncio.gather(*first)] == [3] * 4
    assert len(fake.asked) == 4
    assert len(await results(mirror, q="redis")) == 4, "it was not taken for a failure"


async def test_capitals_do_not_matter(server: Server, searching: tuple[FakeSearch, str]) -> None:
    fake, url = searching
    mirror = await server(upstream={"search_url": url})
    for query in ("Nginx", "nginx", " NGINX "):
        assert len(await results(mirror, q=query)) == 3
    assert len(fake.asked) == 1


async def test_all_searches_are_asked_at_the_same_time(server: Server, searching: tuple[FakeSearch, str]) -> None:
    """Each answers when the other was asked, too."""
    fake, url = searching
    async with search_server() as (other, other_url):
        fake.hold = other.hold = asyncio.Barrier(2).wait
        other.answer = {"results": [{"name": "org/nginx"}]}
        more = {"x": {"host": "quay.example", "url": other_url, "search_url": other_url}}
        mirror = await server(upstream={"search_url": url}, upstreams=more)
        names = [one["name"] for one in await results(mirror, q="nginx")]
    assert names == ["nginx", "bitnami/nginx", "evil/nginx", "quay.example/org/nginx"]


async def test_what_is_here_and_fits_by_the_hubs_word_alone(
    server: Server, hub: FakeHub, searching: tuple[FakeSearch, str]
) -> None:
    fake, url = searching
    fill(hub)
    fake.answer = {"results": [{"name": "redis", "description": "Keeps values by their keys."}]}
    mirror = await server(upstream={"search_url": url})
    await pull_everything(mirror, "library/redis")
    (found,) = await results(mirror, q="cache")
    assert (found["name"], found["is_here"]) == ("redis", True)
    assert found["description"] == "(here) Keeps values by their keys."


async def test_an_empty_description_hides_nothing(
    server: Server, hub: FakeHub, searching: tuple[FakeSearch, str]
) -> None:
    fake, url = searching
    fill(hub)
    fake.answer = {"results": [{"name": "redis", "description": "", "star_count": 7}]}
    mirror = await server(upstream={"search_url": url})
    await pull_everything(mirror, "library/redis")
    (found,) = await results(mirror, q="redis")
    assert (found["description"], found["star_count"]) == (f"(here) {STOCK['library/redis']}", 7)


async def test_a_label_is_one_line_too(server: Server, hub: FakeHub) -> None:
    for tag in ("latest", "1.27", "1.27.3-bookworm"):
        hub.add_index("org/app", tag, image_index("app", "first\nsecond\x1b[2J \u202eback\u200b" + "x" * 1000))
    mirror = await server()
    await pull_everything(mirror, "org/app")
    (found,) = await results(mirror, q="app")
    assert found["description"].startswith("(here) first second[2J backxxx")
    assert len(found["description"]) == len("(here) ") + 400


async def test_a_search_that_is_down(server: Server) -> None:
    mirror = await server(upstream={"search_url": "http://127.0.0.1:9"})
    assert await results(mirror, q="nginx") == []


async def test_a_search_that_hangs(
    server: Server, searching: tuple[FakeSearch, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.upstream.search._SECONDS", 0.2)
    fake, url = searching
    fake.hold = asyncio.Event().wait
    mirror = await server(upstream={"search_url": url})
    assert await results(mirror, q="nginx") == []


async def test_no_login_goes_there(server: Server, searching: tuple[FakeSearch, str]) -> None:
    fake, url = searching
    mirror = await server(upstream={"search_url": url, "username": "operator", "password": "correct-horse"})
    await mirror.get(
        "/v1/search", params={"q": "a"}, headers={"Authorization": "Basic c2VjcmV0", "X-Docker-Token": "true"}
    )
    assert all("Authorization" not in headers for headers in fake.headers)


async def test_offline_asks_nobody(server: Server, searching: tuple[FakeSearch, str]) -> None:
    fake, url = searching
    mirror = await server(upstream={"search_url": url, "offline": True})
    assert await results(mirror, q="nginx") == []
    assert fake.asked == []


async def test_many_at_once_ask_once(server: Server, searching: tuple[FakeSearch, str]) -> None:
    fake, url = searching
    mirror = await server(upstream={"search_url": url})
    await asyncio.gather(*(results(mirror, q="nginx") for _ in range(50)))
    assert len(fake.asked) == 1


async def test_what_the_rules_hide_is_not_found(server: Server, searching: tuple[FakeSearch, str]) -> None:
    _, url = searching
    mirror = await server(upstream={"search_url": url, "deny": ["evil/*", "nginx"]})
    assert [one["name"] for one in await results(mirror, q="nginx")] == ["bitnami/nginx"]


async def test_descriptions_without_the_hubs(server: Server, hub: FakeHub) -> None:
    fill(hub)
    mirror = await server()
    await pull_everything(mirror, "library/redis")
    (found,) = await results(mirror, q="redis")
    assert found["description"] == f"(here) {STOCK['library/redis']}"
