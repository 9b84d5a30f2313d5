"""Docker Hub twice: the one behind the mirror, which misbehaves, and the one that clients turn to without it."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.clients.processes import fence, find, run
from tests.clients.servers import Upstream
from tests.fakes.faults import Fault, Where
from tests.fakes.images import Image
from tests.fakes.upstream import FakeHub

T = TypeVar("T")
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


class Background:
    """An event loop in a thread: it answers while the test waits for a program."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hub")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        self.run(self._end_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Hub:
    """A FakeHub in the background."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self.fake = FakeHub()

    def start(self) -> None:
        self._background.run(self.fake.start())

    def stop(self) -> None:
        self._background.run(self.fake.stop())

    def close(self) -> None:
        self._background.run(self.fake.__aexit__())

    def add(self, repository: str, tag: str, image: Image) -> None:
        self.fake.add_image(repository, tag, image)

    def fault(self, where: Where, fault: Fault, times: int | None = None, match: str = "") -> None:
        self.fake.fault(where, fault, times, match)

    def behave(self) -> None:
        """Nothing goes wrong any more."""

        async def clear() -> None:
            self.fake.clear_faults()

        self._background.run(clear())

    def asked(self) -> list[str]:
        """What it was asked for, except whether it is there."""
        return [line for line in self.fake.log() if " /v2/ " not in line]

    @property
    def upstream(self) -> Upstream:
        """For the mirror. Where a tag points is asked each time."""
        return Upstream(
            self.fake.url, token_hosts=(self.fake.token_host,), redirect_hosts=(self.fake.cdn_host,), tag_ttl="0s"
        )


class Internet:
    """The way out for clients: a proxy at whose other end there is Docker Hub, with a certificate, and nothing else."""

    HOST = "registry-1.docker.io"

    def __init__(self, background: Background, folder: Path, hub: Hub) -> None:
        folder.mkdir()
        self._background, self._hub = background, hub
        self._certificate, self._key = folder / "hub.pem", folder / "hub.key"
        self._env = fence(folder / "home")
        self._servers: list[asyncio.Server] = []
        self._proxy_port = 0

    def start(self) -> None:
        names = ("-subj", f"/CN={self.HOST}", "-addext", f"subjectAltName=DNS:{self.HOST}")
        files = ("-keyout", str(self._key), "-out", str(self._certificate))
        kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2")
        run([find("openssl"), "req", "-x509", *kind, *names, *files], self._env)
        self._background.run(self._listen())

    def close(self) -> None:
        for server in self._servers:
            self._background.run(_closed(server))

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to know to get there: the proxy, and whom to believe."""
        return {"HTTPS_PROXY": f"http://127.0.0.1:{self._proxy_port}", "SSL_CERT_FILE": str(self._certificate)}

    async def _listen(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._certificate, self._key)
        hub_port = int(self._hub.fake.host.rpartition(":")[2])

        async def serve(reader: Reader, writer: Writer) -> None:
            await _join(reader, writer, hub_port)

        secure = await asyncio.start_server(_quietly(serve), "127.0.0.1", 0, ssl=context)
        secure_port = secure.sockets[0].getsockname()[1]

        async def connect(reader: Reader, writer: Writer) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(f"CONNECT {self.HOST}:443 ".encode()):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await _join(reader, writer, secure_port)
            else:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

        proxy = await asyncio.start_server(_quietly(connect), "127.0.0.1", 0)
        self._proxy_port = proxy.sockets[0].getsockname()[1]
        self._servers += [proxy, secure]


def _quietly(talk: Callable[[Reader, Writer], Awaitable[None]]) -> Callable[[Reader, Writer], Awaitable[None]]:
    """Either side may leave whenever it likes."""

    async def guarded(reader: Reader, writer: Writer) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await talk(reader, writer)
        writer.close()

    return guarded


async def _join(reader: Reader, writer: Writer, port: int) -> None:
    """Pass on everything in both directions until both have come to their end."""
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
    finally:
        far_writer.close()


async def _pass_on(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    # TLS cannot be closed in one direction alone.
    writer.close()


async def _closed(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()
