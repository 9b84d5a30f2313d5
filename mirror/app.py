"""The composition root: everything is built here, handed what it needs, and closed in the reverse order."""

import asyncio
import contextlib
import errno
import gc
import logging
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources
from typing import Any

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from mirror import buffers
from mirror.checks import check, missing_helpers
from mirror.config import Config
from mirror.control.guard import is_local
from mirror.control.keys import COMMANDS, LOCAL, Commands
from mirror.control.orders import Orders
from mirror.control.routes import of_port
from mirror.control.server import control_socket
from mirror.discovery.browse import Browse
from mirror.discovery.lists import Lists
from mirror.discovery.search import Search
from mirror.errors import ListenError, StartError
from mirror.flights import Flights
from mirror.http.access import AccessLogger, BadRequests
from mirror.http.drain import Drain
from mirror.http.keys import DRAIN, METRICS, SERVICES, Services
from mirror.http.metrics import UpstreamCollector, registry_of
from mirror.http.middleware import answering, signing
from mirror.http.pages import keeping_pages_out
from mirror.http.routes import routes
from mirror.http.warm import warm_first
from mirror.logs import Stream, access_log
from mirror.management.delete import Deletions
from mirror.management.sweep import Sweeper
from mirror.management.upstreams import Upstreams
from mirror.pages.handlers import routes as page_routes
from mirror.pages.keys import VIEWS, Views
from mirror.pages.render import Pages
from mirror.pull.blob import BlobPulls
from mirror.pull.download import Downloads
from mirror.pull.manifest import ManifestPulls
from mirror.pull.prefetch import Prefetch
from mirror.pull.refresh import Refreshes
from mirror.pull.schedule import Schedules
from mirror.pull.status import Statuses
from mirror.pull.warm import Warming
from mirror.push.manifest import ManifestPushes
from mirror.push.upload import Uploads
from mirror.routing import Names, names_of
from mirror.upstream import pace
from mirror.upstream.client import UpstreamClient
from mirror.upstream.search import UpstreamSearch
from mirror.usage import Usage
from mirror.values import Listen
from storage.layout import Layout
from storage.store import Store, open_store

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
async def build(config: Config, clock: Callable[[], float] = time.time) -> AsyncIterator[web.Application]:
    """The application, ready to serve. Raises StoreInUse, StoreUnusable, ConfigError."""
    names = names_of(config)
    check(config, names)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(config.storage.root, clock))
        upstreams: dict[str, UpstreamClient] = {}
        for upstream in config.upstreams.values():
            client = upstreams[upstream.host] = UpstreamClient(upstream, clock)
            stack.push_async_callback(client.close)
        downloads = Downloads(store, upstreams)
        stack.push_async_callback(downloads.close)
        manifest_pulls = ManifestPulls(store, upstreams, clock)
        stack.push_async_callback(manifest_pulls.close)
        blob_pulls = BlobPulls(store, downloads, upstreams, clock)
        stack.push_async_callback(blob_pulls.close)
        prefetch = Prefetch(downloads, upstreams)
        stack.push_async_callback(prefetch.close)
        _warn_of_unreachable(names, store)
        lists = Lists(store, upstreams, names.shows, clock)
        stack.push_async_callback(lists.close)
        sweeper = asyncio.create_task(Sweeper(store, config.registry.upload_ttl).run())
        stack.push_async_callback(_cancel, sweeper)

        searches: dict[str, UpstreamSearch] = {}
        for upstream in config.upstreams.values():
            if upstream.search_url and not upstream.offline:
                searches[upstream.host] = UpstreamSearch(upstream, clock)
                stack.push_async_callback(searches[upstream.host].close)
        search = Search(store, names, searches)
        browse = Browse(store, names, manifest_pulls.fresh_for)
        usage = Usage(store.finding, lambda: sum(one.state.received for one in upstreams.values()), clock)
        usage.start()
        stack.push_async_callback(usage.close)

        drain = Drain()
        pages = keeping_pages_out(on_loopback=config.server.listen.is_loopback, external_url=config.server.external_url)
        app = web.Application(middlewares=[answering(drain), pages])
        app[SERVICES] = Services(
            external_url=config.server.external_url,
            names=names,
            store=store,
            manifest_pulls=manifest_pulls,
            blob_pulls=blob_pulls,
            prefetch=prefetch,
            manifest_pushes=ManifestPushes(store, config.registry.sparse_manifests),
            uploads=Uploads(store),
            lists=lists,
            search=search,
            usage=usage,
            deletions=Deletions(store),
        )
        states = Upstreams(upstreams)
        app[METRICS] = registry_of(UpstreamCollector(states))
        pulls = (names, store, manifest_pulls, blob_pulls, downloads)
        answers = Flights()
        stack.push_async_callback(answers.close)
        app[COMMANDS] = commands = Commands(
            names=names,
            refreshes=Refreshes(store, manifest_pulls),
            statuses=Statuses(store, manifest_pulls),
            warming=Warming.by_command(*pulls),
            schedules=Schedules(config.warm, Warming.behind(*pulls), clock),
            orders=Orders(),
            upstreams=states,
            browse=browse,
            search=search,
            document=(resources.files("mirror.control") / "openapi.json").read_bytes(),
            answers=answers,
        )
        stack.push_async_callback(commands.close)
        app[LOCAL] = is_local(config.server.listen.host, config.server.external_url)
        app.add_routes([*routes(), *of_port()])
        app[VIEWS] = Views(
            pages=Pages("registry mirror", clock),
            browse=browse,
            upstreams=states,
            downloads=downloads,
            finding=store.finding,
            names=names,
            hosts={upstream.host: upstream.default for upstream in config.upstreams.values()},
            external_url=config.server.external_url,
            clock=clock,
        )
        app.add_routes(page_routes())
        app[DRAIN] = drain
        app.on_response_prepare.append(signing(drain))
        yield app


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


def _warn_of_unreachable(names: Names, store: Store) -> None:
    stranded, hidden = names.unreachable(store.repositories)
    for host, count in stranded.items():
        log.warning("cached repositories have no upstream any more", extra={"host": host, "repositories": count})
    for host, count in hidden.items():
        log.warning("pushed repositories are hidden by an upstream", extra={"host": host, "repositories": count})


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


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _raise_file_limit() -> None:
    """Each client and each download needs files; the usual soft limit of 1024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
