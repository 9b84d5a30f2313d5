"""The loads. Each runs in a process of its own (`python -m bench.load`), so that no load is in a server's account."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Lock
from typing import Any, TypeVar

from bench.client import ACCEPT, Connection, Repository, connect, objects
from bench.content import DIFFERENT

T = TypeVar("T")
Figures = dict[str, float]

_LIMIT_SECONDS = 300
_LAYERS_AT_ONCE = 3
_GATE_SECONDS = 60

# wrk answers in prose; this makes it answer in JSON.
_WRK_REPORT = """
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('{"requests": %d, "seconds": %.6f, "p99": %.6f, "failed": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(99) / 1e6, failed))
end
"""


class LoadFailed(Exception):
    """The load could not be driven to its end."""


def drive(load: str, port: int, **arguments: Any) -> Figures:
    """Run one of the loads below in its own process."""
    job = json.dumps({"load": load, "arguments": {"port": port, **arguments}})
    return _figures([sys.executable, "-m", "bench.load", job])


def hammer(url: str, seconds: int, connections: int, folder: Path) -> Figures:
    """Ask for the same small thing over and over, with wrk."""
    script = folder / "report.lua"
    script.write_text(_WRK_REPORT)
    options = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    figures = _figures(["wrk", *options, "--script", str(script), "--header", f"Accept: {ACCEPT}", url])
    if figures["failed"]:
        raise LoadFailed(f"{figures['failed']:.0f} of {figures['requests']:.0f} requests failed")
    return figures


def pull(port: int, repository: str, digest: str, size: int, times: int) -> Figures:
    """One client, one connection, the same blob several times."""
    target = Repository(repository).blob(digest)
    start = time.monotonic()
    with connect("127.0.0.1", port) as connection:
        downloads = [connection.download(target, size) for _ in range(times)]
    return {"wall": downloads[-1].end - start, "first_byte": downloads[0].first_byte - start}


def herd(port: int, repository: str, digest: str, size: int, clients: int) -> Figures:
    """Many clients, each its own connection, one blob, all at once."""
    target = Repository(repository).blob(digest)

    def one_client() -> float:
        with connect("127.0.0.1", port) as connection:
            return connection.download(target, size).end

    return {"wall": _all_at_once(clients, one_client)}


def crowd(port: int, repository: str, blobs: list[tuple[str, int]], taken: int) -> Figures:
    """Many clients, each with a blob of its own (digest, size) or all with the same; each takes so many bytes.

    None goes on from its first byte before all have theirs: so many are really served at once.
    """
    gate = Barrier(len(blobs), timeout=_GATE_SECONDS)
    waiting = iter(blobs)

    def one_client() -> float:
        digest, size = next(waiting)
        with connect("127.0.0.1", port) as connection:
            connection.begin(Repository(repository).blob(digest), size)
            gate.wait()
            connection.discard(min(taken, size) - 1)
            return time.monotonic()

    return {"wall": _all_at_once(len(blobs), one_client)}


def push_crowd(port: int, repository: str, size: int, clients: int) -> Figures:
    """Many clients, each pushes a blob of its own; none ends before all have begun."""
    shared = os.urandom(size - DIFFERENT)
    beginnings = [os.urandom(DIFFERENT) for _ in range(clients)]
    named = iter([(start, f"sha256:{_hash(start, shared)}") for start in beginnings])
    gate = Barrier(clients, timeout=_GATE_SECONDS)

    def one_client() -> float:
        start, digest = next(named)
        with connect("127.0.0.1", port) as connection:
            Repository(repository).push_parts(connection, _held(gate, start, shared), size, digest)
            return time.monotonic()

    return {"wall": _all_at_once(clients, one_client)}


def image_herd(port: int, repository: str, tag: str, clients: int) -> Figures:
    """Many clients of one image: each takes the manifest, then config and layers three at a time."""

    def one_client() -> float:
        return _pull_image(port, Repository(repository), tag)

    return {"wall": _all_at_once(clients, one_client)}


def push(port: int, repository: str, path: str, digest: str) -> Figures:
    start = time.monotonic()
    with connect("127.0.0.1", port) as connection:
        Repository(repository).push_file(connection, Path(path), digest)
    return {"wall": time.monotonic() - start}


def push_small(port: int, repository: str, size: int, count: int) -> Figures:
    """Many small blobs, all different, one after the other over one connection."""
    blobs = [os.urandom(size) for _ in range(count)]
    named = [(data, f"sha256:{hashlib.sha256(data).hexdigest()}") for data in blobs]
    start = time.monotonic()
    with connect("127.0.0.1", port) as connection:
        for data, digest in named:
            Repository(repository).push_bytes(connection, data, digest)
    return {"wall": time.monotonic() - start}


def _held(gate: Barrier, start: bytes, rest: bytes) -> Iterator[bytes]:
    yield start
    gate.wait()
    yield rest


def _hash(*parts: bytes) -> str:
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part)
    return sha256.hexdigest()


def _pull_image(port: int, repository: Repository, tag: str) -> float:
    with connect("127.0.0.1", port) as connection:
        wanted = _Queue(objects(connection.get(repository.manifest(tag))))
        with ThreadPoolExecutor(_LAYERS_AT_ONCE - 1) as pool:
            others = [
                pool.submit(_take_on_new_connection, port, repository, wanted) for _ in range(_LAYERS_AT_ONCE - 1)
            ]
            ends = [_take(connection, repository, wanted)]
            return max(ends + [other.result() for other in others])


def _take_on_new_connection(port: int, repository: Repository, wanted: Iterator[dict[str, Any]]) -> float:
    with connect("127.0.0.1", port) as connection:
        return _take(connection, repository, wanted)


def _take(connection: Connection, repository: Repository, wanted: Iterator[dict[str, Any]]) -> float:
    for descriptor in wanted:
        connection.download(repository.blob(descriptor["digest"]), descriptor["size"])
    return time.monotonic()


class _Queue(Iterator[T]):
    """A list that several threads empty together."""

    def __init__(self, items: list[T]) -> None:
        self._items = iter(items)
        self._lock = Lock()

    def __next__(self) -> T:
        with self._lock:
            return next(self._items)


def _all_at_once(clients: int, one_client: Callable[[], float]) -> float:
    """Seconds from the moment all clients start to the end of the last one."""
    start: list[float] = []
    gate = Barrier(clients, action=lambda: start.append(time.monotonic()))

    def waiting_client() -> float:
        gate.wait()
        return one_client()

    with ThreadPoolExecutor(clients) as pool:
        ends = [client.result() for client in [pool.submit(waiting_client) for _ in range(clients)]]
    return max(ends) - start[0]


def _figures(command: list[str]) -> Figures:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_SECONDS)
    if done.returncode:
        raise LoadFailed((done.stderr or done.stdout).strip().splitlines()[-1])
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


_ALL = (pull, herd, crowd, image_herd, push, push_crowd, push_small)
_LOADS: dict[str, Callable[..., Figures]] = {load.__name__: load for load in _ALL}

if __name__ == "__main__":
    _job = json.loads(sys.argv[1])
    print(json.dumps(_LOADS[_job["load"]](**_job["arguments"])))
