"""Docker Hub's search that fails, limits, hangs or is asked too much: what is here is found all the same."""

import asyncio
import logging

import pytest

from mirror.upstream import limits
from tests.conftest import Clock, Server
from tests.fakes.search import FakeSearch, results, search_server
from tests.fakes.upstream import FakeHub
from tests.pages.shop import fill, pull_everything


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
