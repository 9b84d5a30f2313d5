"""Where the rows play: the content, its upstream, and a way to bring in a fresh server that leaves with the row."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from bench import peers
from bench.client import Repository, connect
from bench.content import GIB, MIB, Blob, Content, Image, Sizes, alike, create, zeros
from bench.peers import MIRROR, NGINX, Origin, Server, Way

REPOSITORY = "team/app"
CROWD = 200
CROWD_BLOB = 16 * MIB


@dataclass(frozen=True)
class Stage:
    folder: Path
    content: Content
    origin: Origin
    wrk_seconds: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def large_blob(self) -> Blob:
        return zeros(self._static, GIB)

    @cached_property
    def crowd(self) -> tuple[Blob, ...]:
        """As many blobs as there are clients in a crowd."""
        return alike(self._static, CROWD, CROWD_BLOB)

    @property
    def _static(self) -> Path:
        return self.folder / "content"

    def registry(self, peer: str, stack: ExitStack) -> Server:
        """An empty server to push to."""
        if peer in (MIRROR, NGINX):
            return self.proxy(peer, stack, Way.NEAR)
        return stack.enter_context(peers.registry(peer, self._new_folder(peer)))

    def proxy(self, peer: str, stack: ExitStack, way: Way) -> Server:
        """An empty pull-through cache; nginx stands for no cache at all."""
        doors = self.origin.doors[way]
        if peer == NGINX:
            return replace(self.origin, port=doors.open)
        upstream = f"http://127.0.0.1:{doors.guarded}"
        if peer == MIRROR:
            return stack.enter_context(peers.mirror(self._new_folder(peer), upstream))
        return stack.enter_context(peers.registry(peer, self._new_folder(peer), upstream))

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
