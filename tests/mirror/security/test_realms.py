"""Where a token is asked for: at the upstream itself and at hosts the operator named, whatever the upstream says.

The upstream has an account, so that there is something to steal.
"""

import pytest

from tests.conftest import RunningMirror, Server
from tests.fakes.faults import RealmAt, RedirectTo, TwoChallenges
from tests.fakes.images import make_image
from tests.fakes.upstream import Decoy, FakeHub
from tests.mirror.wire import NAME, fetch, manifest

IMAGE = make_image("realms", [10])
TAG = manifest("latest")
TOKEN = b'{"token": "decoy", "expires_in": 300}'

# {port}: of the decoy; {good}: host and port of the real token service.
EVIL_REALMS = [
    "http://127.0.0.1:{port}/token",
    "http://localhost:{port}/token",
    "http://LOCALHOST:{port}/token",
    "http://localhost.:{port}/token",
    "http://127.0.0.1.:{port}/token",
    "http://127.1:{port}/token",
    "http://2130706433:{port}/token",
    "http://0x7f000001:{port}/token",
    "http://0177.0.0.1:{port}/token",
    "http://0.0.0.0:{port}/token",
    "http://0:{port}/token",
    "http://[::]:{port}/token",
    "http://[::1]:{port}/token",
    "http://[::ffff:127.0.0.1]:{port}/token",
    "http://{good}@127.0.0.1:{port}/token",
    "http://{good}%40127.0.0.1:{port}/token",
    "http://user:password@{good}/token",
    "http://@{good}@127.0.0.1:{port}/token",
    "http://{good}\\@127.0.0.1:{port}/token",
    "http://127.0.0.1:{port}#{good}/token",
    "http://127.0.0.1:{port}?{good}/token",
    "https://{good}:{port}/token",
    "//127.0.0.1:{port}/token",
    "http:///127.0.0.1:{port}/token",
    "/token",
    "token",
    "",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
    "ws://127.0.0.1:{port}/token",
    "http://127.0.0.1:99999/token",
    "http://127.0.0.1:/token",
    "http://[127.0.0.1/token",
    "http://\u2488\u2488:{port}/token",
    "http://127\u30020\u30020\u30021:{port}/token",
    "http://{good} @127.0.0.1:{port}/token",
]


@pytest.fixture
async def holder(hub: FakeHub, server: Server) -> RunningMirror:
    """A server that has an account at the hub."""
    hub.add_image(NAME, "latest", IMAGE)
    return await server(upstream={"username": "operator", "password": "correct-horse", "read_timeout": 2})


async def test_realm_elsewhere_is_never_asked(hub: FakeHub, holder: RunningMirror) -> None:
    async with Decoy(200, {"Content-Type": "application/json"}, TOKEN) as decoy:
        port = decoy.host.rpartition(":")[2]
        for realm in EVIL_REALMS:
            hub.clear_faults()
            hub.fault("manifest", RealmAt(realm.format(port=port, good=hub.token_host)))
            got = await fetch(holder, TAG)
            assert (got.status, got.complete) == (502, True), realm
            assert (decoy.connections, decoy.log()) == (0, []), realm
    basic = [seen for seen in hub.requests if seen.headers.get("Authorization", "").startswith("Basic")]
    assert {seen.server for seen in basic} <= {"token"}


@pytest.mark.parametrize("spelling", ["http://{host}/token", "HTTP://{host}/token", "http://{host}/token?a=b"])
async def test_realm_that_the_operator_named(hub: FakeHub, holder: RunningMirror, spelling: str) -> None:
    hub.fault("manifest", RealmAt(spelling.format(host=hub.token_host)))
    assert (await fetch(holder, TAG)).full_body == IMAGE.manifest


@pytest.mark.parametrize(
    "realm", ["http://{good}#@{evil}/token", "http://{good}/@{evil}/token", "http://{good}?@{evil}/"]
)
async def test_realm_that_only_looks_as_if_it_led_elsewhere(hub: FakeHub, holder: RunningMirror, realm: str) -> None:
    async with Decoy(200, {"Content-Type": "application/json"}, TOKEN) as decoy:
        hub.fault("manifest", RealmAt(realm.format(good=hub.token_host, evil=decoy.host)))
        assert (await fetch(holder, TAG)).status == 502  # asked where there is no such service
        assert (hub.count("token"), decoy.connections) == (1, 0)


async def test_realm_on_the_upstream_itself_needs_no_name(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"token_hosts": []})
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("manifest", RealmAt(f"{hub.url}/token"))
    assert (await fetch(mirror, TAG)).status == 404  # asked, and there is none
    assert hub.count("registry", "GET", "/token") == 1


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("evil_first", [False, True])
async def test_two_challenges(hub: FakeHub, holder: RunningMirror, evil_first: bool, joined: bool) -> None:
    async with Decoy(200, {"Content-Type": "application/json"}, TOKEN) as decoy:
        hub.fault("manifest", TwoChallenges(f"{decoy.url}/token", evil_first=evil_first, joined=joined))
        got = await fetch(holder, TAG)
        assert decoy.connections == 0
    assert got.status == (502 if evil_first else 200)
    assert got.full_body == (None if evil_first else IMAGE.manifest)


async def test_realm_twice_in_one_challenge(hub: FakeHub, holder: RunningMirror) -> None:
    """The first one counts: a second is what somebody on the way would append."""
    async with Decoy(200, {}, TOKEN) as decoy:
        hub.fault("manifest", RealmAt(f'http://{hub.token_host}/token",realm="{decoy.url}/token'))
        assert (await fetch(holder, TAG)).full_body == IMAGE.manifest
        assert decoy.connections == 0


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_token_request_is_not_redirected(hub: FakeHub, holder: RunningMirror, code: int) -> None:
    async with Decoy(200, {"Content-Type": "application/json"}, TOKEN) as decoy:
        hub.fault("token", RedirectTo(f"{decoy.url}/token", code))
        assert (await fetch(holder, TAG)).status == 502
        assert decoy.connections == 0


async def test_realm_that_asks_for_credentials_again(hub: FakeHub, server: Server) -> None:
    """The named token service answers 401 with a challenge of its own: that one is not followed."""
    async with Decoy(401, {"WWW-Authenticate": 'Basic realm="mine"'}) as service, Decoy() as evil:
        service.reply.headers["WWW-Authenticate"] = f'Bearer realm="{evil.url}"'
        mirror = await server(upstream={"token_hosts": [service.host], "username": "operator", "password": "x"})
        hub.add_image(NAME, "latest", IMAGE)
        hub.fault("manifest", RealmAt(f"{service.url}/token"))
        assert (await fetch(mirror, TAG)).status == 502
        assert (service.count(), evil.connections) == (1, 0)
