"""Commands: parse, call a use case, reply."""

import asyncio
import json
import os
from collections.abc import Mapping

from aiohttp import web

from mirror import __version__
from mirror.control import parse, show
from mirror.control.keys import URL
from mirror.control.orders import OrderEnded
from mirror.http.keys import NOTES
from mirror.http.stream import cut
from mirror.pull.warm import Step
from ocispec.image import ImageName
from ocispec.platform import Platform

_LINES = "application/x-ndjson"
# The version of what is said here, which stands in its paths, too.
_API = 1


async def server(request: web.Request) -> web.StreamResponse:
    """Who this is."""
    facts = {"version": __version__, "pid": os.getpid(), "url": request.app[URL]}
    return web.json_response({"api": _API, **facts})


async def public_server(_request: web.Request) -> web.StreamResponse:
    """What this is, for anybody."""
    return web.json_response({"api": _API})


async def refresh(request: web.Request) -> web.StreamResponse:
    order = await parse.order(request, parse.RefreshOrder)
    image, commands = ImageName.parse(order.image), parse.commands(request)
    done = await commands.refreshes.refresh(commands.names.find(image), image.reference)
    return web.json_response(show.refreshed(image, done))


async def status(request: web.Request) -> web.StreamResponse:
    image, platforms, commands = parse.image(request), parse.platforms(request), parse.commands(request)
    place = commands.names.find(image)

    async def look() -> bytes:
        found = await commands.statuses.status(place, image.reference, platforms)
        return await asyncio.to_thread(lambda: json.dumps(show.status(image, found)).encode())

    # Anybody may ask, and it may be a long answer: it is made once for all who ask at the same time.
    answer = await commands.answers.join(("status", image, tuple(platforms)), look)
    return web.Response(body=answer, content_type="application/json", charset="utf-8")


async def schedules(request: web.Request) -> web.StreamResponse:
    """What is kept fresh, and how that went."""
    return _schedules(request, with_names=True)


async def public_schedules(request: web.Request) -> web.StreamResponse:
    """The same for anybody: which images somebody wants may be more than a pull would tell."""
    return _schedules(request, with_names=False)


def _schedules(request: web.Request, *, with_names: bool) -> web.StreamResponse:
    states = parse.commands(request).schedules.states()
    return web.json_response({"schedules": [show.schedule(state, with_names=with_names) for state in states]})


async def upstreams(request: web.Request) -> web.StreamResponse:
    """How they are doing."""
    return _upstreams(request, with_names=True)


async def public_upstreams(request: web.Request) -> web.StreamResponse:
    """The same for anybody: accounts are numbers there, as they are in the metrics."""
    return _upstreams(request, with_names=False)


def _upstreams(request: web.Request, *, with_names: bool) -> web.StreamResponse:
    states = parse.commands(request).upstreams.states()
    return web.json_response({"upstreams": [show.upstream(state, with_names=with_names) for state in states]})


async def warm(request: web.Request) -> web.StreamResponse:
    """A line for each step, as it happens; the one that says `done` is the last, and only then was all of it tried."""
    order = await parse.order(request, parse.WarmOrder)
    images = [ImageName.parse(text) for text in order.images]
    platforms = [Platform.parse(text) for text in order.platforms]
    commands = parse.commands(request)
    commands.orders.check()
    response = web.StreamResponse(headers={"Content-Type": _LINES})
    await response.prepare(request)

    async def write(facts: Mapping[str, object]) -> None:
        line = json.dumps(facts).encode() + b"\n"
        await response.write(line)
        request[NOTES].count(len(line))

    async def report(step: Step) -> None:
        await write(show.step(step))

    try:
        await commands.orders.carry_out(commands.warming.warm(images, platforms, report))
        await write({"event": "done"})
    except* (OrderEnded, ConnectionError) as ended:
        cut(request, _first(ended))  # what is under way goes on
    return response


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """One of those that are in a group, however deep."""
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
