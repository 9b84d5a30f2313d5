"""Commands: parse, call a use case, reply."""

import json
import os
from collections.abc import Mapping

from aiohttp import web

from mirror import __version__
from mirror.control import parse, show
from mirror.control.keys import URL
from mirror.pull.warm import Step
from ocispec.image import ImageName
from ocispec.platform import Platform

_LINES = "application/x-ndjson"


async def server(request: web.Request) -> web.StreamResponse:
    """Who this is."""
    return web.json_response({"version": __version__, "pid": os.getpid(), "url": request.app[URL]})


async def refresh(request: web.Request) -> web.StreamResponse:
    order = await parse.order(request, parse.RefreshOrder)
    image, commands = ImageName.parse(order.image), parse.commands(request)
    done = await commands.refreshes.refresh(commands.names.find(image), image.reference)
    return web.json_response(show.refreshed(image, done))


async def status(request: web.Request) -> web.StreamResponse:
    image, platforms, commands = parse.image(request), parse.platforms(request), parse.commands(request)
    found = await commands.statuses.status(commands.names.find(image), image.reference, platforms)
    return web.json_response(show.status(image, found))


async def upstreams(request: web.Request) -> web.StreamResponse:
    states = parse.commands(request).upstreams.states()
    return web.json_response({"upstreams": [show.upstream(state) for state in states]})


async def warm(request: web.Request) -> web.StreamResponse:
    """A line for each step, as it happens; the one that says `done` is the last, and only then was all of it tried."""
    order = await parse.order(request, parse.WarmOrder)
    images = [ImageName.parse(text) for text in order.images]
    platforms = [Platform.parse(text) for text in order.platforms]
    response = web.StreamResponse(headers={"Content-Type": _LINES})
    await response.prepare(request)

    async def report(step: Step) -> None:
        await response.write(_line(show.step(step)))

    try:
        await parse.commands(request).warming.warm(images, platforms, report)
        await response.write(_line({"event": "done"}))
    except* ConnectionError:
        pass  # whoever gave the order has left; what is under way goes on
    return response


def _line(facts: Mapping[str, object]) -> bytes:
    return json.dumps(facts).encode() + b"\n"
