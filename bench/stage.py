"""Where the rows play: the content, its upstream, and a way to bring in a fresh server that leaves with the row."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import peers
from bench.client import Repository, connect
from bench.content import Blob, Content, Image, Sizes, create
from bench.peers import MIRROR, NGINX, Origin, Server

REPOSITORY = "team/app"


@dataclass(frozen=True)
class Stage:
    folder: Path
    content: Content
    origin: Origin
    wrk_seconds: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def limited_origin(self) -> Server:
        return replace(self.origin, port=self.origin.limited_port)

    @property
    def distant_origin(self) -> Server:
        return replace(self.origin, port=self.origin.distant_port)

    def registry(self, peer: str, stack: ExitStack) -> Server:
        """An empty server to push to."""
        if peer in (MIRROR, NGINX):
            return self.proxy(peer, stack, self.origin)
        return stack.enter_context(peers.registry(peer, self._new_folder(peer)))

    def proxy(self, peer: str, stack: ExitStack, upstream: Server) -> Server:
        """An empty pull-through cache; nginx stands for no cache at all."""
        if peer == NGINX:
            return upstream
        if peer == MIRROR:
            return stack.enter_context(peers.mirror(self._new_folder(peer), upstream.url))
        return stack.enter_context(peers.registry(peer, self._new_folder(peer), upstream.url))

    def warm(self, peer: str, stack: ExitStack, blobs: tuple[Blob, ...], image: Image | None = None) -> Server:
        """A server with the content: Distribution had it pushed, the mirror pulled it through, nginx is its source.

        Distribution as a proxy would ask the upstream about every tag; as a plain registry it is at its fastest.
        """
        server = self.registry(peer, stack)
        if peer not in (MIRROR, NGINX):
            _push(server, blobs, image)
        verify(server, blobs)
        return server

    def _new_folder(self, peer: str) -> Path:
        return self.folder / f"{next(self._numbers)}-{peer}"


@contextmanager
def open_stage(folder: Path, rounds: int, sizes: Sizes, wrk_seconds: int) -> Iterator[Stage]:
    content = create(folder / "content", REPOSITORY, rounds, sizes)
    with peers.origin(folder / "origin", content, folder / "content") as origin:
        yield Stage(folder, content, origin, wrk_seconds)


def verify(server: Server, blobs: tuple[Blob, ...]) -> None:
    """What the server hands out now is what the digest says; outside of any measurement."""
    with connect("127.0.0.1", server.port) as connection:
        for blob in blobs:
            digest = connection.digest(Repository(REPOSITORY).blob(blob.digest), blob.size)
            if digest != blob.digest:
                raise ValueError(f"{server.name} served {digest} as {blob.digest}")


def _push(server: Server, blobs: tuple[Blob, ...], image: Image | None) -> None:
    repository = Repository(REPOSITORY)
    with connect("127.0.0.1", server.port) as connection:
        for blob in blobs:
            repository.push_file(connection, blob.path, blob.digest)
        if image:
            repository.push_manifest(connection, image.tag, image.manifest.path.read_bytes())
