"""Clients and upstreams that work on the bare wire: broken answers, slow readers, half bodies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import ClientOSError, ClientPayloadError, ServerDisconnectedError
from multidict import CIMultiDict

from ocispec.digest import Digest
from storage.layout import Layout
from tests.conftest import RunningMirror

NAME = "library/nginx"


@dataclass(frozen=True)
class Got:
    """An answer read to its end, or up to where it was cut; status 0 where not even its head came."""

    status: int
    headers: CIMultiDict[str]
    body: bytes
    complete: bool

    @property
    def full_body(self) -> bytes | None:
        """The body, if a client would take it for the whole."""
        return self.body if self.complete and self.status in (200, 206) else None


async def fetch(mirror: RunningMirror, path: str, method: str = "GET", **headers: str) -> Got:
    """One request that may be cut short. Header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = bytearray()
    try:
        async with mirror.session.request(method, mirror.url + path, headers=named) as response:
            got = CIMultiDict(response.headers)
            try:
                async for chunk in response.content.iter_any():
                    body += chunk
            except (ClientPayloadError, ClientOSError):
                return Got(response.status, got, bytes(body), complete=False)
            return Got(response.status, got, bytes(body), complete=True)
    except (ServerDisconnectedError, ClientOSError):
        return Got(0, CIMultiDict(), b"", complete=False)


@asynccontextmanager
async def connect(mirror: RunningMirror) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to the server."""
    host, _, port = mirror.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@asynccontextmanager
async def bare_upstream(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that answers requests without a body as `answer` writes it, HTTP or not; gives its URL."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        writer.transport.abort()

    tasks: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(talk(reader, writer)))

    async with await asyncio.start_server(begin, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.wait_for(asyncio.gather(*tasks), 5)


async def send_head(writer: asyncio.StreamWriter, method: str, path: str, **headers: str | int) -> None:
    """The head of a request; names of headers are written with underscores."""
    lines = [f"{method} {path} HTTP/1.1", "Host: mirror"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    await writer.drain()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, CIMultiDict[str]]:
    """Status and headers of an answer, its body unread."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
    first, *lines = head.split("\r\n")
    pairs = [line.split(": ", 1) for line in lines if line]
    headers = CIMultiDict((name, value) for name, value in pairs)
    return int(first.split(" ")[1]), headers


async def until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    """Wait for something that happens by itself; fails the test where it does not."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


async def here(mirror: RunningMirror, *digests: str) -> None:
    """Wait until these blobs are published: the client has its last byte a little earlier."""
    async with asyncio.timeout(20):
        for digest in digests:
            while not await mirror.store.blobs.is_here(Digest.parse(digest)):
                await asyncio.sleep(0.005)


def manifest(reference: str, name: str = NAME) -> str:
    return f"/v2/{name}/manifests/{reference}"


def blob(digest: str, name: str = NAME) -> str:
    return f"/v2/{name}/blobs/{digest}"


def layout(mirror: RunningMirror) -> Layout:
    return Layout(mirror.config.storage.root)


def stored(mirror: RunningMirror) -> set[str]:
    """The digests whose content lies in the store, by what is on the disk."""
    files = (file for file in (mirror.config.storage.root / "blobs").rglob("*") if file.is_file())
    return {f"{file.parent.parent.name}:{file.name}" for file in files}


def partial_size(mirror: RunningMirror, digest: str) -> int:
    """Bytes of a download that is under way or was broken off; -1 where there is none."""
    file = layout(mirror).partial(Digest.parse(digest))
    return file.stat().st_size if file.exists() else -1


def cdn_path(digest: str) -> str:
    return f"/registry-v2/docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data"


def cold_blob(digest: str, name: str = NAME) -> list[str]:
    """What one download of a blob asks upstream once the token is there."""
    return [f"registry GET {blob(digest, name)} 307", f"cdn GET {cdn_path(digest)} 200"]


def cold_manifest(reference: str, name: str = NAME) -> list[str]:
    """What the first request for a manifest asks upstream, token and all."""
    path = manifest(reference, name)
    return [f"registry GET {path} 401", "token GET /token 200", f"registry GET {path} 200"]
