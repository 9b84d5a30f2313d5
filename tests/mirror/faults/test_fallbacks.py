"""What lets a client go on when its mirror cannot (docs/clients.md, "When the mirror fails"): statuses and headers."""

import json

import pytest

from tests.conftest import RunningMirror, Server
from tests.fakes.faults import Fault, Hang, Status, Where
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, fetch, manifest

IMAGE = make_image("fallbacks", [50_000])
(LAYER,) = IMAGE.layers
TAGS, REFERRERS = f"/v2/{NAME}/tags/list", f"/v2/{NAME}/referrers/{IMAGE.digest}"
KINDS: tuple[Where, ...] = ("manifest", "blob", "tags", "referrers")


@pytest.fixture
async def held(hub: FakeHub, server: Server) -> RunningMirror:
    hub.add_image(NAME, "v1", IMAGE)
    hub.referrers = True
    return await server(upstream={"connect_timeout": 1, "read_timeout": 1})


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Status(401), 404),
        (Status(403), 404),
        (Status(404), 404),
        (Status(429, {"Retry-After": "7"}), 503),
        (Status(500), 502),
        (Status(503, {"Retry-After": "1"}), 502),
        (Hang(), 504),
    ],
    ids=str,
)
async def test_a_failure_is_one_that_sends_clients_on(
    hub: FakeHub, held: RunningMirror, fault: Fault, status: int
) -> None:
    """By HEAD as by GET. Never 401, for which Docker would send its users' passwords; never 429, which containerd
    repeats six times at once; never a redirect."""
    for kind in KINDS:
        hub.fault(kind, fault)
    # HEAD of a blob under a name that nobody has pulled is answered from here (decision 7).
    for method, path in (
        ("HEAD", manifest("v1")),
        ("GET", manifest("v1")),
        ("HEAD", manifest(IMAGE.digest)),
        ("GET", manifest(IMAGE.digest)),
        ("GET", blob(LAYER)),
        ("GET", TAGS),
        ("GET", REFERRERS),
    ):
        got = await fetch(held, path, method)
        assert (got.status, got.complete) == (status, True), (method, path)
        assert "WWW-Authenticate" not in got.headers
        assert "Location" not in got.headers
        assert (got.body == b"") == (method == "HEAD")
        assert method == "HEAD" or json.loads(got.body)["errors"][0]["message"]
        assert got.headers["Content-Type"] == "application/json"
        if status == 503:
            assert 1 <= int(got.headers["Retry-After"]) <= 7


@pytest.mark.parametrize(
    "said", ["application/json", "text/plain; charset=utf-8", f"{IMAGE.media_type}; charset=utf-8"]
)
async def test_a_manifest_has_its_own_type_whatever_the_upstream_says(
    hub: FakeHub, held: RunningMirror, said: str
) -> None:
    """podman takes `application/json` for another format and fails for good; Docker leaves the mirror."""
    headers = {"Content-Type": said, "Docker-Content-Digest": IMAGE.digest}
    hub.fault("manifest", Status(200, headers, IMAGE.manifest))
    for _ in range(2):
        for method in ("HEAD", "GET"):
            got = await fetch(held, manifest("v1"), method)
            assert (got.status, got.headers["Content-Type"]) == (200, IMAGE.media_type)
            assert got.headers["Docker-Content-Digest"] == IMAGE.digest
            assert got.headers["Content-Length"] == str(len(IMAGE.manifest))


async def test_a_manifest_is_never_sent_in_parts(held: RunningMirror) -> None:
    """containerd 2.1 asks everything with `bytes=0-`, to find out whether it can have parts."""
    for _ in range(2):
        got = await fetch(held, manifest("v1"), Range="bytes=0-")
        assert (got.status, got.full_body) == (200, IMAGE.manifest)


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic Og==",  # podman without a login
        "Basic aHViLXVzZXI6Y2FuYXJ5LXNlY3JldA==",  # Docker, to any mirror
        "Bearer canary-secret",
        "Basic !",
        "Negotiate",
        "",
    ],
)
async def test_a_login_is_neither_asked_for_nor_looked_at(
    hub: FakeHub, held: RunningMirror, authorization: str
) -> None:
    for path in ("/v2/", manifest("v1"), manifest("v1"), blob(LAYER), TAGS, REFERRERS):
        got = await fetch(held, path, Authorization=authorization)
        assert got.status == 200, path
        assert "WWW-Authenticate" not in got.headers
    sent = {seen.headers.get("Authorization", "") for seen in hub.requests}
    assert {one.partition(" ")[0] for one in sent} == {"", "Bearer"}
    assert not authorization or authorization not in sent


async def test_a_manifest_that_was_served_has_blobs_that_can_be(hub: FakeHub, held: RunningMirror) -> None:
    """podman fails for good at a blob that it cannot have; so what fails for a moment is asked for again from here."""
    assert (await fetch(held, manifest("v1"))).status == 200
    for fault in (Status(503), Status(500)):
        hub.fault("blob", fault, times=1)
    assert (await fetch(held, blob(LAYER))).full_body == IMAGE.blobs[LAYER]
