"""How the upstreams are doing, in the words of `GET /api/v1/upstreams`."""

import asyncio
import json
from typing import Any

import pytest

from mirror.upstream import limits
from tests.conftest import Clock, RunningMirror, Server
from tests.control.commanding import command
from tests.fakes.faults import Hang, Status
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, fetch, manifest, until

IMAGE = make_image("upstreams", [1000, 2000])


async def states(mirror: RunningMirror) -> list[dict[str, Any]]:
    status, found = await command(mirror, "GET", "upstreams")
    assert status == 200
    return list(found["upstreams"])


async def test_nothing_is_known_at_first(hub: FakeHub, server: Server) -> None:
    ghcr = {"host": "ghcr.io", "url": "http://127.0.0.1:9", "offline": True}
    mirror = await server(upstreams={"ghcr": ghcr})
    hub_state, ghcr_state = await states(mirror)
    account: dict[str, object] = {"name": "anonymous", "budget": None, "limited": {}, "held_back": {}}
    assert hub_state == {
        "host": "docker.io",
        "offline": False,
        "endpoints": [{"url": hub.url, "answers": None, "since": None, "reason": None, "accounts": [account]}],
        "under_way": 0,
        "waiting": 0,
        "received_bytes": 0,
        "requests": [],
        "errors": [],
    }
    assert (ghcr_state["host"], ghcr_state["offline"]) == ("ghcr.io", True)
    assert hub.log() == []


async def test_accounts(hub: FakeHub, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LIMITED", 30.0)
    accounts = {"one": "canary-one", "two": "canary-two"}
    hub.accounts |= accounts
    hub.account_limits = {"one": 10, "two": 4}
    hub.add_image(NAME, "latest", IMAGE)
    mirror = await server(upstream={"accounts": [{"username": n, "password": p} for n, p in accounts.items()]})
    hub.fault("manifest", Status(429), times=1)
    await fetch(mirror, manifest("latest"))
    ((endpoint,),) = [state["endpoints"] for state in await states(mirror)]
    one, two = endpoint["accounts"]
    assert [one["name"], two["name"]] == ["one", "two"]
    assert one["limited"].keys() == {"manifest"}
    assert 0 < one["limited"]["manifest"] <= 30
    assert (two["limited"], two["budget"]) == (
        {},
        {"remaining": 3, "limit": 4, "window_seconds": 21600, "source": two["budget"]["source"], "scarce": True},
    )
    assert "canary" not in str(endpoint)


async def test_requests_now(hub: FakeHub, server: Server) -> None:
    mirror = await server(upstream={"max_requests_at_once": 1})
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("cdn", Hang("body", 10))
    tasks = [asyncio.create_task(fetch(mirror, blob(digest))) for digest in IMAGE.layers]
    await until(lambda: hub.count("cdn") == 1)
    async with asyncio.timeout(20):
        while [(state["under_way"], state["waiting"]) for state in await states(mirror)] != [(1, 1)]:
            await asyncio.sleep(0.01)
    hub.clear_faults()
    await asyncio.gather(*tasks)
    (state,) = await states(mirror)
    assert (state["under_way"], state["waiting"]) == (0, 0)
    assert state["requests"] == [{"kind": "blob", "outcome": "done", "count": 2}]


async def test_errors(hub: FakeHub, mirror: RunningMirror, clock: Clock) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, blob(IMAGE.config))
    for status, times in ((502, 2), (418, 1)):
        hub.fault("manifest", Status(status))
        for _ in range(times):
            clock.advance(60)
            await fetch(mirror, manifest("latest"))
        hub.clear_faults()
    (state,) = await states(mirror)
    assert state["errors"] == [
        {
            "reason": "the upstream gave an answer that makes no sense here (418)",
            "count": 1,
            "last": "2023-11-14T22:16:20Z",
        },
        {
            "reason": "the upstream has a problem of its own (502)",
            "count": 6,  # each pull is three attempts
            "last": "2023-11-14T22:15:20Z",
        },
    ]


async def test_errors__are_a_bounded_few(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image(NAME, "latest", IMAGE)
    for status in range(501, 521):
        hub.fault("blob", Status(status), times=3)
        await fetch(mirror, blob(IMAGE.config))
    (state,) = await states(mirror)
    assert [error["reason"][-5:] for error in state["errors"]] == [f"({status})" for status in range(520, 512, -1)]


async def test_breaker(hub: FakeHub, mirror: RunningMirror, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.upstream.health._FAILURES", 1)
    monkeypatch.setattr("mirror.upstream.health.FIRST_PROBE", 0.05)
    hub.add_image(NAME, "latest", IMAGE)
    await hub.stop("registry")
    await fetch(mirror, manifest("latest"))

    async def answers() -> bool | None:
        ((endpoint,),) = [state["endpoints"] for state in await states(mirror)]
        if endpoint["since"] is not None:
            assert endpoint["since"] == ("2023-11-14T22:14:20Z" if endpoint["answers"] else "2023-11-14T22:13:20Z")
        reason = None if endpoint["answers"] else "the upstream cannot be reached: Connection refused"
        assert endpoint["reason"] == reason
        found: bool | None = endpoint["answers"]
        return found

    async with asyncio.timeout(20):
        while await answers() is not False:
            await asyncio.sleep(0.01)
        refused = json.loads((await fetch(mirror, manifest("latest"))).body)["errors"][0]["message"]
        assert refused == (
            "docker.io has not been answering since 2023-11-14T22:13:20Z "
            "(the upstream cannot be reached: Connection refused); it is probed until it does"
        )
        clock.advance(60)
        await hub.start("registry")
        while not await answers():
            await fetch(mirror, manifest("latest"))


async def test_a_login_that_is_refused_is_an_answer(hub: FakeHub, server: Server) -> None:
    hub.accounts["operator"] = "right"
    mirror = await server(upstream={"username": "operator", "password": "wrong"})
    await fetch(mirror, manifest("latest"))
    ((endpoint,),) = [state["endpoints"] for state in await states(mirror)]
    assert (endpoint["answers"], endpoint["reason"]) == (True, None)
