"""The control socket: where the running server takes commands. Whoever may open the file may give them.

It is a unix socket in the root of the store, which the server holds: a socket that is there already is that of a server
that was killed. What can be commanded cannot be commanded over the network.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from mirror.control import handlers
from mirror.control.keys import COMMANDS, URL, Commands
from mirror.http.drain import Drain
from mirror.http.middleware import answering

log = logging.getLogger(__name__)

_OWNER_ONLY = 0o600
# For the last lines of answers. An order to warm may take hours: a server that stops does not wait for it.
_CLOSING_SECONDS = 0.1


@asynccontextmanager
async def control_socket(path: Path, commands: Commands, url: str) -> AsyncIterator[None]:
    """Take commands at `path`. Where there can be no socket, there is a line in the log, and a server without one."""
    try:
        listener = await asyncio.to_thread(_bind, path)
    except OSError as error:
        reason = error.strerror or str(error)
        log.warning("there is no control socket", extra={"file": str(path), "reason": reason})
        yield
        return
    runner = web.AppRunner(application(commands, url), access_log=None, shutdown_timeout=_CLOSING_SECONDS)
    try:
        await runner.setup()
        await web.SockSite(runner, listener).start()
        yield
    finally:
        try:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(path.unlink)
        finally:
            await runner.cleanup()
            listener.close()


def application(commands: Commands, url: str) -> web.Application:
    """The API of commands. Its errors are those of the registry, in the same words."""
    app = web.Application(middlewares=[answering(Drain())])
    app[COMMANDS], app[URL] = commands, url
    app.add_routes(
        [
            web.get("/api/v1/server", handlers.server),
            web.get("/api/v1/status", handlers.status),
            web.get("/api/v1/upstreams", handlers.upstreams),
            web.post("/api/v1/refresh", handlers.refresh),
            web.post("/api/v1/warm", handlers.warm),
        ]
    )
    return app


def _bind(path: Path) -> socket.socket:
    """A socket that nobody can connect to yet. Blocking; raises OSError."""
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(_OWNER_ONLY)  # before it listens: until then a connection is refused
    except OSError:
        listener.close()
        raise
    return listener
