"""A client of the control socket."""

import json
from typing import Any

from aiohttp import ClientSession, ClientTimeout, UnixConnector

from tests.conftest import RunningMirror
from tests.mirror.wire import layout


async def command(mirror: RunningMirror, method: str, path: str, **options: Any) -> tuple[int, Any]:
    """Status and JSON of an answer; of one in lines, a list of what they say."""
    connector = UnixConnector(str(layout(mirror).control))
    async with (
        ClientSession(connector=connector, timeout=ClientTimeout(total=30)) as session,
        session.request(method, f"http://control/api/v1/{path}", **options) as answer,
    ):
        text = await answer.text()
        if answer.content_type == "application/x-ndjson":
            return answer.status, [json.loads(line) for line in text.splitlines()]
        return answer.status, json.loads(text)


async def refresh(mirror: RunningMirror, image: str) -> dict[str, Any]:
    status, done = await command(mirror, "POST", "refresh", json={"image": image})
    assert status == 200, done
    return {name: done[name] for name in ("outcome", "before", "now")}


async def status_of(mirror: RunningMirror, image: str, *platforms: str) -> Any:
    query = [("image", image), *(("platform", platform) for platform in platforms)]
    status, found = await command(mirror, "GET", "status", params=query)
    assert status == 200, found
    return found


async def warm(mirror: RunningMirror, *images: str, platforms: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The steps, without the last line."""
    order = {"images": images, "platforms": platforms}
    status, steps = await command(mirror, "POST", "warm", json=order)
    assert status == 200, steps
    assert steps.pop() == {"event": "done"}
    return list(steps)
