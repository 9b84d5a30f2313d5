"""An upstream that does not answer is not waited for again and again; what is here is served meanwhile."""

import asyncio
import time
from pathlib import Path

import pytest

from mirror.pull import manifest as manifest_pulls
from mirror.upstream import breaker, health, limits
from mirror.upstream.breaker import Breaker
from mirror.upstream.errors import UpstreamLoginRefused, UpstreamNotAsked, UpstreamRefused, UpstreamUnavailable
from tests.conftest import Clock, RunningMirror, Server, config_for, running
from tests.fakes.faults import Hang, NoDigestHeader, Status
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub, ServerName
from tests.mirror.wire import NAME, blob, manifest, until

Caplog = pytest.LogCaptureFixture
IMAGE = make_image("breaker", [100])
TAG = manifest("latest")
TTL = 300.0


@pytest.fixture(autouse=True)
def no_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one here, with probes that come soon."""
    monkeypatch.setattr(health, "FIRST_PROBE", 0.05)
    monkeypatch.setattr(health, "_MAX_PROBE", 0.05)
    monkeypatch.setattr(breaker, "_PROBE_SECONDS", 0.2)
    monkeypatch.setattr(manifest_pulls, "_PUT_OFF_SECONDS", 0.0)


@pytest.fixture
async def warm(hub: FakeHub, server: Server) -> RunningMirror:
    """A server that has an image, with a tag that is not fresh any more."""
    mirror = await server(
        upstream={"tag_ttl": 0, "revalidate_timeout": 0.2, "read_timeout": 2, "connect_timeout": 2, "negative_ttl": 0}
    )
    hub.add_image(NAME, "latest", IMAGE)
    for path in (TAG, blob(IMAGE.config)):
        assert (await mirror.get(path)).status == 200
    hub.clear()
    return mirror


async def open_breaker(mirror: RunningMirror, caplog: Caplog) -> None:
    for _ in range(3):
        assert (await mirror.get(TAG)).headers["X-Cache"] == "stale"
    await until(lambda: "does not answer" in caplog.text)


@pytest.mark.parametrize("servers", [("registry",), ("registry", "token", "cdn")], ids=str)
async def test_what_is_here_is_served_at_once(
    hub: FakeHub, warm: RunningMirror, servers: tuple[ServerName, ...], caplog: Caplog
) -> None:
    await hub.stop(*servers)
    await open_breaker(warm, caplog)
    began = time.monotonic()
    for path in (TAG, manifest(IMAGE.digest), blob(IMAGE.config)):
        assert (await warm.get(path)).status == 200
    assert time.monotonic() - began < 0.3  # 100 ms each
    await hub.start(*servers)
    await until_answering(hub, warm)


async def until_answering(hub: FakeHub, mirror: RunningMirror) -> None:
    async with asyncio.timeout(10):
        while (await mirror.get(TAG)).headers["X-Cache"] != "revalidated":
            await asyncio.sleep(0.02)


async def test_a_token_service_that_is_down(hub: FakeHub, warm: RunningMirror, caplog: Caplog) -> None:
    hub.revoke_tokens()
    await hub.stop("token")
    await open_breaker(warm, caplog)
    hub.clear()
    began = time.monotonic()
    assert (await warm.get(TAG)).headers["X-Cache"] == "stale"
    assert time.monotonic() - began < 0.1
    assert hub.count("registry", path_contains="/manifests/") == 0
    await hub.start("token")
    await until_answering(hub, warm)


async def test_an_upstream_that_hangs_costs_three_waits_and_no_more(
    hub: FakeHub, warm: RunningMirror, caplog: Caplog
) -> None:
    hub.fault("manifest", Hang())
    hub.fault("ping", Hang())
    await open_breaker(warm, caplog)
    began = time.monotonic()
    for _ in range(20):
        assert (await warm.get(TAG)).headers["X-Cache"] == "stale"
    assert time.monotonic() - began < 1
    hub.clear_faults()
    await until_answering(hub, warm)


async def test_what_is_not_here_is_refused_soon(hub: FakeHub, warm: RunningMirror, caplog: Caplog) -> None:
    await hub.stop("registry")
    await open_breaker(warm, caplog)
    began = time.monotonic()
    answer = await warm.get(manifest("other"))
    assert (answer.status, answer.json()["errors"][0]["code"]) == (502, "UPSTREAM_FAILED")
    assert time.monotonic() - began < 1


async def test_who_wants_what_is_not_here_has_the_upstream_probed(
    hub: FakeHub, warm: RunningMirror, caplog: Caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_MAX_PROBE", 3600.0)
    monkeypatch.setattr(health.Health, "next_probe", lambda _: 3600.0)
    await hub.stop("registry")
    await open_breaker(warm, caplog)
    hub.add_image(NAME, "other", IMAGE)
    await hub.start("registry")
    assert (await warm.get(manifest("other"))).status == 200


async def test_who_has_a_copy_leaves_the_probe_to_its_time(
    hub: FakeHub, warm: RunningMirror, caplog: Caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health.Health, "next_probe", lambda _: 3600.0)
    await hub.stop("registry")
    await open_breaker(warm, caplog)
    hub.add_image(NAME, "other", IMAGE)
    await hub.start("registry")
    hub.clear()
    for _ in range(5):
        assert (await warm.get(TAG)).headers["X-Cache"] == "stale"
    await asyncio.sleep(0.3)
    assert hub.log() == []
    assert (await warm.get(manifest("other"))).status == 200


async def test_a_probe_asks_for_nothing_that_counts(hub: FakeHub, warm: RunningMirror, caplog: Caplog) -> None:
    hub.fault("manifest", Hang())
    hub.fault("ping", Hang())
    await open_breaker(warm, caplog)
    hub.clear()
    await until(lambda: hub.count("registry", "GET", "/v2/") > 0)
    assert hub.count("registry", path_contains="/manifests/") == 0


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_an_answer_is_an_answer(hub: FakeHub, warm: RunningMirror, status: int) -> None:
    hub.fault("manifest", Status(status, {"Retry-After": "0"}))
    for _ in range(10):
        await warm.get(TAG)
    hub.clear_faults()
    # What the upstream has said it has no more is not a copy to be confirmed.
    assert (await warm.get(TAG)).headers["X-Cache"] == ("miss" if status == 404 else "revalidated")


async def test_a_limit_is_remembered(hub: FakeHub, warm: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 0.5)
    hub.fault("manifest", Status(429))
    for _ in range(10):
        assert (await warm.get(TAG)).headers["X-Cache"] == "stale"
    assert hub.count("registry") == 1
    hub.clear_faults()
    await asyncio.sleep(0.5)
    assert (await warm.get(TAG)).headers["X-Cache"] == "revalidated"


async def test_the_last_pulls_are_kept_for_what_is_not_here(hub: FakeHub, warm: RunningMirror) -> None:
    moved, other = make_image("breaker moved", [100]), make_image("breaker other", [100])
    hub.move_tag(NAME, "latest", moved)
    hub.rate_limit = hub.pulls + 5
    for _ in range(10):
        answer = await warm.get(TAG)
        assert (answer.headers["X-Cache"], answer.body) == ("stale", IMAGE.manifest)
    hub.add_image(NAME, "other", other)
    assert (await warm.get(manifest("other"))).body == other.manifest
    hub.rate_limit += 10
    assert (await warm.get(TAG)).body == moved.manifest


async def test_the_last_pulls_are_not_spent_where_head_does_not_say(hub: FakeHub, warm: RunningMirror) -> None:
    hub.fault("manifest", NoDigestHeader(), match="HEAD ")
    hub.rate_limit = hub.pulls + 5
    spent = hub.pulls
    for _ in range(10):
        assert (await warm.get(TAG)).headers["X-Cache"] == "stale"
    assert hub.pulls == spent
    hub.rate_limit += 10
    assert (await warm.get(TAG)).headers["X-Cache"] == "revalidated"


async def test_offline(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    async with running(config_for(hub, tmp_path / "store"), clock) as online:
        for path in (TAG, blob(IMAGE.config)):
            assert (await online.get(path)).status == 200
    hub.clear()
    clock.advance(365 * 86_400)
    async with running(config_for(hub, tmp_path / "store", upstream={"offline": True}), clock) as mirror:
        assert (await mirror.get(TAG)).headers["X-Cache"] == "hit"
        for path in (manifest(IMAGE.digest), blob(IMAGE.config)):
            assert (await mirror.get(path)).headers["X-Cache"] == "hit"
        answer = await mirror.get(manifest("other"))
        assert answer.status == 502
        assert "offline" in answer.json()["errors"][0]["message"]
    assert hub.log() == []


async def test_one_question_that_is_not_answered_is_no_reason_to_stop_asking(
    hub: FakeHub, warm: RunningMirror, caplog: Caplog
) -> None:
    """One slow tag, a broken token for one repository, a CDN that is down: the registry itself is well."""
    hub.add_image("library/other", "latest", IMAGE)
    hub.fault("manifest", Hang(), match="nginx")
    await asyncio.gather(*(warm.get(TAG) for _ in range(10)))
    hub.fault("token", Status(500), match="evil")
    await warm.get(manifest("latest", "library/evil"))
    await hub.stop("cdn")
    await warm.get(blob(IMAGE.layers[0]))
    await asyncio.sleep(0.3)
    assert (await warm.get(manifest("latest", "library/other"))).body == IMAGE.manifest
    assert "does not answer" not in caplog.text


async def test_a_tag_that_cannot_be_confirmed_is_not_asked_about_each_time(
    hub: FakeHub, warm: RunningMirror, clock: Clock, caplog: Caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_pulls, "_PUT_OFF_SECONDS", 10.0)
    hub.fault("manifest", Status(500))
    for _ in range(20):
        assert (await warm.get(TAG)).headers["X-Cache"] == "stale"
    assert hub.count("registry") == 1
    assert caplog.text.count("serving a stale tag") == 1
    hub.clear_faults()
    clock.advance(10)
    assert (await warm.get(TAG)).headers["X-Cache"] == "revalidated"


class Probed:
    """A breaker whose probes end as the test wants."""

    def __init__(self, failure: Exception) -> None:
        self.probes, self._failure = 0, failure
        self.breaker = Breaker("docker.io", "hub", self._probe, Clock())

    async def _probe(self) -> None:
        self.probes += 1
        raise self._failure

    async def settle(self) -> None:
        """Until nothing more happens by itself."""
        for _ in range(100):
            await asyncio.sleep(0)

    async def fail(self) -> None:
        for _ in range(3):
            self.breaker.suspect("it does not answer")
        await self.settle()

    def want(self) -> None:
        with pytest.raises(UpstreamNotAsked):
            self.breaker.admit(urgent=True)


@pytest.mark.parametrize("refusal", [UpstreamRefused("no"), UpstreamLoginRefused("no")], ids=repr)
async def test_a_probe_that_is_refused_is_answered(refusal: Exception) -> None:
    """Also by the token service: whoever asks next is told, and nobody is kept from asking."""
    probed = Probed(refusal)
    await probed.fail()
    assert (probed.probes, probed.breaker.is_open) == (1, False)
    probed.breaker.admit(urgent=False)


async def test_each_wish_brings_one_probe_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever somebody wanted once, an upstream that is down for a day is left alone."""
    monkeypatch.setattr(health, "FIRST_PROBE", 0.0)
    monkeypatch.setattr(health.Health, "next_probe", lambda _: 3600.0)
    probed = Probed(UpstreamUnavailable("down"))
    await probed.fail()
    assert (probed.probes, probed.breaker.is_open) == (1, True)
    for probes in (2, 3):
        probed.want()
        await probed.settle()
        assert probed.probes == probes
    await probed.breaker.close()
