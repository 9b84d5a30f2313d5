"""Commands by `--server URL`: the same as by the socket, and what is said where there is no such server."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from mirror.commands.client import Server
from mirror.commands.lines import UrlLine
from mirror.errors import NoServer
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.test_cli import Program, upstream_environment
from tests.mirror.test_cli import program as program
from tests.mirror.wire import NAME

IMAGE = make_image("u", [2000, 3000])
CERTIFICATE = Path(__file__).parent / "localhost.pem"


@pytest.fixture
async def url(program: Program, hub: FakeHub) -> str:
    """A running server before a hub that has an image; the commands are not told of its store."""
    hub.add_image(NAME, "1", IMAGE)
    _, url = await program.serve(**upstream_environment(hub), MIRROR_UPSTREAMS__DOCKERHUB__PREFETCH="off")
    program.environment["MIRROR_STORAGE__ROOT"] = str(program.folder / "elsewhere")
    return url


async def test_everything(program: Program, url: str) -> None:
    by = ("--server", url)
    done = await program.run_aside("status", "nginx:1", *by)
    assert (done.returncode, done.stderr) == (1, "")
    done = await program.run_aside("refresh", "nginx:1", *by)
    assert (done.returncode, done.stdout) == (0, f"nginx:1: new, {IMAGE.digest}\n")
    done = await program.run_aside("warm", "nginx:1", "--json", *by)
    assert (done.returncode, json.loads(done.stdout.splitlines()[-1])["role"]) == (0, "image")
    done = await program.run_aside("status", "nginx:1", MIRROR_SERVER_URL=url)
    assert (done.returncode, done.stdout.splitlines()[-1][:15]) == (0, "complete: 4 her")
    done = await program.run_aside("server", *by)
    assert (done.returncode, done.stdout) == (0, "no schedules\n")
    assert not (program.folder / "elsewhere").exists()


async def test_the_variable_is_no_mistake_for_a_key(program: Program) -> None:
    done = await program.run_aside("check-config", MIRROR_SERVER_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stderr) == (0, "")


async def test_what_acts__on_a_server_that_others_reach(program: Program, url: str) -> None:
    environment = {"MIRROR_SERVER__EXTERNAL_URL": "https://mirror.example.com"}
    program.environment["MIRROR_STORAGE__ROOT"] = str(program.folder / "open")
    _, other = await program.serve(**environment)
    for command in ("refresh", "warm"):
        done = await program.run_aside(command, "nginx:1", "--server", other)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == (
            f"error: {other}: this server can be reached from other machines; give this command on its own machine, "
            "without --server: it goes through the socket in the store\n"
        )
    assert (await program.run_aside("status", "nginx:1", "--server", other)).returncode == 1


@pytest.mark.parametrize("text", ["mirror", "ftp://mirror", "http://mirror/v2/x", "http://a:b@mirror"])
async def test_not_a_url(program: Program, text: str) -> None:
    done = await program.run_aside("status", "nginx", "--server", text)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --server: not the URL of a server; write it like http://127.0.0.1:5000\n"


@asynccontextmanager
async def answering(status: int, body: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that says the same to everything; gives its URL."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=body)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


NOT_FOUND = '{"errors": [{"code": "NOT_FOUND", "message": "no such endpoint; see GET /v2/"}]}'


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, "hello", "is not a server of this kind (it answers 200)"),
        (200, "[]", "is not a server of this kind (it answers 200)"),
        (200, "{}", "is not a server of this kind (it answers 200)"),
        (200, '{"api": 2}', "is of another version, which takes other commands"),
        (404, "404 page not found", "is not a server of this kind (it answers 404)"),
        (404, '{"errors": [{"code": "NAME_UNKNOWN"}]}', "is not a server of this kind (it answers 404)"),
        (404, '{"errors": "all"}', "is not a server of this kind (it answers 404)"),
        (404, NOT_FOUND, "is too old to take commands by its port"),
        (401, "", "is not a server of this kind (it answers 401)"),
        (302, "", "is not a server of this kind (it answers 302)"),
    ],
)
async def test_another_server(program: Program, status: int, body: str, message: str) -> None:
    async with answering(status, body) as url:
        with pytest.raises(NoServer) as failure:
            await asyncio.to_thread(Server(UrlLine(url)).post, "refresh", {"image": "nginx"})
    assert str(failure.value) == f"{url} {message}"


async def test_an_exit_code_of_its_own(program: Program) -> None:
    async with answering(404, NOT_FOUND) as url:
        for command in ("status", "refresh", "warm", "server"):
            arguments = () if command == "server" else ("nginx",)
            done = await program.run_aside(command, *arguments, "--server", url)
            assert (done.returncode, done.stdout) == (3, "")
            assert done.stderr == f"error: {url} is too old to take commands by its port\n"


@pytest.fixture
def closed() -> Iterator[int]:
    """A port that nobody listens on, and nobody can take."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


async def test_refused(closed: int) -> None:
    url = f"http://127.0.0.1:{closed}"
    with pytest.raises(NoServer, match=f"^{url} cannot be reached: Connection refused$"):
        await asyncio.to_thread(Server(UrlLine(url)).get, "server")


async def test_a_name_that_there_is_not() -> None:
    with pytest.raises(NoServer, match=r"^http://nothing\.invalid cannot be reached: "):
        await asyncio.to_thread(Server(UrlLine("http://nothing.invalid")).get, "server")


async def test_silence() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(NoServer, match=r"does not answer within 0\.1 s$"):
            await asyncio.to_thread(Server(UrlLine(url), 0.1).get, "server")


def certified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


async def test_tls__a_certificate_that_is_not_trusted(program: Program) -> None:
    async with answering(200, '{"api": 1, "schedules": []}', certified()) as url:
        done = await program.run_aside("server", "--server", url)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith(f"error: {url}: its certificate is not trusted: ")
        trusted = await program.run_aside("server", "--server", url, SSL_CERT_FILE=os.fspath(CERTIFICATE))
        assert (trusted.returncode, trusted.stdout) == (0, "no schedules\n")


async def test_tls__there_is_none(closed: int) -> None:
    async with answering(200, "") as url:
        with pytest.raises(NoServer, match="no TLS connection: "):
            await asyncio.to_thread(Server(UrlLine(url.replace("http:", "https:"))).get, "server")


async def test_an_answer_that_breaks_off() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("server"):
            return web.json_response({"api": 1})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"event": "started", "image": "nginx:1", "role": "image"}\n')
        assert request.transport is not None
        await asyncio.sleep(0.05)
        request.transport.abort()
        return response

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    with pytest.raises(NoServer, match="ended before it had answered"):
        await asyncio.to_thread(lambda: list(Server(UrlLine(url)).follow("warm", {})))
    await runner.cleanup()
