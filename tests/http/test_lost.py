"""Addresses that nothing is at: a page for people, JSON for programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.pages.lost import prefers_a_page
from tests.conftest import RunningMirror

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
DOCKER = "application/vnd.oci.image.index.v1+json, application/json, */*"


@pytest.mark.parametrize("path", ["/nonsense", "/v3/", "/favicon.ico", "/static/none.css", "/r", "/%3Cb%3E"])
async def test_people(mirror: RunningMirror, path: str) -> None:
    answer = await mirror.get(path, headers={"Accept": FIREFOX})
    assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "There is no page at /" in answer.body.decode()
    assert b"<b>" not in answer.body
    head = await mirror.head(path, headers={"Accept": FIREFOX})
    assert (head.status, head.body) == (404, b"")
    assert head.headers["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize("accept", [DOCKER, "*/*", "application/json", ""])
async def test_programs(mirror: RunningMirror, accept: str) -> None:
    answer = await mirror.get("/nonsense", headers={"Accept": accept})
    assert (answer.status, answer.json()["errors"][0]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    "path", ["/v2/nonsense", "/v1/nonsense", "/api/nonsense", "/api/v1/nonsense", "/v2/a/manifests/b"]
)
async def test_where_programs_ask(mirror: RunningMirror, path: str) -> None:
    answer = await mirror.get(path, headers={"Accept": FIREFOX})
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")


async def test_what_is_there_is_there(mirror: RunningMirror) -> None:
    """Another method is no other address."""
    answer = await mirror.post("/repositories", headers={"Accept": FIREFOX})
    assert (answer.status, answer.json()["errors"][0]["code"]) == (405, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/r/none/such", "none/such is not here; nobody has pulled or pushed it yet"),
        ("/r/none/such/-/1.27", "none/such:1.27 is not here; nobody has pulled or pushed it yet"),
        (f"/r/none/such/-/sha256:{'0' * 64}", f"none/such@sha256:{'0' * 64} is not here"),
        ("/r/quay.example/app", "quay.example/app: no upstream is called"),
        ("/r/none/such/-/.bad", "none/such:.bad: "),
    ],
)
async def test_pages_name_what_is_not_here(mirror: RunningMirror, path: str, said: str) -> None:
    answer = await mirror.get(path)
    assert answer.status in (400, 404)
    assert said in answer.body.decode()


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (FIREFOX, True),
        ("TEXT/HTML", True),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0.5, application/json;q=0.4", True),
        ("text/html;level=1;q=0.5,application/json;q=0.1", True),
        ("text/html;q=0", False),
        ("text/html;q=x", False),
        ("text/htmlx", False),
        (DOCKER, False),
        ("", False),
    ],
)
def test_preference(accept: str, is_page: bool) -> None:
    assert prefers_a_page(accept) is is_page


@given(st.text(alphabet="texhml/json*;=q,.01 \t-n"))
def test_preference__of_anything(accept: str) -> None:
    assert prefers_a_page(accept) in (True, False)


@pytest.mark.parametrize(
    "path", ["/v1/_ping", "/v1/search?q=a", "/api/v1/search?q=a", "/api/v1/repositories", "/api/v1/openapi.json"]
)
async def test_what_programs_are_told_is_not_kept(mirror: RunningMirror, path: str) -> None:
    answer = await mirror.get(path)
    assert answer.status == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_what_is_pulled_may_be_kept(mirror: RunningMirror) -> None:
    assert "Cache-Control" not in (await mirror.get("/v2/")).headers
