"""end-1, and whether the server lives and can work."""

from aiohttp import web

from mirror.http import parse, reply


async def version(_request: web.Request) -> web.StreamResponse:
    return reply.json(b"{}")


async def alive(_request: web.Request) -> web.StreamResponse:
    return reply.json(b'{"status": "alive"}')


async def ready(request: web.Request) -> web.StreamResponse:
    """The index answers and the store can be written; else the error says what is wrong."""
    await parse.services(request).store.check()
    return reply.json(b'{"status": "ready"}')
