"""The fakes themselves: what a test believes about the upstream has to be true."""

import asyncio
import base64
import gzip
import io
import json
import re
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
import pytest
from multidict import CIMultiDict

from tests.fakes.faults import (
    CutAt,
    DeepJson,
    Drop,
    Empty200,
    Fault,
    GarbageJson,
    Gzip,
    Hang,
    HeadGetDisagree,
    Html200,
    HugeTags,
    IgnoreRange,
    Json200,
    LinkLoop,
    LongLength,
    NoDigestHeader,
    NoExpiresIn,
    NoIssuedAt,
    NoLength,
    RealmAt,
    RedirectLoop,
    RedirectTo,
    ShortLength,
    Status,
    Status416,
    Trickle,
    TwoChallenges,
    Unasked206,
    Where,
    WrongBytes,
    WrongDigestHeader,
)
from tests.fakes.images import Repository, digest_of, make_artifact, make_image, make_index, random_blob
from tests.fakes.upstream import Decoy, FakeHub

NAME = "library/nginx"
IMAGE = make_image(1, [3000, 500])
BLOB_DIGEST, BLOB = random_blob("self-test", 100_000)
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Got:
    """A response read to its end, or up to where it broke."""

    status: int
    headers: CIMultiDict[str]
    body: bytes
    broken: bool = False


class Client:
    """A client as simple as can be: one request at a time, tokens on demand, redirects without credentials."""

    def __init__(self, hub: FakeHub, session: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.session = session
        self.token = ""

    async def raw(self, method: str, url: str, **headers: str) -> Got:
        """One request, no redirect followed, broken bodies reported instead of raised."""
        body = bytearray()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, url, headers=named, allow_redirects=False) as response:
            try:
                async for chunk in response.content.iter_any():
                    body += chunk
            except (aiohttp.ClientPayloadError, aiohttp.ClientOSError):
                return Got(response.status, CIMultiDict(response.headers), bytes(body), broken=True)
            return Got(response.status, CIMultiDict(response.headers), bytes(body))

    async def ask(self, path: str, method: str = "GET", **headers: str) -> Got:
        """One registry request with whatever token we have."""
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return await self.raw(method, self.hub.url + path, **headers)

    async def login(self, path: str = f"/v2/{NAME}/tags/list", **headers: str) -> Got:
        """Fetch the token that the challenge of a path asks for."""
        challenge = dict(_PARAMETER.findall((await self.raw("GET", self.hub.url + path)).headers["WWW-Authenticate"]))
        url = f"{challenge['realm']}?service={challenge['service']}&scope={challenge['scope']}"
        answer = await self.raw("GET", url, **headers)
        if answer.status == 200:
            self.token = json.loads(answer.body)["token"]
        return answer

    async def location(self, digest: str = BLOB_DIGEST) -> str:
        return (await self.ask(f"/v2/{NAME}/blobs/{digest}")).headers["Location"]


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with FakeHub() as hub:
        hub.add_image(NAME, "latest", IMAGE)
        hub.add_blob(NAME, BLOB)
        yield hub


@pytest.fixture
async def client(hub: FakeHub) -> AsyncIterator[Client]:
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        yield Client(hub, session)


@pytest.fixture
async def known(hub: FakeHub, client: Client) -> Client:
    """A client that has its token, in a hub that has forgotten how it came by it."""
    await client.login()
    hub.clear()
    return client


# Content


def test_content_is_reproducible_and_real() -> None:
    assert make_image(1, [3000, 500]) == IMAGE
    assert make_image(2, [3000, 500]).digest != IMAGE.digest
    document = json.loads(IMAGE.manifest)
    for descriptor in (document["config"], *document["layers"]):
        blob = IMAGE.blobs[descriptor["digest"]]
        assert digest_of(blob) == descriptor["digest"]
        assert len(blob) == descriptor["size"]
    archives = [gzip.decompress(IMAGE.blobs[layer]) for layer in IMAGE.layers]
    config = json.loads(IMAGE.blobs[IMAGE.config])
    assert config["rootfs"]["diff_ids"] == [digest_of(archive) for archive in archives]
    with tarfile.open(fileobj=io.BytesIO(archives[0])) as archive:
        assert [member.size for member in archive if member.isfile()] == [3000]


def test_docker_media_types_and_indexes() -> None:
    images = [make_image(n, [10], "docker", architecture) for n, architecture in enumerate(("amd64", "arm64"))]
    index = make_index(images, "docker")
    document = json.loads(index.manifest)
    assert document["mediaType"] == index.media_type == "application/vnd.docker.distribution.manifest.list.v2+json"
    assert [entry["platform"]["architecture"] for entry in document["manifests"]] == ["amd64", "arm64"]
    assert [entry["digest"] for entry in document["manifests"]] == [image.digest for image in images]


def test_referrers_know_subject_and_type() -> None:
    held = Repository()
    artifact = make_artifact(1, IMAGE)
    held.add(IMAGE)
    held.add(artifact)
    assert [entry["digest"] for entry in json.loads(held.referrers(IMAGE.digest))["manifests"]] == [artifact.digest]
    assert json.loads(held.referrers(IMAGE.digest, "application/other"))["manifests"] == []
    assert json.loads(held.referrers(artifact.digest))["manifests"] == []


# A hub that behaves


async def test_complete_pull(hub: FakeHub, client: Client) -> None:
    path = f"/v2/{NAME}/manifests/latest"
    refused = await client.ask(path)
    assert refused.headers.getall("WWW-Authenticate") == [
        f'Bearer realm="http://{hub.token_host}/token",service="registry.docker.io",scope="repository:{NAME}:pull"'
    ]
    answer = json.loads((await client.login(path)).body)
    assert answer["token"] == answer["access_token"]
    assert answer["expires_in"] == 300
    assert answer["issued_at"].endswith("Z")
    head, manifest = await client.ask(path, "HEAD"), await client.ask(path)
    for got in (head, manifest):
        assert got.headers["Content-Type"] == IMAGE.media_type
        assert got.headers["Docker-Content-Digest"] == IMAGE.digest
        assert got.headers["Content-Length"] == str(len(IMAGE.manifest))
        assert got.headers["ratelimit-limit"] == "100;w=21600"
        assert got.headers["docker-ratelimit-source"] == "127.0.0.1"
    assert head.body == b""
    assert manifest.body == IMAGE.manifest
    assert head.headers["ratelimit-remaining"] == "100;w=21600"
    assert manifest.headers["ratelimit-remaining"] == "99;w=21600"
    for digest, blob in IMAGE.blobs.items():
        assert (await client.raw("GET", await client.location(digest))).body == blob
    assert hub.log()[:6] == [
        f"registry GET {path} 401",
        f"registry GET {path} 401",
        "token GET /token 200",
        f"registry HEAD {path} 200",
        f"registry GET {path} 200",
        f"registry GET /v2/{NAME}/blobs/{IMAGE.config} 307",
    ]
    assert hub.requests[2].query == {"service": "registry.docker.io", "scope": f"repository:{NAME}:pull"}
    assert hub.count("cdn", "GET", "/data") == len(IMAGE.blobs)


async def test_the_redirect_as_an_ordinary_client_follows_it(hub: FakeHub, known: Client) -> None:
    headers = {"Authorization": f"Bearer {known.token}"}
    async with known.session.get(f"{hub.url}/v2/{NAME}/blobs/{BLOB_DIGEST}", headers=headers) as response:
        assert await response.read() == BLOB
    assert [(seen.server, "Authorization" in seen.headers) for seen in hub.requests] == [
        ("registry", True),
        ("cdn", False),
    ]


async def test_cdn_refuses_credentials_and_bad_urls(hub: FakeHub, known: Client) -> None:
    url = await known.location()
    assert (await known.raw("GET", url, Authorization=f"Bearer {known.token}")).status == 400
    assert (await known.raw("GET", url[:-1] + ("0" if url[-1] != "0" else "1"))).status == 403
    assert (await known.raw("GET", url.partition("?")[0])).status == 403
    assert (await known.raw("HEAD", url)).status == 200
    hub.clock = lambda: time.time() + 601
    assert (await known.raw("GET", url)).status == 403
    hub.clock = time.time
    hub.expire_urls()
    assert (await known.raw("GET", url)).status == 403
    assert (await known.raw("GET", await known.location())).status == 200


@pytest.mark.parametrize(
    ("asked", "expected", "content_range"),
    [
        ("bytes=0-9", BLOB[:10], "bytes 0-9/100000"),
        ("bytes=99990-", BLOB[99990:], "bytes 99990-99999/100000"),
        ("bytes=-5", BLOB[-5:], "bytes 99995-99999/100000"),
        ("bytes=99999-200000", BLOB[-1:], "bytes 99999-99999/100000"),
    ],
)
@pytest.mark.parametrize("redirects", [True, False])
async def test_ranges(
    hub: FakeHub, known: Client, asked: str, expected: bytes, content_range: str, redirects: bool
) -> None:
    hub.redirects = redirects
    if redirects:
        got = await known.raw("GET", await known.location(), Range=asked)
    else:
        got = await known.ask(f"/v2/{NAME}/blobs/{BLOB_DIGEST}", Range=asked)
    assert (got.status, got.body, got.headers["Content-Range"]) == (206, expected, content_range)


async def test_range_conditions(known: Client) -> None:
    url = await known.location()
    etag = (await known.raw("HEAD", url)).headers["ETag"]
    assert (await known.raw("GET", url, Range="bytes=9-", If_Range=etag)).body == BLOB[9:]
    assert (await known.raw("GET", url, Range="bytes=9-", If_Range='"other"')).body == BLOB
    beyond = await known.raw("GET", url, Range="bytes=100000-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */100000")


async def test_accounts_and_private_repositories(hub: FakeHub, client: Client) -> None:
    hub.private.add(NAME)
    hub.accounts["me"] = "secret"
    path = f"/v2/{NAME}/manifests/latest"
    assert (await client.login(path)).status == 200
    denied = await client.ask(path)
    assert denied.status == 401
    assert denied.headers["WWW-Authenticate"].endswith(',error="insufficient_scope"')
    assert (await client.login(path, Authorization=aiohttp.encode_basic_auth("me", "wrong"))).status == 401
    assert (await client.login(path, Authorization="Basic %%%")).status == 401
    assert (await client.login(path, Authorization=aiohttp.encode_basic_auth("me", "secret"))).status == 200
    assert (await client.ask(path)).status == 200
    hub.anonymous = False
    assert (await client.login(path)).status == 401


async def test_tokens_are_for_one_repository_and_one_time(hub: FakeHub, known: Client) -> None:
    hub.add_image("library/other", "latest", IMAGE)
    path = f"/v2/{NAME}/manifests/latest"
    assert (await known.ask("/v2/")).status == 200
    assert (await known.ask("/v2/library/other/manifests/latest")).status == 401
    assert (await known.ask(path)).status == 200
    hub.clock = lambda: time.time() + 301
    assert (await known.ask(path)).status == 401
    await known.login()
    hub.revoke_tokens()
    assert (await known.ask(path)).status == 401


async def test_missing_things(hub: FakeHub, client: Client) -> None:
    await client.login("/v2/library/missing/manifests/latest")
    assert (await client.ask("/v2/library/missing/manifests/latest")).status == 401
    hub.hides_missing = False
    await client.login("/v2/library/missing/manifests/latest")
    assert b"NAME_UNKNOWN" in (await client.ask("/v2/library/missing/manifests/latest")).body
    await client.login()
    assert b"MANIFEST_UNKNOWN" in (await client.ask(f"/v2/{NAME}/manifests/missing")).body
    assert b"BLOB_UNKNOWN" in (await client.ask(f"/v2/{NAME}/blobs/sha256:{'0' * 64}")).body
    assert (await client.ask(f"/v2/{NAME}/referrers/{IMAGE.digest}")).status == 404
    assert (await client.ask(f"/v2/{NAME}/manifests/latest", "PUT")).status == 405
    assert (await client.raw("POST", f"http://{hub.token_host}/token")).status == 405


async def test_open_registry(hub: FakeHub, client: Client) -> None:
    hub.authentication = False
    hub.redirects = False
    hub.referrers = True
    hub.add_image(NAME, None, make_artifact(1, IMAGE))
    assert (await client.ask("/v2/")).status == 200
    blob = await client.ask(f"/v2/{NAME}/blobs/{BLOB_DIGEST}")
    assert (blob.body, blob.headers["Docker-Content-Digest"]) == (BLOB, BLOB_DIGEST)
    referrers = await client.ask(f"/v2/{NAME}/referrers/{IMAGE.digest}?artifactType=none")
    assert referrers.headers["OCI-Filters-Applied"] == "artifactType"


async def test_tags_page_by_page(hub: FakeHub, known: Client) -> None:
    for tag in ("1.0", "1.1", "2.0"):
        hub.move_tag(NAME, tag, IMAGE.digest)
    first = await known.ask(f"/v2/{NAME}/tags/list?n=3")
    assert json.loads(first.body) == {"name": NAME, "tags": ["1.0", "1.1", "2.0"]}
    assert first.headers["Link"] == f'</v2/{NAME}/tags/list?n=3&last=2.0>; rel="next"'
    second = await known.ask(f"/v2/{NAME}/tags/list?n=3&last=2.0")
    assert json.loads(second.body)["tags"] == ["latest"]
    assert "Link" not in second.headers


async def test_tags_move_and_go(hub: FakeHub, known: Client) -> None:
    path = f"/v2/{NAME}/manifests/latest"
    index = make_index([IMAGE, make_image(5, [10], architecture="arm64")])
    hub.move_tag(NAME, "latest", index)
    moved = await known.ask(path)
    assert (moved.body, moved.headers["Content-Type"]) == (index.manifest, index.media_type)
    assert (await known.ask(path, If_None_Match=moved.headers["Etag"])).status == 304
    assert hub.add_index(NAME, "other", index) == index.digest
    hub.delete_tag(NAME, "latest")
    assert (await known.ask(path)).status == 404
    assert (await known.ask(f"/v2/{NAME}/manifests/{index.images[1].digest}")).status == 200


async def test_rate_limit_counts_image_gets_only(hub: FakeHub, known: Client) -> None:
    hub.rate_limit = 1
    hub.add_index(NAME, "index", make_index([IMAGE]))
    for method, reference, status in (
        ("HEAD", "latest", 200),
        ("GET", "index", 200),
        ("GET", "latest", 200),
        ("GET", "latest", 429),
        ("HEAD", "latest", 200),
    ):
        assert (await known.ask(f"/v2/{NAME}/manifests/{reference}", method)).status == status


async def test_rate_limit_of_an_account(hub: FakeHub, client: Client) -> None:
    hub.account_limits["operator"] = 1
    basic = base64.b64encode(b"operator:correct-horse").decode()
    for headers, left in ({"Authorization": f"Basic {basic}"}, [200, 429]), ({}, [200, 200]):
        await client.login(**headers)
        assert [(await client.ask(f"/v2/{NAME}/manifests/latest")).status for _ in range(2)] == left


async def test_registry_that_wants_the_account_itself(hub: FakeHub, client: Client) -> None:
    hub.basic, hub.anonymous = True, False
    path = f"/v2/{NAME}/manifests/latest"
    assert (await client.ask(path)).headers["WWW-Authenticate"].startswith("Basic ")
    for login, status in ("operator:correct-horse", 200), ("operator:wrong", 401):
        basic = base64.b64encode(login.encode()).decode()
        assert (await client.ask(path, Authorization=f"Basic {basic}")).status == status


async def test_slow_upstream(hub: FakeHub, known: Client) -> None:
    hub.latency, hub.bandwidth = 0.05, 1_000_000
    url = await known.location()
    start = time.monotonic()
    assert (await known.raw("GET", url)).body == BLOB
    assert time.monotonic() - start >= 0.1


async def test_stop_and_start_on_the_same_ports(hub: FakeHub, known: Client) -> None:
    hosts = (hub.url, hub.token_host, hub.cdn_host)
    url = await known.location()
    hub.fault("cdn", Hang(before="body", after_bytes=10), times=1)
    stalled = asyncio.create_task(known.raw("GET", url))
    while hub.count("cdn") == 0:
        await asyncio.sleep(0.01)
    start = time.monotonic()
    await hub.stop()
    assert time.monotonic() - start < 1
    assert (await stalled).broken
    for target in (hub.url, f"http://{hub.token_host}/token", url):
        with pytest.raises(aiohttp.ClientConnectorError) as refused:
            await known.raw("GET", target)
        assert isinstance(refused.value.os_error, ConnectionRefusedError)
    await hub.start()
    assert (hub.url, hub.token_host, hub.cdn_host) == hosts
    assert (await known.raw("GET", url)).body == BLOB
    await hub.stop("cdn")
    assert (await known.ask("/v2/")).status == 200
    with pytest.raises(aiohttp.ClientConnectorError):
        await known.raw("GET", url)


# Faults

Check = Callable[[Got], bool]


def _named(value: object) -> str:
    """Test names that are the same in every process."""
    if isinstance(value, Fault):
        return repr(value)[:60]
    return value if isinstance(value, str) else ""


def _json_fails(got: Got) -> bool:
    try:
        json.loads(got.body)
    except (ValueError, RecursionError):
        return True
    return False


_MANIFEST_FAULTS: list[tuple[Fault, Check]] = [
    *((Status(code), lambda got, code=code: got.status == code) for code in (403, 404, 500, 502, 503, 504)),
    (Status(429), lambda got: got.status == 429 and "Retry-After" not in got.headers and b"TOOMANY" in got.body),
    (Status(429, {"Retry-After": "7"}), lambda got: got.headers["Retry-After"] == "7"),
    (Status(401), lambda got: got.status == 401 and "/token" in got.headers["WWW-Authenticate"]),
    (Status(451, body=b"gone"), lambda got: (got.status, got.body) == (451, b"gone")),
    (Html200(), lambda got: got.status == 200 and got.headers["Content-Type"].startswith("text/html")),
    (Json200(), lambda got: got.status == 200 and b"errors" in got.body),
    (Gzip(), lambda got: got.headers["Content-Encoding"] == "gzip" and gzip.decompress(got.body) == IMAGE.manifest),
    (Empty200(), lambda got: got.status == 200 and got.body == b"" and not got.broken),
    (WrongDigestHeader(), lambda got: got.headers["Docker-Content-Digest"] != digest_of(got.body)),
    (NoDigestHeader(), lambda got: "Docker-Content-Digest" not in got.headers and got.body == IMAGE.manifest),
    (NoLength(), lambda got: "Content-Length" not in got.headers and got.body == IMAGE.manifest),
    (GarbageJson(), _json_fails),
    (DeepJson(), _json_fails),
    (RedirectLoop(), lambda got: got.headers["Location"] == f"/v2/{NAME}/manifests/latest"),
    (RedirectTo("http://127.0.0.2/x", 302), lambda got: got.status == 302 and "127.0.0.2" in got.headers["Location"]),
]


def _bytes_check(status: int, body: bytes, broken: bool = False) -> Check:
    return lambda got: (got.status, got.body, got.broken) == (status, body, broken)


_CDN_FAULTS: list[tuple[Fault, str, Check]] = [
    (CutAt(0), "", _bytes_check(200, b"", broken=True)),
    (CutAt(1), "", _bytes_check(200, BLOB[:1], broken=True)),
    (CutAt(50_000), "", _bytes_check(200, BLOB[:50_000], broken=True)),
    (CutAt(-1), "", _bytes_check(200, BLOB[:-1], broken=True)),
    (CutAt(10), "bytes=100-", _bytes_check(206, BLOB[100:110], broken=True)),
    (CutAt(10, reset=True), "", lambda got: got.broken and BLOB.startswith(got.body)),
    (LongLength(3), "", lambda got: got.body == BLOB and got.broken and got.headers["Content-Length"] == "100003"),
    (NoLength(), "", lambda got: got.body == BLOB and "Content-Length" not in got.headers),
    (WrongBytes(), "", lambda got: got.body[:-1] == BLOB[:-1] and got.body[-1] != BLOB[-1]),
    (Unasked206(), "", lambda got: got.status == 206 and got.body == BLOB[:50_000]),
    (IgnoreRange(), "bytes=100-", _bytes_check(200, BLOB)),
    (Status416(), "bytes=100-", lambda got: got.status == 416),
    (Empty200(), "bytes=100-", _bytes_check(200, b"")),
    (Status(403), "", lambda got: got.status == 403),
]


@pytest.mark.parametrize(("fault", "check"), _MANIFEST_FAULTS, ids=_named)
async def test_manifest_faults(hub: FakeHub, known: Client, fault: Fault, check: Check) -> None:
    path = f"/v2/{NAME}/manifests/latest"
    hub.fault("manifest", fault, times=1)
    assert check(await known.ask(path))
    assert (await known.ask(path)).body == IMAGE.manifest


@pytest.mark.parametrize(("fault", "asked", "check"), _CDN_FAULTS, ids=_named)
async def test_cdn_faults(hub: FakeHub, known: Client, fault: Fault, asked: str, check: Check) -> None:
    url = await known.location()
    hub.fault("cdn", fault, times=1)
    headers = {"Range": asked} if asked else {}
    assert check(await known.raw("GET", url, **headers))
    assert (await known.raw("GET", url)).body == BLOB


async def test_no_length_holds_for_head_too(hub: FakeHub, known: Client) -> None:
    hub.fault("manifest", NoLength())
    assert "Content-Length" not in (await known.ask(f"/v2/{NAME}/manifests/latest", "HEAD")).headers


async def test_excess_bytes_really_are_on_the_wire(hub: FakeHub) -> None:
    """Read from a bare socket: what an HTTP client makes of the excess depends on how the bytes happen to arrive."""
    hub.fault("token", ShortLength(5), times=1)
    reader, writer = await asyncio.open_connection(*hub.token_host.split(":"))
    writer.write(b"GET /token HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    declared = re.search(rb"Content-Length: (\d+)", head)
    assert declared is not None
    assert len(body) == int(declared[1]) + 5


async def test_head_and_get_disagree(hub: FakeHub, known: Client) -> None:
    hub.fault("manifest", HeadGetDisagree(), times=1)
    path = f"/v2/{NAME}/manifests/latest"
    get, head = await known.ask(path), await known.ask(path, "HEAD")
    assert get.headers["Docker-Content-Digest"] == IMAGE.digest
    assert head.headers["Docker-Content-Digest"] != IMAGE.digest
    assert head.headers["Content-Length"] != get.headers["Content-Length"]


@pytest.mark.parametrize("before", ["headers", "body"])
async def test_hang_is_visible_and_can_be_released(hub: FakeHub, known: Client, before: str) -> None:
    url = await known.location()
    hub.fault("cdn", Hang("headers") if before == "headers" else Hang("body", after_bytes=7), times=1)
    request = asyncio.create_task(known.raw("GET", url))
    await asyncio.sleep(0.1)
    assert not request.done()
    assert hub.requests[-1].status == (0 if before == "headers" else 200)
    assert hub.log()[-1].endswith("/data -" if before == "headers" else "/data 200")
    hub.release()
    assert (await request).body == BLOB
    assert hub.requests[-1].status == 200


async def test_hang_delivers_what_it_promised(hub: FakeHub, known: Client) -> None:
    hub.fault("cdn", Hang("body", after_bytes=7))
    async with known.session.get(await known.location()) as response:
        assert await response.content.readexactly(7) == BLOB[:7]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readany(), 0.05)


async def test_trickle(hub: FakeHub, known: Client) -> None:
    digest = hub.add_blob(NAME, b"0123456789" * 2)
    hub.fault("cdn", Trickle(100), times=1)
    url = await known.location(digest)
    start = time.monotonic()
    assert (await known.raw("GET", url)).body == b"0123456789" * 2
    assert time.monotonic() - start >= 0.1
    hub.fault("cdn", Trickle(0.1))
    async with known.session.get(url) as response:
        assert await response.content.readany() == b"0"


async def test_drop(hub: FakeHub, known: Client) -> None:
    hub.fault("manifest", Drop())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await known.ask(f"/v2/{NAME}/manifests/latest")
    assert hub.log()[-1].endswith("latest -")


async def test_tag_faults(hub: FakeHub, known: Client) -> None:
    path = f"/v2/{NAME}/tags/list?n=1"
    hub.fault("tags", HugeTags(1_000_000), times=1)
    hub.fault("tags", LinkLoop(), times=1)
    huge = await known.ask(path)
    assert len(huge.body) > 900_000
    assert json.loads(huge.body)["tags"][-1] == "last"
    assert (await known.ask(path)).headers["Link"] == f'<{path}>; rel="next"'


async def test_token_faults(hub: FakeHub, client: Client) -> None:
    hub.fault("token", NoExpiresIn(), times=1)
    hub.fault("token", NoIssuedAt(), times=1)
    hub.fault("token", Status(503), times=1)
    assert json.loads((await client.login()).body).keys() == {"token", "access_token", "issued_at"}
    assert json.loads((await client.login()).body).keys() == {"token", "access_token", "expires_in"}
    assert (await client.login()).status == 503


async def test_challenges_of_another_realm(hub: FakeHub, client: Client) -> None:
    path = f"/v2/{NAME}/manifests/latest"
    hub.fault("manifest", RealmAt("http://evil/token"), times=1)
    challenge = (await client.ask(path)).headers["WWW-Authenticate"]
    scope = f'service="registry.docker.io",scope="repository:{NAME}:pull"'
    assert challenge == f'Bearer realm="http://evil/token",{scope}'
    for fault, count in ((TwoChallenges("http://evil/t"), 2), (TwoChallenges("http://evil/t", False, True), 1)):
        hub.fault("manifest", fault, times=1)
        challenges = (await client.ask(path)).headers.getall("WWW-Authenticate")
        assert len(challenges) == count
        assert ("evil" in challenges[0].partition(",")[0]) == fault.evil_first
        assert "".join(challenges).count(scope) == 2


async def test_faults_wait_for_a_token_and_match(hub: FakeHub, client: Client) -> None:
    path = f"/v2/{NAME}/manifests/latest"
    hub.fault("manifest", Status(500), times=1, match="HEAD ")
    await client.login(path)
    assert (await client.ask(path)).status == 200
    assert (await client.ask(path, "HEAD")).status == 500
    assert (await client.ask(path, "HEAD")).status == 200
    hub.fault("manifest", Status(502))
    assert [(await client.ask(path)).status for _ in range(3)] == [502] * 3
    hub.clear_faults()
    assert (await client.ask(path)).status == 200


@pytest.mark.parametrize("where", ["ping", "blob", "referrers"])
async def test_faults_everywhere_else(hub: FakeHub, known: Client, where: Where) -> None:
    paths = {"ping": "/v2/", "blob": f"/v2/{NAME}/blobs/{BLOB_DIGEST}", "referrers": f"/v2/{NAME}/referrers/x"}
    hub.fault(where, Status(500))
    assert (await known.ask(paths[where])).status == 500
    with pytest.raises(ValueError, match="blobs"):
        hub.fault("blobs", Status(500))  # type: ignore[arg-type]


# The decoy


async def test_decoy_records_requests_and_connections(client: Client) -> None:
    async with Decoy(302, {"Location": "http://127.0.0.1:1/"}, b"moved") as decoy:
        assert (decoy.requests, decoy.connections) == ([], 0)
        got = await client.raw("GET", f"{decoy.url}/a?b=c", Authorization="canary")
        assert (got.status, got.headers["Location"], got.body) == (302, "http://127.0.0.1:1/", b"moved")
        assert decoy.log() == ["decoy GET /a 302"]
        assert decoy.requests[0].headers["authorization"] == "canary"
        _, writer = await asyncio.open_connection(*decoy.host.split(":"))
        writer.close()
        await writer.wait_closed()
        assert decoy.connections == 2
