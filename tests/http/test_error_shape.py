"""Every error looks the same: a status, a code, a message, and nothing of how the server is made."""

import json
import re

import pytest

from tests.conftest import RunningMirror
from tests.fakes.images import digest_of
from tests.mirror.wire import Got, connect, fetch, read_head, send_head

DIGEST = digest_of(b"x")
INSIDES = re.compile(rb"Traceback|aiohttp|Python/|\.py|site-packages|sqlite|0x[0-9a-f]{8}|/home/|/tmp/", re.IGNORECASE)

# What every route knows; anything else is 405 with these in Allow.
METHODS = {
    "/v2/": {"GET", "HEAD"},
    "/v2": {"GET", "HEAD"},
    "/v2/_catalog": {"GET", "HEAD"},
    "/v2/a/b/tags/list": {"GET", "HEAD"},
    f"/v2/a/b/referrers/{DIGEST}": {"GET", "HEAD"},
    "/v2/a/b/manifests/latest": {"GET", "HEAD", "PUT", "DELETE"},
    f"/v2/a/b/blobs/{DIGEST}": {"GET", "HEAD", "DELETE"},
    "/v2/a/b/blobs/uploads/": {"POST"},
    f"/v2/a/b/blobs/uploads/{'0' * 32}": {"GET", "HEAD", "PATCH", "PUT", "DELETE"},
    "/healthz": {"GET", "HEAD"},
    "/readyz": {"GET", "HEAD"},
    "/metrics": {"GET", "HEAD"},
    "/v1/search": {"GET", "HEAD"},
    "/": {"GET", "HEAD"},
    "/repositories": {"GET", "HEAD"},
}
UNKNOWN = [
    "/v1/",
    "/v3/",
    "/v2//",
    "/v2/x",
    "/v2/_catalog/",
    "/v2/a/b",
    "/v2/a/tags",
    "/v2/a/tags/list/",
    "/v2/a/tags/other",
    "/v2/a/manifests",
    "/v2/a/manifests/",
    "/v2/a/blobs",
    "/v2/a/blobs/",
    "/v2/manifests/latest",
    "/v2/a/referrers/",
    "/favicon.ico",
    "/healthz/",
    "/metrics/",
    "/V2/",
    "/static/../../etc/passwd",
]


def check_shape(got: Got, status: int, code: str) -> None:
    assert got.complete
    assert got.status == status, got
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert got.headers["Server"] == "registry-mirror"
    assert got.headers["Content-Length"] == str(len(got.body))
    document = json.loads(got.body)
    assert list(document) == ["errors"]
    (error,) = document["errors"]
    assert error.keys() <= {"code", "message", "detail"}
    assert error["code"] == code
    assert error["message"]
    assert not INSIDES.search(got.body)


async def test_unknown_paths(mirror: RunningMirror) -> None:
    for path in UNKNOWN:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            check_shape(await fetch(mirror, path, method), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", METHODS)
async def test_wrong_methods(mirror: RunningMirror, path: str) -> None:
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} - METHODS[path]:
        got = await fetch(mirror, path, method)
        check_shape(got, 405, "UNSUPPORTED")
        assert set(re.split(r",\s*", got.headers["Allow"])) == METHODS[path], method


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/v2/UPPER/tags/list",
        "/v2/a/b/tags/list?n=x",
        "/v2/a/b/manifests/.bad",
        "/v2/a/b/blobs/sha256:bad",
        f"/v2/team/app/blobs/uploads/{'0' * 32}",
        "/v2/a/b/tags/list?ns=unknown.example",
    ],
)
async def test_head_is_get_without_the_body(mirror: RunningMirror, path: str) -> None:
    get, head = await fetch(mirror, path), await fetch(mirror, path, "HEAD")
    assert (head.status, head.body) == (get.status, b"")
    for headers in (get.headers, head.headers):
        headers.pop("Date")
    assert dict(head.headers) == dict(get.headers)


async def test_head_leaves_the_connection_as_it_should_be(mirror: RunningMirror) -> None:
    """A body after a HEAD would be read as the next answer."""
    async with connect(mirror) as (reader, writer):
        for path, status in (("/nowhere", 404), ("/v2/", 200), ("/v2/X/tags/list", 400), ("/v2/_catalog", 200)):
            await send_head(writer, "HEAD", path)
            found, headers = await read_head(reader)
            assert (found, "Content-Length" in headers) == (status, True)
        await send_head(writer, "GET", "/healthz")
        status, headers = await read_head(reader)
        assert status == 200
        assert await reader.readexactly(int(headers["Content-Length"])) == b'{"status": "alive"}'


async def test_every_answer_says_what_it_is(mirror: RunningMirror) -> None:
    for path in ("/v2/", "/v2", "/v2/_catalog", "/healthz", "/readyz"):
        got = await fetch(mirror, path)
        assert (got.status, got.headers["Content-Type"]) == (200, "application/json")
        assert got.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
        assert got.headers["Server"] == "registry-mirror"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # a TLS hello: clients probe with it
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
    ids=lambda head: str(head)[:60],
)
async def test_what_is_no_request_gets_a_400(mirror: RunningMirror, head: bytes) -> None:
    async with connect(mirror) as (reader, writer):
        writer.write(head)
        status, _ = await read_head(reader)
        assert status == 400
        rest = await reader.read()
        assert b"HTTP/1.1 200" not in rest
        assert b"Traceback" not in rest
    assert (await fetch(mirror, "/healthz")).status == 200


async def test_many_ranges_in_one_header(mirror: RunningMirror) -> None:
    """Lazy-pulling clients send them by the hundred: more than the HTTP library allows by itself."""
    ranges = "bytes=" + ",".join(f"{n * 10}-{n * 10 + 5}" for n in range(3000))
    assert len(ranges) > 30_000
    assert (await fetch(mirror, "/v2/", Range=ranges)).status == 200
