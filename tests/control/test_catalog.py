"""The JSON API of what there is to see: held to its own document, and every page of every list."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from mirror.control.routes import of_port, of_socket
from storage.errors import TooSlow
from tests.conftest import RunningMirror, Server
from tests.fakes.upstream import FakeHub
from tests.pages.shop import STOCK, fill, pull_everything, push

DOCUMENT = json.loads(Path("mirror/control/openapi.json").read_text())
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
REPOSITORIES = "/api/v1/repositories"


def check(path: str, answer: object) -> None:
    """An answer against the schema that the document has for it."""
    schema = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(answer)


async def get(mirror: RunningMirror, path: str, template: str = "", **query: str) -> Any:
    answer = await mirror.get(path, params=query)
    assert answer.status == 200, answer.body
    check(template or path, answer.json())
    return answer.json()


async def every_page(mirror: RunningMirror, path: str, key: str, template: str = "", **query: str) -> list[Any]:
    found = []
    page = await get(mirror, path, template, **query)
    while True:
        found += page[key]
        if page["next"] is None:
            return found
        answer = await mirror.get(page["next"])
        page = answer.json()
        check(template or path, page)


@pytest.fixture
async def mirror(server: Server, hub: FakeHub) -> RunningMirror:
    fill(hub)
    mirror = await server()
    await pull_everything(mirror)
    await push(mirror, "team/app", "1", "2", "3")
    return mirror


def test_the_document_is_valid_and_has_every_route() -> None:
    validate(DOCUMENT)
    documented = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    for routes in (of_socket(), of_port()):
        assert {(route.method, route.path.replace(":.+", "")) for route in routes} == documented


async def test_the_document_is_served(mirror: RunningMirror) -> None:
    assert (await mirror.get("/api/v1/openapi.json")).json() == DOCUMENT


async def test_repositories(mirror: RunningMirror) -> None:
    page = await get(mirror, REPOSITORIES, order="name")
    names = [one["repository"] for one in page["repositories"]]
    assert names == sorted([*(f"docker.io/{name}" for name in STOCK), "team/app"])
    assert page["total"] == len(names)
    hosted = await get(mirror, REPOSITORIES, **{"from": "hosted"})
    assert [one["repository"] for one in hosted["repositories"]] == ["team/app"]
    redis = await get(mirror, REPOSITORIES, q="redis")
    assert [one["repository"] for one in redis["repositories"]] == ["docker.io/library/redis"]
    assert redis["repositories"][0]["description"] == STOCK["library/redis"]


async def test_search__says_who_could_not(server: Server, hub: FakeHub) -> None:
    fill(hub)
    mirror = await server(upstream={"search_url": "http://127.0.0.1:9"})
    await pull_everything(mirror, "library/redis")
    page = await get(mirror, "/api/v1/search", q="redis")
    assert [one["name"] for one in page["results"]] == ["redis"]
    assert (page["total"], page["not_searched"]) == (1, ["docker.io"])
    assert (await get(mirror, "/api/v1/search", q=""))["not_searched"] == []
    assert (await get(mirror, "/api/v1/search", q="x" * 201))["not_searched"] == ["docker.io"]


async def test_search__where_no_upstream_has_one(mirror: RunningMirror) -> None:
    assert (await get(mirror, "/api/v1/search", q="redis"))["not_searched"] == []


@pytest.mark.parametrize("n", ["1", "2", "5", "500"])
@pytest.mark.parametrize("order", ["name", "pulls", "recent", "fitting"])
async def test_pages_of_repositories(mirror: RunningMirror, n: str, order: str) -> None:
    found = await every_page(mirror, REPOSITORIES, "repositories", n=n, order=order)
    names = [one["repository"] for one in found]
    assert len(names) == len(set(names)) == len(STOCK) + 1


@pytest.mark.parametrize("query", ["", "&order=name", "&order=name&q=library", "&offset=1"])
async def test_what_comes_meanwhile_shifts_no_page(mirror: RunningMirror, query: str) -> None:
    page = (await mirror.get(f"{REPOSITORIES}?n=2{query}")).json()
    await push(mirror, "aaa/first", "1")
    following = (await mirror.get(page["next"])).json()
    names = [one["repository"] for one in (*page["repositories"], *following["repositories"])]
    assert names == sorted(set(names))
    assert "aaa/first" not in names


@pytest.mark.parametrize("n", ["1", "2", "500"])
async def test_tags(mirror: RunningMirror, n: str) -> None:
    path, template = f"{REPOSITORIES}/docker.io/library/nginx/tags", f"{REPOSITORIES}/{{name}}/tags"
    found = await every_page(mirror, path, "tags", template, n=n)
    assert [tag["name"] for tag in found] == ["1.27", "1.27.3-bookworm", "latest"]
    assert {tuple(tag["platforms"]) for tag in found} == {("linux/amd64", "linux/arm64")}
    assert {tag["freshness"] for tag in found} == {"fresh"}
    assert all(0 < tag["fresh_for"] <= 300 and tag["size"] > 10**6 for tag in found)


async def test_pushed_tags(mirror: RunningMirror) -> None:
    page = await get(mirror, f"{REPOSITORIES}/team/app/tags", f"{REPOSITORIES}/{{name}}/tags")
    assert [(tag["name"], tag["freshness"], tag["checked_at"]) for tag in page["tags"]] == [
        ("1", "pushed", None),
        ("2", "pushed", None),
        ("3", "pushed", None),
    ]


@pytest.mark.parametrize("n", ["1", "2", "500"])
async def test_history(mirror: RunningMirror, n: str) -> None:
    path, template = f"{REPOSITORIES}/team/app/history", f"{REPOSITORIES}/{{name}}/history"
    await mirror.delete("/v2/team/app/manifests/3")
    moves = await every_page(mirror, path, "moves", template, n=n)
    assert [(move["tag"], move["cause"], move["after"] is None) for move in moves] == [
        ("3", "delete", True),
        ("3", "push", False),
        ("2", "push", False),
        ("1", "push", False),
    ]
    assert [move["tag"] for move in await every_page(mirror, path, "moves", template, n=n, tag="2")] == ["2"]


async def test_images(mirror: RunningMirror) -> None:
    template = f"{REPOSITORIES}/{{name}}/images/{{reference}}"
    index = await get(mirror, f"{REPOSITORIES}/docker.io/library/nginx/images/latest", template)
    assert [(entry["platform"], entry["here"]) for entry in index["entries"]] == [
        ("linux/amd64", True),
        ("linux/arm64", True),
    ]
    digest = index["entries"][0]["digest"]
    image = await get(mirror, f"{REPOSITORIES}/docker.io/library/nginx/images/{digest}", template)
    assert [layer["made_by"]["created_by"][:4] for layer in image["layers"]] == ["/bin", "RUN ", "COPY", "COPY"]
    assert image["layers"][0]["shared_by"] == len(STOCK) + 1
    assert image["layers"][3]["repositories"] == ["docker.io/library/nginx"]
    assert image["config"]["command"] == ["nginx", "-g", "daemon off;"]
    assert image["config"]["labels"]["org.opencontainers.image.vendor"] == "The makers"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{REPOSITORIES}/none", 404),
        (f"{REPOSITORIES}/Not%20valid", 400),
        (f"{REPOSITORIES}/quay.example/app/tags", 404),
        (f"{REPOSITORIES}/team/app/images/none", 404),
        (f"{REPOSITORIES}/team/app/images/sha256:0", 400),
        (f"{REPOSITORIES}?n=0", 400),
        (f"{REPOSITORIES}?n=x", 400),
        (f"{REPOSITORIES}?offset=-1", 400),
        (f"{REPOSITORIES}?order=size", 400),
        (f"{REPOSITORIES}?order=pulls&last=a", 400),
        (f"{REPOSITORIES}?q=redis&last=a", 400),
        (f"{REPOSITORIES}/team/app/history?before=x", 400),
        (f"{REPOSITORIES}/team/app/history?tag=.", 400),
    ],
)
async def test_what_makes_no_sense(mirror: RunningMirror, path: str, status: int) -> None:
    answer = await mirror.get(path)
    assert answer.status == status
    Draft202012Validator(DOCUMENT["components"]["schemas"]["Errors"]).validate(answer.json())


async def test_what_the_rules_hide_is_not_to_be_seen(server: Server, hub: FakeHub) -> None:
    fill(hub)
    await pull_everything(await server(), "library/redis")
    mirror = await server(upstream={"deny": ["redis"]})
    assert (await get(mirror, REPOSITORIES))["repositories"] == []
    assert (await get(mirror, "/api/v1/search", q="redis"))["results"] == []
    assert (await mirror.get(f"{REPOSITORIES}/docker.io/library/redis/tags")).status == 404


async def test_whatever_is_asked_the_answer_is_as_documented(mirror: RunningMirror, tmp_path: Path) -> None:
    """Schemathesis makes up requests, valid and not."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{mirror.url}/api/v1/openapi.json"),
        *(
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ),
        *("--max-examples", "25", "--include-method", "GET", "--seed", "1", "--no-color"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-5000:]


async def test_what_takes_too_long_to_find_is_unavailable(
    mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def search(*_: object, **__: object) -> None:
        raise TooSlow("so it is")

    monkeypatch.setattr(mirror.store.finding, "search", search)
    answer = await mirror.get(REPOSITORIES, params={"q": "a"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    page = await mirror.get("/repositories", params={"q": "a"})
    assert (page.status, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "That takes too long" in page.body.decode()
