"""Secrets are put into everything the server is told, and must come out of nothing that it says."""

import io
import json
import logging

import pytest

from mirror.push.upload import Uploads
from tests.conftest import Clock, RunningMirror, Server
from tests.fakes.faults import CutAt, Drop, Fault, Gzip, Hang, RealmAt, RedirectTo, Status, Where, WrongBytes
from tests.fakes.images import make_image
from tests.fakes.upstream import Decoy, FakeHub
from tests.mirror.wire import NAME, Got, blob, fetch, manifest

PASSWORD = "canary-password"
CLIENT = "Basic Y2FuYXJ5OmNsaWVudA=="
COOKIE = "session=canary-cookie"
QUERY = "canary-query"
BODY = "canary-body"
IMAGE = make_image("secrets", [50_000])
(LAYER,) = IMAGE.layers


class Watch:
    """A server with an account, everything it has said so far, and the secrets that it has been told."""

    def __init__(
        self,
        hub: FakeHub,
        mirror: RunningMirror,
        caplog: pytest.LogCaptureFixture,
        access_log: io.StringIO,
    ) -> None:
        self.hub, self.mirror, self._caplog, self._access_log = hub, mirror, caplog, access_log
        self._answers: list[Got] = []

    async def fetch(self, path: str, method: str = "GET") -> Got:
        """Ask as a client that says too much."""
        separator = "&" if "?" in path else "?"
        got = await fetch(self.mirror, f"{path}{separator}token={QUERY}", method, Authorization=CLIENT, Cookie=COOKIE)
        self._answers.append(got)
        return got

    def check(self) -> None:
        said = self._said()
        for secret in (PASSWORD, CLIENT, CLIENT.split()[1], COOKIE, QUERY, BODY, *self._signatures(), *self._tokens()):
            assert secret not in said, secret
        told = json.dumps([[*seen.headers.items(), *seen.query.items()] for seen in self.hub.requests])
        assert not any(secret in told for secret in (CLIENT, COOKIE, QUERY))

    def _said(self) -> str:
        formatter = logging.Formatter()
        lines = [formatter.format(record) + repr(vars(record)) for record in self._caplog.records]
        access = self._access_log.getvalue()
        assert '"logger": "mirror.access"' in access
        return "\n".join([access, *lines, *(f"{got.headers} {got.body!r}" for got in self._answers)])

    def _signatures(self) -> set[str]:
        return {seen.query["verify"] for seen in self.hub.requests if "verify" in seen.query}

    def _tokens(self) -> set[str]:
        sent = {seen.headers.get("Authorization", "") for seen in self.hub.requests}
        return {value.split()[1] for value in sent if value}


@pytest.fixture
async def watch(access_log: io.StringIO, caplog: pytest.LogCaptureFixture, hub: FakeHub, server: Server) -> Watch:
    caplog.set_level(logging.DEBUG)
    hub.accounts["operator"] = PASSWORD
    mirror = await server(
        upstream={"username": "operator", "password": PASSWORD, "read_timeout": 0.5, "tag_ttl": 60},
        log={"level": "debug", "format": "json"},
    )
    hub.add_image(NAME, "latest", IMAGE)
    return Watch(hub, mirror, caplog, access_log)


async def test_ordinary_pull(watch: Watch) -> None:
    assert (await watch.fetch(manifest("latest"))).full_body == IMAGE.manifest
    assert (await watch.fetch(blob(LAYER))).full_body == IMAGE.blobs[LAYER]
    assert (await watch.fetch(blob(IMAGE.config), "HEAD")).status == 200
    assert (await watch.fetch(f"/v2/{NAME}/tags/list")).status == 200
    assert (await watch.fetch(f"/v2/{NAME}/referrers/{LAYER}")).status == 404
    assert (await watch.fetch("/v2/")).status == 200
    assert watch._signatures()
    assert watch._tokens()
    watch.check()


SPOILED: list[tuple[Where, Fault]] = [
    ("token", Status(500, {"X-Secret": BODY}, f'{{"details": "{BODY}"}}'.encode())),
    ("token", Status(401, body=BODY.encode())),
    ("token", Status(200, body=f'{{"token": "{BODY} {BODY}"}}'.encode())),
    ("token", Drop()),
    ("token", RedirectTo(f"http://127.0.0.1:9/?{BODY}")),
    ("manifest", RealmAt(f"http://{BODY}:{BODY}@127.0.0.1:9/?{BODY}")),
    ("manifest", Status(400, body=BODY.encode())),
    ("manifest", Status(500, {"X-Secret": BODY}, BODY.encode())),
    ("manifest", Status(200, {"Content-Type": f"text/html; {BODY}"}, BODY.encode())),
    ("manifest", Status(200, {"Content-Type": "application/json"}, f'{{"mediaType": "{BODY}'.encode())),
    ("manifest", RedirectTo(f"http://127.0.0.1:9/?{BODY}")),
    ("manifest", Hang()),
    ("manifest", Gzip()),
    ("blob", RedirectTo(f"http://127.0.0.1:9/{BODY}?{BODY}")),
    # A host that does not answer is named, and nothing else of an address.
    ("blob", RedirectTo(f"http://elsewhere.invalid/{BODY}?{BODY}")),
    ("blob", RedirectTo(f"http://{BODY}:{BODY}@example.com/")),
    ("blob", RedirectTo(f"http://[{BODY}")),
    ("cdn", Status(403, body=BODY.encode())),
    ("cdn", Status(500, body=BODY.encode())),
    ("cdn", CutAt(10)),
    ("cdn", Drop()),
    ("cdn", Hang()),
    ("cdn", WrongBytes()),
    ("cdn", Gzip()),
    ("tags", Status(200, body=f'{{"tags": "{BODY}"}}'.encode())),
    ("tags", Status(500, body=BODY.encode())),
]


@pytest.mark.parametrize(("where", "fault"), SPOILED, ids=lambda value: str(value)[:50])
async def test_failure(watch: Watch, where: Where, fault: Fault) -> None:
    watch.hub.fault(where, fault)
    for path in (manifest("latest"), blob(LAYER), f"/v2/{NAME}/tags/list"):
        await watch.fetch(path)
    if where == "tags":  # there it shows the cached ones instead
        assert watch._answers[-1].status == 200
    else:
        assert any(got.status != 200 or not got.complete for got in watch._answers)
    watch.check()


async def test_stale_tag(watch: Watch, clock: Clock) -> None:
    await watch.fetch(manifest("latest"))
    clock.advance(60)
    watch.hub.fault("manifest", Status(500, body=BODY.encode()))
    assert (await watch.fetch(manifest("latest"))).headers["X-Cache"] == "stale"
    watch.check()


async def test_signed_address_that_has_expired(watch: Watch) -> None:
    watch.hub.url_lifetime = -1
    assert (await watch.fetch(blob(LAYER))).status == 502
    assert watch._signatures()
    watch.check()


async def test_upstream_that_asks_the_redirect_target_for_a_login(watch: Watch) -> None:
    async with Decoy(401, {"WWW-Authenticate": f'Basic realm="{BODY}"'}, BODY.encode()) as cdn:
        watch.hub.fault("blob", RedirectTo(f"{cdn.url}/?{BODY}"))
        assert (await watch.fetch(blob(LAYER))).status == 502
    watch.check()


async def test_pushes_and_what_is_refused(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await watch.fetch("/v2/team/app/blobs/uploads/", "POST")).status == 202
    assert (await watch.fetch("/v2/library/app/blobs/uploads/", "POST")).status == 405
    assert (await watch.fetch("/v2/UPPER/blobs/uploads/", "POST")).status == 400
    assert (await watch.fetch("/nowhere")).status == 404
    assert (await watch.fetch("/v2/", "DELETE")).status == 405
    assert (await watch.fetch(f"/v2/{NAME}/tags/list?n=x")).status == 400

    async def fail(*_: object) -> None:
        raise RuntimeError(BODY)

    monkeypatch.setattr(Uploads, "start", fail)
    assert (await watch.fetch("/v2/team/app/blobs/uploads/", "POST")).status == 500
    said = watch._said()
    # An error that nobody expected is in the log with its text, which is what the log is for; the client sees none.
    assert BODY in said
    assert all(BODY.encode() not in got.body for got in watch._answers)
    assert not any(secret in said for secret in (PASSWORD, CLIENT, COOKIE, QUERY))
