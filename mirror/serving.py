"""A server from its start to its end: it listens, says what it is, waits for signals, and lets requests finish."""

import asyncio
import contextlib
import errno
import gc
import logging
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from mirror import buffers, memory
from mirror.app import build
from mirror.checks import missing_helpers
from mirror.config import Config
from mirror.control.keys import COMMANDS
from mirror.control.server import control_socket
from mirror.errors import ListenError, StartError
from mirror.http.access import AccessLogger, BadRequests
from mirror.http.keys import DRAIN, SERVICES
from mirror.http.warm import warm_first
from mirror.logs import Stream, access_log
from mirror.upstream import pace
from mirror.values import Listen
from storage.layout import Layout

log = logging.getLogger(__name__)

# Longer than what reverse proxies keep idle connections for; also the time a client has for a request's head.
_KEEPALIVE_SECONDS = 75.0
_BACKLOG = 1024
_QUIET_SECONDS = 10.0
# For the last bytes of answers whose handlers are done, and again for what is cancelled.
_CLOSING_SECONDS = 1.0
# A connection whose client takes nothing for this long is given up by the kernel.
_STUCK_SECONDS = 120
# Lazy-pulling clients ask for hundreds of ranges in one header.
_MAX_HEADER = 64 * 1024
# Clients send a dozen. What is not complete yet has to be kept, so many long ones are a way to use up the memory.
_MAX_HEADERS = 48


@asynccontextmanager
async def serving(config: Config, log_stream: Stream | None = None) -> AsyncIterator[str]:
    """A running server; gives its URL. At the end it stops listening and lets requests finish."""
    async with build(config) as app:
        access = access_log(config.log, log_stream)
        runner = web.AppRunner(
            app,
            access_log_class=AccessLogger,
            access_log=access,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            shutdown_timeout=_CLOSING_SECONDS,
            auto_decompress=False,
            read_bufsize=buffers.LEAST,
            max_field_size=_MAX_HEADER,
            max_headers=_MAX_HEADERS,
        )
        await runner.setup()
        assert runner.server is not None, "it has been set up"
        runner.server.request_handler = warm_first(app[SERVICES], app[DRAIN], runner.server.request_handler)
        logging.getLogger("aiohttp.server").addFilter(BadRequests())
        try:
            listener = listen(config.server.listen)
            # asyncio accepts as many at a time as the backlog it is told, and out of files complains once for each.
            site = web.SockSite(runner, listener, backlog=16)
            await site.start()
            listener.listen(_BACKLOG)
            await _tell_of_upstreams(config)
            _warn_of_shared_accounts(config)
            _warn_of_few_slots(config)
            host, port = listener.getsockname()[:2]
            url = f"http://{Listen(host, port)}"
            async with control_socket(Layout(config.storage.root).control, app[COMMANDS], url):
                yield url
            await site.stop()
            await app[COMMANDS].close()
            if left := await app[DRAIN].finished(config.server.drain_timeout):
                log.warning("cut what was still under way", extra={"requests": left})
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * _CLOSING_SECONDS):
                    await runner.cleanup()
            if access is not None:
                access.flush()


async def _tell_of_upstreams(config: Config) -> None:
    """Which registries names mean, and which of them those that say nothing of one."""
    default = next((upstream.host for upstream in config.upstreams.values() if upstream.default), None)
    hosts = [upstream.host for upstream in config.upstreams.values()]
    log.info("pulling from these upstreams", extra={"upstreams": hosts, "default": default})
    for section, program in await asyncio.to_thread(missing_helpers, config):
        facts = {"upstream": config.upstreams[section].host, "helper": program}
        log.warning("a credential helper is not on the PATH", extra=facts)


def _warn_of_shared_accounts(config: Config) -> None:
    """What an account may pull is not public; and without logins the address is all that decides who gets it."""
    shared = [
        upstream.host for upstream in config.upstreams.values() if any(one.has_login for one in upstream.identities)
    ]
    if shared and not config.server.listen.is_loopback:
        log.warning("everyone who reaches this server may pull what its accounts may pull", extra={"upstreams": shared})


def _warn_of_few_slots(config: Config) -> None:
    few = [host.host for host in config.upstreams.values() if 0 < host.max_requests_at_once < pace.SEVERAL]
    if few:
        log.warning("clients may wait for a manifest behind whole blobs", extra={"upstreams": few})


async def serve(config: Config, log_stream: Stream, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is told the URL as soon as there is one.

    A second signal ends the waiting for requests under way.
    """
    if HttpRequestParser is HttpRequestParserPy:
        raise StartError(
            "aiohttp runs without its C parser, which is not safe to serve with: AIOHTTP_NO_EXTENSIONS is set"
        )
    _raise_file_limit()
    memory.keep_freed()
    gc.freeze()  # what is loaded now stays: the collector need not look at it again and again
    stop = asyncio.Event()
    serving_task = asyncio.create_task(_serve_until(config, log_stream, announce, stop))
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            serving_task.cancel()
        stop.set()

    loop.set_exception_handler(_LoopErrors())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    with contextlib.suppress(asyncio.CancelledError):
        await serving_task


async def _serve_until(
    config: Config, log_stream: Stream, announce: Callable[[str], None], stop: asyncio.Event
) -> None:
    async with serving(config, log_stream) as url:
        announce(url)
        await stop.wait()
        log.info("stopping: no new requests, waiting for those under way")
    log.info("stopped")


def listen(address: Listen) -> socket.socket:
    """A listening socket; raises ListenError with what to do about it."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _STUCK_SECONDS)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise ListenError(
            f"cannot listen on {address}: {error.strerror}; "
            "set server.listen (or MIRROR_SERVER__LISTEN) to another address"
        ) from error
    return listener


class _LoopErrors:
    """What goes wrong on the loop itself. Out of files, asyncio reports every connection it cannot accept, hundreds at
    a time: one line for all of them, every few seconds, says as much."""

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
            loop.default_exception_handler(context)
        elif loop.time() >= self._quiet_until:
            self._quiet_until = loop.time() + _QUIET_SECONDS
            log.error("out of files: new connections have to wait; raise the limit of open files")


def _raise_file_limit() -> None:
    """Each client and each download needs files; the usual soft limit of 1024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
