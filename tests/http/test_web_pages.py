"""Web pages in somebody's browser: they neither push nor delete, and read nothing under names of their own."""

import hashlib
from typing import Any

import pytest

from tests.conftest import RunningMirror, Server
from tests.fakes.images import make_image
from tests.mirror.push.pushing import push_image

IMAGE = make_image("pages", [2000])
BODY = b"hello"
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
PUSH = f"/v2/org/ok/blobs/uploads/?digest={DIGEST}"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
REBOUND = "rebind.evil.example:5000"


async def refused(mirror: RunningMirror, method: str, path: str, headers: dict[str, str]) -> str:
    """The message of a refusal."""
    answer = await mirror.request(method, path, headers=headers, data=BODY if method == "POST" else None)
    assert answer.status == 403
    if method == "HEAD":
        return ""
    (error,) = answer.json()["errors"]
    assert error["code"] == "DENIED"
    message: str = error["message"]
    return message


CROSS_SITE = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "["},
    {"Origin": "http://["},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
]


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0"])
async def test_pages_of_other_sites(server: Server, listen: str, headers: dict[str, str]) -> None:
    mirror = await server(server={"listen": listen})
    await push_image(mirror, IMAGE, "v1", "team/app")
    for method, path in [
        ("POST", PUSH),
        ("POST", "/v2/org/ok/blobs/uploads/"),
        ("PATCH", "/v2/org/ok/blobs/uploads/x"),
        ("PUT", "/v2/org/ok/manifests/1"),
        ("DELETE", "/v2/team/app/manifests/v1"),
        ("DELETE", f"/v2/team/app/blobs/{IMAGE.layers[0]}"),
        ("POST", "/anything"),
        ("TRACE", "/v2/"),
    ]:
        assert "page of another site" in await refused(mirror, method, path, headers)
    assert (await mirror.get("/v2/_catalog")).json() == {"repositories": ["team/app"]}
    assert (await mirror.get("/v2/team/app/manifests/v1", headers=headers)).status == 200  # and may not be read


@pytest.mark.parametrize("mark", [{"User-Agent": FIREFOX}, {"User-Agent": "docker/28.5.2", "Accept-Language": "*"}])
@pytest.mark.parametrize("host", [REBOUND, "127.0.0.1.evil.example", "localhost.", "[", "0x7f000001", "my-machine"])
async def test_pages_under_a_name_that_is_made_to_mean_loopback(
    server: Server, host: str, mark: dict[str, str]
) -> None:
    mirror = await server(server={"external_url": "https://mirror.example.com"})
    await push_image(mirror, IMAGE, "v1", "team/app")
    headers = {"Host": host, **mark}
    warm = ("/v2/team/app/manifests/v1", f"/v2/team/app/manifests/{IMAGE.digest}")
    for path in (*warm, "/v2/", "/v2/_catalog", "/metrics", "/healthz", "/api/v1/upstreams", "/nothing"):
        assert "may be anybody's" in await refused(mirror, "GET", path, headers)
    await refused(mirror, "HEAD", warm[0], headers)
    for method, path in [("POST", PUSH), ("DELETE", warm[0]), ("OPTIONS", "/v2/")]:
        assert await refused(mirror, method, path, headers)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0"])
async def test_pages_under_a_name_that_is_made_to_mean_us__push(server: Server, listen: str) -> None:
    """To the browser it is the same origin."""
    mirror = await server(server={"listen": listen})
    assert await refused(mirror, "POST", PUSH, {"Host": REBOUND, "Origin": f"http://{REBOUND}"})


@pytest.mark.parametrize(
    "host",
    [
        "localhost:5000",
        "LOCALHOST",
        "mirror.localhost:5000",
        "127.0.0.1",
        "[::1]:5000",
        "10.1.2.3",
        "Mirror.Example.com",
    ],
)
async def test_a_browser_of_somebody_who_looks(server: Server, host: str) -> None:
    """Also by what a proxy in front of loopback makes of Host."""
    mirror = await server(server={"external_url": "https://mirror.example.com"})
    await push_image(mirror, IMAGE, "v1", "team/app")
    for site in ("none", "same-origin"):
        headers = {"Host": host, "User-Agent": FIREFOX, "Accept-Language": "en", "Sec-Fetch-Site": site}
        assert (await mirror.get("/v2/team/app/manifests/v1", headers=headers)).status == 200


async def test_a_browser_elsewhere(server: Server) -> None:
    """Where other machines reach the server, it has whatever name they know it by."""
    mirror = await server(server={"listen": "0.0.0.0:0"})
    headers = {"Host": "mirror.lan:5000", "User-Agent": FIREFOX, "Accept-Language": "en"}
    assert (await mirror.get("/v2/_catalog", headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:5000", "Origin": "http://127.0.0.1:5000", "Sec-Fetch-Site": "same-origin"},
        {"Host": "192.0.2.1:5000", "Origin": "http://192.0.2.1:5000"},
        {"Host": "localhost", "Origin": "http://LOCALHOST"},
        {"Host": "mirror.example.com", "Origin": "https://mirror.example.com", "Sec-Fetch-Site": "same-origin"},
        {"Host": "127.0.0.1:5000", "Origin": "https://mirror.example.com", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
async def test_pages_of_our_own(server: Server, headers: dict[str, str]) -> None:
    mirror = await server(server={"external_url": "https://mirror.example.com"})
    assert (await mirror.post(PUSH, data=BODY, headers={"User-Agent": FIREFOX, **headers})).status == 201


CLIENTS: list[dict[str, str]] = [
    {"User-Agent": "docker/28.5.2 go/go1.25.3 git-commit/89c5e8f kernel/6.8 os/linux arch/amd64 UpstreamClient(x)"},
    {"User-Agent": "containerd/v2.1.4"},
    {
        "User-Agent": "containers/5.36.2 (github.com/containers/image)",
        "Docker-Distribution-Api-Version": "registry/2.0",
    },
    {"User-Agent": "buildkit/v0.25.1"},
    {"User-Agent": "curl/8.5.0", "Referer": "http://evil.example"},
    {},
]


@pytest.mark.parametrize("client", CLIENTS, ids=str)
@pytest.mark.parametrize("host", ["host.docker.internal:5000", "registry.test", "mirror.example.com:5000", "[", ""])
async def test_clients_may_call_it_what_they_like(mirror: RunningMirror, host: str, client: dict[str, Any]) -> None:
    """An ssh tunnel, a line in /etc/hosts, `docker run --add-host`: loopback has many names."""
    headers = {"Host": host, **client}
    assert (await mirror.post(PUSH, data=BODY, headers=headers)).status == 201
    assert (await mirror.get(f"/v2/org/ok/blobs/{DIGEST}", headers=headers)).body == BODY
