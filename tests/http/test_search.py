"""`docker search` with this server's address: what is here and what the upstream's own search finds, each once."""

import pytest

from tests.conftest import RunningMirror, Server
from tests.fakes.search import FakeSearch, results
from tests.fakes.upstream import FakeHub
from tests.pages.shop import STOCK, fill, image_index, pull_everything, push


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
