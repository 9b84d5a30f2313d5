"""`python -m bench.finding`: what it takes to find things where there is very much, and what that costs a pull.

20,000 repositories, 300,000 tags (100,000 in each of two), a million blobs. The index is filled by SQL, the server is
the real one with its defaults, but that it asks Docker Hub nothing, and each request comes over HTTP, one after the
other. A page of a list may take 20 ms, by the median; and a pull by tag 1.3 times what it takes where there are a few
thousand tags and nothing else.
"""

import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

from bench.client import Repository, connect
from bench.content import Sizes, create
from bench.crowded import BIG, BIG_CACHED, WORDS, Crowd, fill

_CHECKOUT = Path(__file__).resolve().parent.parent
_BAR_MS, _BAR_RATIO, _BAR_START = 20.0, 1.3, 2.0
_REQUESTS, _PULLS, _ROUNDS = 60, 2000, 5
_FEW = Crowd(repositories=2, tags=_PULLS * _ROUNDS, labels=1, blobs=2)
_chance = random.Random(3)

_NO_LIST = "page: an image, 20,000 repositories have each layer"
# Each asks for something else every time.
_PAGES: dict[str, Callable[[], str]] = {
    "search: a word of many names": lambda: f"/v1/search?q={_word()}",
    "search: two words": lambda: f"/v1/search?q={_word()}+{_word()}",
    "search: part of a word": lambda: f"/v1/search?q={_word()[1:5]}",
    "search: two letters": lambda: f"/v1/search?q={_word()[:2]}",
    "search: a tag that every repository has": lambda: f"/v1/search?q=latest&page={_chance.randint(1, 99)}",
    "search: a tag that one has": lambda: f"/v1/search?q={_tag()}",
    "search: a label": lambda: f"/v1/search?q=title%3D{_word()}",
    "search: nothing fits": lambda: f"/v1/search?q=nonesuch{_n(1000)}",
    "API: repositories by name": lambda: f"/api/v1/repositories?order=name&offset={_n(400) * 50}",
    "API: repositories, the most pulled": lambda: f"/api/v1/repositories?order=pulls&offset={_n(400) * 50}",
    "API: tags of a repository with 100,000": lambda: f"/api/v1/repositories/{BIG}/tags?last=v{_n(100_000):06}",
    "_catalog": lambda: f"/v2/_catalog?n=100&last=docker.io/org{_n(20_000)}",
    "tags of a hosted repository with 100,000": lambda: f"/v2/{BIG}/tags/list?n=100&last=v{_n(100_000):06}",
    "tags of a cached repository with 100,000": lambda: f"/v2/{BIG_CACHED}/tags/list?n=100&last=v{_n(100_000):06}",
    "page: the overview": lambda: "/",
    "page: repositories": lambda: f"/repositories?page={_n(400) + 1}&order=name",
    "page: repositories that fit": lambda: f"/repositories?q={_word()}",
    "page: a repository with 100,000 tags": lambda: f"/r/{BIG}?last=v{_n(100_000):06}",
    _NO_LIST: lambda: f"/r/{BIG}/-/v{_n(100_000):06}",
}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        full, few = Path(folder) / "full", Path(folder) / "few"
        print("filling an index ...", flush=True)
        for root, crowd in ((full, Crowd()), (few, _FEW)):
            fill(root, _pushed(root, Path(folder)), crowd)
        load, start = os.getloadavg()[0], time.monotonic()
        with _serving(full) as port:
            started = time.monotonic() - start
            pages = [(name, _measured(port, path)) for name, path in _PAGES.items()]
            with _serving(few) as other:
                ratio = statistics.median([_ratio(number, port, other) for number in range(_ROUNDS)])
    report = _report(pages, ratio, started, load)
    print(report)
    (_CHECKOUT / "docs" / "benchmark-finding.md").write_text(report)
    slowest = max(statistics.median(times) for name, times in pages if name != _NO_LIST)
    return 0 if slowest <= _BAR_MS and ratio <= _BAR_RATIO and started <= _BAR_START else 1


def _pushed(root: Path, folder: Path) -> str:
    """An image in a new store: the digest of its manifest."""
    content = create(folder / f"content-{root.name}", "team/app", 1, Sizes(blob=1, layer=1000, layers=8))
    image, repository = content.images[0], Repository(content.repository)
    with _serving(root) as port, connect("127.0.0.1", port) as connection:
        for blob in image.blobs:
            repository.push_file(connection, blob.path, blob.digest)
        repository.push_manifest(connection, image.tag, image.manifest.path.read_bytes())
    return image.manifest.digest


@contextmanager
def _serving(root: Path) -> Iterator[int]:
    """A server on the store that has Docker Hub for an upstream and asks it nothing; its port."""
    environment = {
        **os.environ,
        "MIRROR_STORAGE__ROOT": str(root),
        "MIRROR_SERVER__LISTEN": "127.0.0.1:0",
        "MIRROR_UPSTREAMS__DOCKERHUB__OFFLINE": "true",
    }
    command = [sys.executable, "-m", "mirror", "serve"]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=_CHECKOUT
    )
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)$", process.stdout.readline().strip())
        assert found is not None, "it says where it listens"
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


def _measured(port: int, path: Callable[[], str]) -> list[float]:
    """Milliseconds of many requests on one connection, the first one first."""
    connection = HTTPConnection("127.0.0.1", port)
    taken = [_milliseconds(connection, path()) for _ in range(_REQUESTS)]
    connection.close()
    return taken


def _ratio(number: int, full: int, few: int) -> float:
    """Of one round, by tags that nobody has asked for before: what has been asked for is in memory."""
    tags = range(number * _PULLS, (number + 1) * _PULLS)
    if number % 2:
        other = _p99(few, tags)
        return _p99(full, tags) / other
    return _p99(full, tags) / _p99(few, tags)


def _p99(port: int, tags: Sequence[int]) -> float:
    """Milliseconds for a manifest by tag."""
    connection = HTTPConnection("127.0.0.1", port)
    asked = _chance.sample(tags, len(tags))
    taken = sorted(_milliseconds(connection, f"/v2/{BIG}/manifests/v{n:06}") for n in asked)
    connection.close()
    return taken[len(taken) * 99 // 100]


def _milliseconds(connection: HTTPConnection, path: str) -> float:
    start = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    taken = 1000 * (time.perf_counter() - start)
    if answer.status != 200:
        raise AssertionError(f"{path}: {answer.status}")
    return taken


def _report(pages: list[tuple[str, list[float]]], ratio: float, started: float, load: float) -> str:
    lines = [
        "# Finding things where there is very much",
        "",
        f"Written by `python -m bench.finding` on {datetime.now(UTC):%Y-%m-%d}.",
        f"{os.cpu_count()} cores, one client; load average before the run {load:.2f}.",
        "",
        *(line for line in (__doc__ or "").strip().splitlines()[2:]),
        "",
        "| what | median | 95 of 100 within | the first one |",
        "| --- | --- | --- | --- |",
    ]
    for name, times in pages:
        middle, high = statistics.median(times), sorted(times)[len(times) * 95 // 100]
        lines.append(f"| {name} | {middle:.1f} ms | {high:.1f} ms | {times[0]:.1f} ms |")
    lines += [
        "",
        f"A manifest by tag, 99 of 100 requests, against the other index: {ratio:.2f} times as long "
        f"(median of {_ROUNDS} rounds of {_PULLS} tags).",
        f"The server started within {started:.1f} s.",
        "",
    ]
    return "\n".join(lines)


def _tag() -> str:
    """One of those that `bench.crowded` gives to a single repository."""
    n = _n(20_000) + 1
    return f"3.{n % 40}.{n}"


def _word() -> str:
    return _chance.choice(WORDS)


def _n(below: int) -> int:
    return _chance.randrange(below)


if __name__ == "__main__":
    sys.exit(main())
