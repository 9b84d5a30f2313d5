"""`python -m bench.finding`: how long a page of what is here takes, with 20,000 repositories and 200,000 tags, half of
them in one repository.

The index is filled by SQL, the server is the real one, and each request comes over HTTP, one after the other. The bar
is 20 ms for a page.
"""

import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from sqlalchemy import text

from storage.index.engine import sqlite_module, write_engine
from storage.layout import Layout
from storage.store import migrate_store

_REPOSITORIES, _TAGS_EACH, _LABELS = 20_000, 5, 60_000
_BAR_MS = 20.0
_REQUESTS = 60
_WORDS = [
    "alpine",
    "debian",
    "nginx",
    "redis",
    "postgres",
    "mysql",
    "api",
    "web",
    "worker",
    "frontend",
    "backend",
    "auth",
    "billing",
    "search",
    "proxy",
    "cache",
    "queue",
    "mail",
    "metrics",
    "grafana",
    "prometheus",
    "loki",
    "kafka",
    "spark",
    "flink",
    "airflow",
    "python",
    "node",
    "golang",
    "rust",
    "java",
    "tomcat",
]
_DIGEST = f"sha256:{'a' * 64}"

_PAGES = {
    "search: a word of many names": "/v1/search?q=nginx",
    "search: two words": "/v1/search?q=kafka+grafana",
    "search: part of a word": "/v1/search?q=rafan",
    "search: a tag that every repository has": "/v1/search?q=latest",
    "search: a tag that one has": "/v1/search?q=3.39.19999",
    "search: a label": "/v1/search?q=title%3Dspark",
    "search: nothing fits": "/v1/search?q=nonesuch",
    "API: repositories by name": "/api/v1/repositories?order=name",
    "API: repositories by name, the last page": "/api/v1/repositories?order=name&offset=19950",
    "_catalog": "/v2/_catalog?n=100",
    "_catalog, in the middle": "/v2/_catalog?n=100&last=docker.io/org5000",
    "tags of a repository with 100,000": "/v2/big/repository/tags/list?n=100&last=v050000",
    "page: repositories": "/repositories?q=redis",
    "page: a repository": "/r/big/repository",
}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        print(f"filling an index with {_REPOSITORIES} repositories ...", flush=True)
        fill(root)
        with serving(root) as port:
            slowest = max([measure(port, name, path) for name, path in _PAGES.items()])
    print(f"\nthe slowest median is {slowest:.1f} ms; the bar is {_BAR_MS:.0f} ms")
    return 0 if slowest <= _BAR_MS else 1


def fill(root: Path) -> None:
    """Repositories of four places with tags and labels, and one with 100,000 tags."""
    migrate_store(root)
    engine = write_engine(Layout(root).index, sqlite_module())
    chance = random.Random(1)
    hosts = ("", "docker.io")
    names = [
        f"team{n}/{chance.choice(_WORDS)}-{chance.choice(_WORDS)}" if n % 2 else f"org{n}/{chance.choice(_WORDS)}"
        for n in range(_REPOSITORIES)
    ]
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO blobs VALUES (:digest, 1, 1)"), {"digest": _DIGEST})
        rows = [{"id": n + 1, "host": hosts[n % 2], "name": name} for n, name in enumerate(names)]
        rows.append({"id": len(rows) + 1, "host": "", "name": "big/repository"})
        for row in rows:
            row["path"] = f"{row['host']}/{row['name']}" if row["host"] else row["name"]
        connection.execute(
            text(
                "INSERT INTO repositories(id, upstream, name, path, created_at, pulls) "
                "VALUES (:id, :host, :name, :path, 1, :id % 997)"
            ),
            rows,
        )
        connection.execute(
            text(
                "INSERT INTO manifests(repository_id, digest, media_type, size, created_at) "
                "SELECT id, :digest, 'application/vnd.oci.image.manifest.v1+json', 1, 1 FROM repositories"
            ),
            {"digest": _DIGEST},
        )
        tags = [
            {"id": n + 1, "name": "latest" if kind == 0 else f"{kind}.{n % 40}.{n}", "digest": _DIGEST}
            for n in range(_REPOSITORIES)
            for kind in range(_TAGS_EACH)
        ]
        tags += [{"id": len(rows), "name": f"v{n:06}", "digest": _DIGEST} for n in range(100_000)]
        connection.execute(text("INSERT INTO tags VALUES (:id, :name, :digest, 1, NULL)"), tags)
        labels = [
            {"id": chance.randint(1, _REPOSITORIES), "text": f"title={chance.choice(_WORDS)} {n}"}
            for n in range(_LABELS)
        ]
        connection.execute(
            text("INSERT INTO search_texts(repository_id, kind, text) VALUES (:id, 'label', :text)"), labels
        )
    engine.dispose()


@contextmanager
def serving(root: Path) -> Iterator[int]:
    """A server on the store that has Docker Hub for an upstream and asks it nothing; its port."""
    environment = {
        **os.environ,
        "MIRROR_STORAGE__ROOT": str(root),
        "MIRROR_SERVER__LISTEN": "127.0.0.1:0",
        "MIRROR_UPSTREAMS__DOCKERHUB__OFFLINE": "true",
        "MIRROR_LOG__ACCESS": "false",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mirror", "serve"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+)$", process.stdout.readline().strip())
        assert found is not None, "it says where it listens"
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


def measure(port: int, name: str, path: str) -> float:
    """The median of many requests, in milliseconds."""
    connection = HTTPConnection("127.0.0.1", port)
    taken = []
    for _ in range(_REQUESTS):
        start = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        taken.append(1000 * (time.perf_counter() - start))
        assert answer.status == 200, (path, answer.status)
    connection.close()
    median, high = statistics.median(taken), sorted(taken)[int(len(taken) * 0.95)]
    print(f"{name:45} {median:6.1f} ms   (95 of 100 within {high:.1f})", flush=True)
    return median


if __name__ == "__main__":
    sys.exit(main())
