"""The servers compared: this project's mirror, docker-registry and nginx, each a process with an owner."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from importlib.metadata import version
from pathlib import Path

from bench import configs
from bench.configs import Site
from bench.content import Content

MIRROR = "mirror"
REGISTRY = "docker-registry"  # Distribution 2.8, as Debian has it
DISTRIBUTION = "distribution"  # Distribution 3.1, built from its Go module where there is Go
NGINX = "nginx"

_DISTRIBUTION_MODULE = "github.com/distribution/distribution/v3/cmd/registry"
_DISTRIBUTION_VERSION = "v3.1.2"

_CHECKOUT = Path(__file__).resolve().parent.parent
_TOOLS = _CHECKOUT / ".bench" / "tools" / _DISTRIBUTION_VERSION
_START_SECONDS = 30
_STOP_SECONDS = 15


class DidNotStart(Exception):
    """The server never said it was ready; carries the end of its log."""


@dataclass(frozen=True)
class Server:
    name: str
    pid: int
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Way(Enum):
    """How the upstream is reached."""

    NEAR = auto()
    LIMITED = auto()
    DISTANT = auto()


@dataclass(frozen=True)
class Doors:
    """The two ports of a way: clients go in by the open one, caches by the one where a token is wanted."""

    open: int
    guarded: int


@dataclass(frozen=True)
class Origin(Server):
    """nginx with the content as static files: the upstream of the mirrors, and the yardstick of the warm rows."""

    doors: Mapping[Way, Doors]
    access_log: Path


def versions() -> dict[str, str]:
    return {
        MIRROR: version("registry-mirror"),
        REGISTRY: _first_match(["docker-registry", "--version"], r"(\d[\w.+]*)$"),
        DISTRIBUTION: _DISTRIBUTION_VERSION.removeprefix("v") if _distribution() else "not measured (needs Go)",
        NGINX: _first_match(["nginx", "-v"], r"nginx/([\d.]+)"),
        "wrk": _first_match(["wrk", "-v"], r"wrk \S*?(\d[\d.]*)"),
    }


def missing_programs() -> list[str]:
    return [program for program in ("docker-registry", "nginx", "wrk") if not _program(program)]


@contextmanager
def origin(folder: Path, content: Content, static: Path) -> Iterator[Origin]:
    folder.mkdir()
    doors = {way: Doors(_free_port(), _free_port()) for way in Way}
    narrow, port = Doors(_free_port(), _free_port()), doors[Way.NEAR].open
    tags = (f"/v2/{content.repository}/manifests/{tag} {digest};" for tag, digest in content.tags.items())
    (folder / "tags.map").write_text("\n".join(tags))
    config = folder / "nginx.conf"
    sites = [
        *_sites(doors[Way.NEAR], 0),
        *_sites(doors[Way.LIMITED], configs.LIMITED_BYTES_PER_SECOND),
        *_sites(narrow, configs.DISTANT_BYTES_PER_SECOND),
    ]
    config.write_text(configs.nginx(folder, static, sites))
    command = [_program("nginx"), "-e", str(folder / "error.log"), "-p", str(folder), "-c", str(config)]
    far = doors[Way.DISTANT]
    line_folder = folder / "distance"
    line_folder.mkdir()
    with (
        _running(NGINX, command, folder, lambda: _answers(port)) as (process, _),
        _running("distance", _line(far, narrow), line_folder, lambda: _answers(far.guarded)),
    ):
        yield Origin(NGINX, process.pid, port, doors, folder / "access.log")


def _sites(doors: Doors, bytes_per_second: int) -> list[Site]:
    return [Site(doors.open, bytes_per_second, False), Site(doors.guarded, bytes_per_second, True)]


def _line(far: Doors, near: Doors) -> list[str]:
    ports = (far.open, near.open, far.guarded, near.guarded)
    return [sys.executable, "-m", "bench.distance", str(configs.DISTANT_SECONDS), *map(str, ports)]


def available() -> set[str]:
    """The peers that can be measured here."""
    return {MIRROR, REGISTRY, NGINX} | ({DISTRIBUTION} if _distribution() else set())


def build_distribution() -> None:
    """Build Distribution 3.1 once, if there is Go; without it the others are measured alone."""
    if _program("go") and not _distribution():
        print(f"building {_DISTRIBUTION_MODULE}@{_DISTRIBUTION_VERSION} ...", flush=True)
        command = ["go", "install", f"{_DISTRIBUTION_MODULE}@{_DISTRIBUTION_VERSION}"]
        subprocess.run(command, check=True, env=os.environ | {"GOBIN": str(_TOOLS)})


def _distribution() -> str:
    return shutil.which("registry", path=str(_TOOLS)) or ""


@contextmanager
def registry(name: str, folder: Path, upstream: str = "") -> Iterator[Server]:
    """Distribution of either version: a plain registry, or with an upstream a pull-through proxy, never both."""
    folder.mkdir()
    port = _free_port()
    config = folder / "config.yml"
    config.write_text(configs.docker_registry(folder / "store", port, upstream))
    program = _program("docker-registry") if name == REGISTRY else _distribution()
    with _running(name, [program, "serve", str(config)], folder, lambda: _answers(port)) as (process, _):
        yield Server(name, process.pid, port)


# Distribution 3 traces every request unless it is told not to, and spends its time on sending that to where nobody
# listens (its docs/content/about/deploying.md).
_ENVIRONMENT = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}


@contextmanager
def mirror(folder: Path, upstream: str) -> Iterator[Server]:
    folder.mkdir()
    config = folder / "config.toml"
    config.write_text(configs.mirror(folder / "store", upstream))
    command = [sys.executable, "-m", "mirror", "serve", "--config", str(config)]
    announcement = folder / "stdout.log"
    with _running(MIRROR, command, folder, lambda: _announced_port(announcement)) as (process, port):
        yield Server(MIRROR, process.pid, port)


@contextmanager
def _running(
    name: str, command: list[str], folder: Path, ready: Callable[[], int]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server in a session of its own, its output in files; gone, with all its children, when the block ends."""
    with (folder / "stdout.log").open("wb") as stdout, (folder / "stderr.log").open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=_CHECKOUT, env=_ENVIRONMENT, stdout=stdout, stderr=stderr, start_new_session=True
        )
    try:
        yield process, _wait_until_ready(name, process, folder, ready)
    finally:
        _stop(process)
        shutil.rmtree(folder / "store", ignore_errors=True)


def _wait_until_ready(name: str, process: subprocess.Popen[bytes], folder: Path, ready: Callable[[], int]) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if port := ready():
            return port
        time.sleep(0.05)
    raise DidNotStart(f"{name}: {_last_words(folder)}")


def _last_words(folder: Path) -> str:
    logs = [path for path in folder.glob("*.log") if path.stat().st_size and path.name != "access.log"]
    lines = [line.strip() for path in sorted(logs) for line in path.read_text(errors="replace").splitlines()]
    return lines[-1].replace(str(_CHECKOUT), ".") if lines else "it said nothing"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(port: int) -> int:
    """The port, once something listens there."""
    with socket.socket() as probe:
        return port if probe.connect_ex(("127.0.0.1", port)) == 0 else 0


def _announced_port(stdout: Path) -> int:
    match = re.search(r"listening on http://\S+?:(\d+)", stdout.read_text(errors="replace"))
    return int(match[1]) if match else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str) -> str:
    """Debian keeps servers in sbin, which is not on every user's path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/local/go/bin") or ""


def _first_match(command: list[str], pattern: str) -> str:
    done = subprocess.run([_program(command[0]), *command[1:]], capture_output=True, text=True)
    match = re.search(pattern, (done.stdout + done.stderr).strip(), re.MULTILINE)
    return match[1] if match else "unknown"
