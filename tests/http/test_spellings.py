"""Names, tags, digests and numbers in spellings that somebody will try: refused, and never a 500."""

import json

import pytest

from tests.conftest import RunningMirror
from tests.fakes.images import digest_of
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import connect, read_head, send_head

HEX = "0" * 64
GOOD = digest_of(b"x")

NAMES = [
    "UPPER",
    "Team/app",
    "team/App",
    "-team/app",
    "team-/app",
    "team//app",
    "/team",
    "team/",
    "team/.",
    "team/..",
    "../team",
    "team/../../etc",
    "%2e%2e/etc",
    "%2e%2e%2fetc",
    "..%2f..%2fetc%2fpasswd",
    "%252e%252e%252fetc",
    "team%2F..%2F..%2Fetc",
    "team%2F%2Fapp",
    "..%5c..%5cetc",
    "team\\app",
    "team%5Capp",
    "team%00",
    "team%00app",
    "%00",
    "team%0a",
    "team%0aapp",
    "team%0d%0aX-Evil:%201",
    "team%20app",
    "team+app",
    "team%7fapp",
    "team~app",
    "team:app",
    "team:5000/app",
    "team@app",
    "team,app",
    "team;app",
    "team'app",
    "team%22app",
    "team%3Capp%3E",
    "team$app",
    "team*",
    "team%3f",
    "team%23",
    "team%25",
    "team=app",
    "(team)",
    "[team]",
    "{team}",
    "team|app",
    "team^app",
    "team`app`",
    ".team",
    "team.",
    "_team",
    "team_",
    "team..app",
    "team___app",
    "team._app",
    "team-_app",
    "team.-app",
    "t%C3%A9am",
    "t%E9am",
    "te%CC%81am",
    "%EF%BC%B4eam",
    "team%E2%80%8Bapp",
    "team%E2%80%AEapp",
    "%D9%A1%D9%A2",
    "team%EF%BC%8Fapp",
    "team%ED%A0%80",
    "%FF%FE",
    "x" * 256,
    "x/" * 128 + "x",
    "x" * 5000,
    "%",
    "%zz",
    "%2",
]
TAGS = [
    ".tag",
    "-tag",
    "..",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc",
    "tag%00",
    "%00",
    "tag%0a",
    "tag%0d%0aX-Evil:%201",
    "tag%20",
    "%20tag",
    "tag+1",
    "tag%2b1",
    "tag,1",
    "tag@1",
    "tag%3f",
    "tag%23",
    "tag*",
    "tag~1",
    "tag=1",
    "tag%22",
    "tag%5c",
    "t%C3%A9g",
    "%D9%A1",
    "tag%ED%A0%80",
    "%FF",
    "t" * 129,
    "t" * 5000,
    "%",
]
DIGESTS = [
    "sha256:",
    f"sha256:{HEX[:-1]}",
    f"sha256:{HEX}0",
    f"sha256:{'A' * 64}",
    f"sha256:{HEX[:-1]}g",
    f"sha256:{HEX[:-1]}%0a",
    f"sha256:{HEX}%0a",
    f"sha256:{HEX}%00",
    f"sha256:%20{HEX[:-1]}",
    f"sha256%3A{HEX[:-1]}",
    f"SHA256:{HEX}",
    f"sha512:{HEX}",
    f"sha512:{HEX}{HEX}0",
    f"sha384:{HEX}{HEX[:32]}",
    f"md5:{HEX[:32]}",
    f"sha256+b64:{HEX}",
    f"sha256:{HEX}:{HEX}",
    f":{HEX}",
    ":",
    "sha256:..%2f..%2fetc",
    "sha256:%2e%2e",
    "../../etc:passwd",
    f"sha256:{'%D9%A1' * 64}",
    f"sha256:{'%EF%BC%91' * 64}",
    f"sha256:{'0' * 10_000}",
    f"sha256:{HEX[:-1]}%ED%A0%80",
    f"tarsum.v1+sha256:{HEX}",
]
NUMBERS = [
    "",
    "-1",
    "+7",
    "-0",
    "1.0",
    "1e3",
    "0x10",
    "1_0",
    "%205",
    "5%20",
    "%0a5",
    "5%0a",
    "%D9%A1%D9%A2",
    "%EF%BC%95",
    "%C2%B2",
    "NaN",
    "Infinity",
    "null",
    "true",
    "[]",
    "9" * 10,
    "9" * 5000,
    "%00",
    "%ED%A0%80",
    "%FF",
    "1;DROP%20TABLE%20tags",
    "1%27",
]


async def ask(mirror: RunningMirror, method: str, target: str) -> tuple[int, bytes]:
    """One request with just this target, which no client library would leave as it is."""
    async with connect(mirror) as (reader, writer):
        await send_head(writer, method, target, Connection="close", Content_Length=0)
        status, headers = await read_head(reader)
        body = await reader.read()
    if method != "HEAD" and headers["Content-Type"].startswith("application/json"):
        (error,) = json.loads(body)["errors"]
        assert error["code"]
        assert "X-Evil" not in headers
    else:
        assert method == "HEAD" or status == 400  # what the HTTP library itself refuses
    return status, body


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", "manifests/latest"),
        ("HEAD", f"manifests/{GOOD}"),
        ("PUT", "manifests/latest"),
        ("DELETE", "manifests/latest"),
        ("GET", f"blobs/{GOOD}"),
        ("DELETE", f"blobs/{GOOD}"),
        ("POST", "blobs/uploads/"),
        ("PATCH", f"blobs/uploads/{'0' * 32}"),
        ("GET", "tags/list"),
        ("GET", f"referrers/{GOOD}"),
    ],
)
async def test_names(hub: FakeHub, mirror: RunningMirror, method: str, rest: str) -> None:
    for name in NAMES:
        status, body = await ask(mirror, method, f"/v2/{name}/{rest}")
        assert status in (400, 404), (name, status)
        assert status == 400 or b"NAME_UNKNOWN" not in body, name
    assert hub.log() == []
    assert (await mirror.get("/v2/_catalog")).json() == {"repositories": []}


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_references(hub: FakeHub, mirror: RunningMirror, method: str) -> None:
    for reference in TAGS + DIGESTS:
        status, _ = await ask(mirror, method, f"/v2/team/app/manifests/{reference}")
        assert status in (400, 404), (reference, status)
    assert hub.log() == []


async def test_digests(hub: FakeHub, mirror: RunningMirror) -> None:
    for digest in DIGESTS + TAGS:
        for method, target in (
            ("GET", f"/v2/team/app/blobs/{digest}"),
            ("HEAD", f"/v2/team/app/blobs/{digest}"),
            ("DELETE", f"/v2/team/app/blobs/{digest}"),
            ("GET", f"/v2/team/app/referrers/{digest}"),
            ("POST", f"/v2/team/app/blobs/uploads/?digest={digest}"),
            ("POST", f"/v2/team/app/blobs/uploads/?mount={digest}"),
            ("PUT", f"/v2/team/app/blobs/uploads/{'0' * 32}?digest={digest}"),
        ):
            status, _ = await ask(mirror, method, target)
            assert status in (400, 404), (target, status)
    assert hub.log() == []


async def test_numbers(hub: FakeHub, mirror: RunningMirror) -> None:
    for number in NUMBERS:
        for path in ("/v2/_catalog", "/v2/team/app/tags/list"):
            status, body = await ask(mirror, "GET", f"{path}?n={number}")
            assert status == 400, number
            assert b"PAGINATION_NUMBER_INVALID" in body or b"errors" not in body
    assert hub.log() == []


@pytest.mark.parametrize("last", ["%00", "%FF", "%ED%A0%80", "x" * 7000, "%27%20OR%201=1--", "%25", "_", "\u00e9"])
async def test_last_can_be_anything(mirror: RunningMirror, last: str) -> None:
    async with connect(mirror) as (reader, writer):
        await send_head(writer, "GET", f"/v2/_catalog?last={last}", Connection="close")
        status, _ = await read_head(reader)
    assert status in (200, 400)


@pytest.mark.parametrize(
    "query", ["artifactType=%00", "artifactType=%FF", "artifactType=%27", "artifactType=" + "x" * 7000]
)
async def test_artifact_type_can_be_anything(mirror: RunningMirror, query: str) -> None:
    await mirror.post(f"/v2/team/app/blobs/uploads/?digest={GOOD}", data=b"x")
    answer = await mirror.get(f"/v2/team/app/referrers/{GOOD}?{query}")
    assert (answer.status, answer.json()["manifests"]) == (200, [])
