"""Where blobs may be fetched from: public addresses and hosts the operator named; and what must not go along."""

import asyncio
import socket
from typing import Any

import pytest

from tests.conftest import RunningMirror, Server
from tests.fakes.faults import RealmAt, RedirectLoop, RedirectTo
from tests.fakes.images import random_blob
from tests.fakes.upstream import Decoy, FakeHub
from tests.mirror.wire import NAME, blob, fetch, manifest, stored

DIGEST, DATA = random_blob("redirects", 2000)
SECRETS = ("Authorization", "Cookie", "Proxy-Authorization")

# Every one of them leads to the decoy, or to nothing that strangers may send us to.
NOT_PUBLIC = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://[::]:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[fc00::1]/",
    "http://[ff02::1]/",
    "http://\uff11\uff12\uff17.0.0.1:{port}/",
    "http://127\u30020\u30020\u30021:{port}/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://192.0.2.1/",
    "http://inside.test:{port}/",
    "http://both.test:{port}/",
    "//127.0.0.1:{port}/",
    "http://{cdn}@127.0.0.1:{port}/",
    "http://user:password@{cdn}/",
    "http://{cdn}\\@127.0.0.1:{port}/",
]
NAMES = {"inside.test": ["127.0.0.1"], "both.test": ["93.184.215.14", "127.0.0.1"]}


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names of our own, one of them with a public and a private address."""
    ask = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
        found = [ask(address, port, *args, **kwargs) for address in NAMES.get(host, [host])]
        return [entry for entries in found for entry in entries]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


async def test_redirect_to_what_is_not_public(hub: FakeHub, mirror: RunningMirror) -> None:
    """All at once, each for a blob of its own; most are refused at sight, those with names after a look-up."""
    blobs = {location: random_blob(location, 100) for location in NOT_PUBLIC}
    async with Decoy(200, {}, DATA) as decoy:
        port = decoy.host.rpartition(":")[2]
        for location, (digest, data) in blobs.items():
            assert hub.add_blob(NAME, data) == digest
            hub.fault("blob", RedirectTo(location.format(port=port, cdn=hub.cdn_host)), match=digest)
        got = await asyncio.gather(*(fetch(mirror, blob(digest)) for digest, _ in blobs.values()))
        for location, one in zip(blobs, got, strict=True):
            assert (one.status, one.complete) == (502, True), location
        assert decoy.connections == 0
    assert stored(mirror) == set()
    hub.clear_faults()
    for digest, data in blobs.values():
        assert (await fetch(mirror, blob(digest))).full_body == data


@pytest.mark.parametrize("kind", ["manifest", "tags"])
async def test_redirect_of_other_answers(hub: FakeHub, mirror: RunningMirror, kind: str) -> None:
    hub.add_blob(NAME, DATA)
    path = manifest("latest") if kind == "manifest" else f"/v2/{NAME}/tags/list"
    async with Decoy(200, {"Content-Type": "application/json"}, b'{"tags": ["evil"]}') as decoy:
        hub.fault("manifest" if kind == "manifest" else "tags", RedirectTo(decoy.url))
        assert (await fetch(mirror, path)).status == 502
        assert decoy.connections == 0


async def test_redirect_through_a_named_host_to_one_that_is_not(hub: FakeHub, server: Server) -> None:
    async with Decoy(200, {}, DATA) as inside, Decoy(302, {"Location": inside.url}) as named:
        mirror = await server(upstream={"redirect_hosts": [named.host]})
        hub.add_blob(NAME, DATA)
        hub.fault("blob", RedirectTo(named.url))
        assert (await fetch(mirror, blob(DIGEST))).status == 502
        assert (named.count(), inside.connections) == (1, 0)


@pytest.mark.parametrize("named", ["host and port", "host"])
async def test_redirect_to_a_named_host__carries_no_credentials(hub: FakeHub, server: Server, named: str) -> None:
    async with Decoy(200, {}, DATA) as cdn:
        hosts = [cdn.host if named == "host and port" else "127.0.0.1"]
        mirror = await server(upstream={"redirect_hosts": hosts, "username": "operator", "password": "correct-horse"})
        hub.add_blob(NAME, DATA)
        hub.fault("blob", RedirectTo(f"{cdn.url}/somewhere?signature=abc"))
        got = await fetch(mirror, blob(DIGEST), Authorization="Basic Y2xpZW50OnNlY3JldA==", Cookie="a=b")
        assert got.full_body == DATA
        (seen,) = cdn.requests
        assert (seen.method, seen.path, seen.query) == ("GET", "/somewhere", {"signature": "abc"})
        assert not any(name in seen.headers for name in SECRETS)


async def test_challenge_of_the_redirect_target__is_not_answered(hub: FakeHub, server: Server) -> None:
    """Neither with the account nor with the registry's token, nor by asking whom it names."""
    async with Decoy() as evil, Decoy(401, {"WWW-Authenticate": f'Bearer realm="{evil.url}"'}) as cdn:
        upstream = {"redirect_hosts": [cdn.host], "token_hosts": [hub.token_host], "username": "operator"}
        mirror = await server(upstream={**upstream, "password": "correct-horse"})
        hub.add_blob(NAME, DATA)
        hub.fault("blob", RedirectTo(cdn.url))
        for challenge in (
            f'Bearer realm="{evil.url}"',
            'Basic realm="x"',
            f'Bearer realm="http://{hub.token_host}/token"',
        ):
            cdn.reply.headers["WWW-Authenticate"] = challenge
            assert (await fetch(mirror, blob(DIGEST))).status == 502
        assert evil.connections == 0
        assert cdn.count() == 9  # a refusal there may be an address that has expired: three tries each
        assert not any(name in seen.headers for seen in cdn.requests for name in SECRETS)
    assert hub.count("token") == 1


async def test_redirect_there_and_back_again(hub: FakeHub, server: Server) -> None:
    """A -> B -> A: what of A is asked for then is B's choice, so A's token is for neither of the two."""
    async with Decoy(307) as between:
        mirror = await server(upstream={"redirect_hosts": [between.host, hub.cdn_host]})
        hub.add_blob(NAME, DATA)
        between.reply.headers["Location"] = f"{hub.url}{blob(DIGEST)}"
        hub.fault("blob", RedirectTo(between.url), times=1)
        assert (await fetch(mirror, blob(DIGEST))).status == 404
        assert not any(name in seen.headers for seen in between.requests for name in SECRETS)
    assert [seen.status for seen in hub.requests if seen.server == "registry"] == [401, 307, 401]
    assert "Authorization" in hub.requests[-2].headers
    assert "Authorization" not in hub.requests[-1].headers
    assert (await fetch(mirror, blob(DIGEST))).full_body == DATA


async def test_redirect_without_end(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("blob", RedirectLoop())
    assert (await fetch(mirror, blob(DIGEST))).status == 502
    assert hub.count("registry") <= 8


async def test_redirect_a_few_times(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("blob", RedirectLoop(), times=4)
    assert (await fetch(mirror, blob(DIGEST))).full_body == DATA


@pytest.mark.parametrize("location", ["", "ftp://example.com/", "file:///etc/passwd", "http://", "http://[", "data:,x"])
async def test_redirect_to_no_address_at_all(hub: FakeHub, mirror: RunningMirror, location: str) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("blob", RedirectTo(location))
    assert (await fetch(mirror, blob(DIGEST))).status == 502


async def test_cookie_of_an_upstream_is_not_kept(hub: FakeHub, server: Server) -> None:
    async with Decoy(404, {"Set-Cookie": "tracking=1; Path=/"}) as upstream:
        mirror = await server(upstream={"url": upstream.url})
        for _ in range(2):
            await fetch(mirror, manifest("latest"))
        assert [seen.headers.get("Cookie") for seen in upstream.requests] == [None, None]


async def test_realm_does_not_open_the_way_for_redirects(hub: FakeHub, server: Server) -> None:
    """A host named for tokens is not named for blobs."""
    mirror = await server(upstream={"redirect_hosts": []})
    hub.add_blob(NAME, DATA)
    hub.fault("manifest", RealmAt(f"http://{hub.token_host}/token"))
    hub.fault("blob", RedirectTo(f"http://{hub.token_host}/token"))
    assert (await fetch(mirror, blob(DIGEST))).status == 502
    assert hub.count("token") == 1
