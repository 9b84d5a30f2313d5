"""An index with very much in it, filled by SQL: repositories, tags, labels, blobs and who has them."""

import random
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from storage.index.engine import sqlite_module, write_engine
from storage.layout import Layout

BIG, BIG_CACHED = "big/repository", "docker.io/big/cached"
WORDS = (
    *("alpine", "debian", "nginx", "redis", "postgres", "mysql", "api", "web", "worker", "frontend", "backend"),
    *("auth", "billing", "search", "proxy", "cache", "queue", "mail", "metrics", "grafana", "prometheus", "loki"),
    *("kafka", "spark", "flink", "airflow", "python", "node", "golang", "rust", "java", "tomcat"),
)


@dataclass(frozen=True)
class Crowd:
    """How much. Beside the `repositories` with `tags_each`, there are two that have `tags` each."""

    repositories: int = 20_000
    tags_each: int = 5
    tags: int = 100_000
    labels: int = 60_000
    blobs: int = 1_000_000


def fill(root: Path, manifest: str, crowd: Crowd) -> None:
    """Fill the index of a closed store. Every tag points at a manifest that is in the store, and has its blobs."""
    engine = write_engine(Layout(root).index, sqlite_module())
    with engine.begin() as connection:
        start = connection.execute(text("SELECT coalesce(max(id), 0) FROM repositories")).scalar_one()
        _repositories(connection, start, crowd)
        _manifests(connection, start, manifest)
        _tags(connection, start, manifest, crowd)
        _labels(connection, start, crowd)
        _blobs(connection, start, crowd)
    engine.dispose()


def _repositories(connection: Connection, start: int, crowd: Crowd) -> None:
    chance = random.Random(1)
    pick = chance.choice
    named = [
        ("", f"team{n}/{pick(WORDS)}-{pick(WORDS)}") if n % 2 else ("docker.io", f"org{n}/{pick(WORDS)}")
        for n in range(crowd.repositories)
    ]
    named += [("", BIG), ("docker.io", BIG_CACHED.partition("/")[2])]
    rows = [
        {"id": start + n, "host": host, "name": name, "path": f"{host}/{name}" if host else name}
        for n, (host, name) in enumerate(named, 1)
    ]
    statement = (
        "INSERT INTO repositories(id, upstream, name, path, created_at, pulls, last_pulled_at) "
        "VALUES (:id, :host, :name, :path, 1, :id % 997, :id * 7919 % 86400)"
    )
    connection.execute(text(statement), rows)


def _manifests(connection: Connection, start: int, manifest: str) -> None:
    what = {"start": start, "manifest": manifest}
    for statement in (
        "INSERT INTO manifests(repository_id, digest, media_type, size, created_at) "
        "SELECT r.id, m.digest, m.media_type, m.size, 1 FROM repositories r, manifests m "
        "WHERE r.id > :start AND m.repository_id <= :start AND m.digest = :manifest",
        "INSERT INTO manifest_children SELECT r.id, c.manifest, c.position, c.role, c.digest, c.size, c.media_type, "
        "c.platform FROM repositories r, manifest_children c "
        "WHERE r.id > :start AND c.repository_id <= :start AND c.manifest = :manifest",
        "INSERT INTO images SELECT id, :manifest, 'linux/amd64', NULL FROM repositories WHERE id > :start",
        "INSERT INTO repository_blobs SELECT r.id, c.digest, 1 FROM repositories r, manifest_children c "
        "WHERE r.id > :start AND c.repository_id <= :start AND c.manifest = :manifest",
    ):
        connection.execute(text(statement), what)


def _tags(connection: Connection, start: int, manifest: str, crowd: Crowd) -> None:
    each = [
        {"id": start + n, "name": "latest" if kind == 0 else f"{kind}.{n % 40}.{n}"}
        for n in range(1, crowd.repositories + 1)
        for kind in range(crowd.tags_each)
    ]
    big = (start + crowd.repositories + 1, start + crowd.repositories + 2)
    many = [{"id": id, "name": f"v{n:06}"} for id in big for n in range(crowd.tags)]
    for statement in (
        "INSERT INTO tags SELECT :id, :name, :digest, 1, nullif(upstream = '', 1) FROM repositories WHERE id = :id",
        "INSERT INTO tag_history(repository_id, tag, at, to_digest, cause) VALUES (:id, :name, 1, :digest, 'push')",
    ):
        connection.execute(text(statement), [{**row, "digest": manifest} for row in (*each, *many)])


def _labels(connection: Connection, start: int, crowd: Crowd) -> None:
    chance = random.Random(2)
    labels = [
        {"id": start + chance.randint(1, crowd.repositories), "text": f"title={chance.choice(WORDS)} {n}"}
        for n in range(crowd.labels)
    ]
    statement = "INSERT INTO search_texts(repository_id, kind, text) VALUES (:id, 'label', :text)"
    connection.execute(text(statement), labels)


def _blobs(connection: Connection, start: int, crowd: Crowd) -> None:
    """Each in one repository; their digests are as random as any."""
    connection.execute(
        text(
            "INSERT INTO blobs WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) "
            "SELECT 'sha256:' || lower(hex(randomblob(32))), 1001, 1 FROM n ORDER BY 1"
        ),
        {"count": crowd.blobs},
    )
    statement = (
        "INSERT INTO repository_blobs SELECT :start + 1 + rowid % :count, digest, 1 FROM blobs WHERE size = 1001"
    )
    connection.execute(text(statement), {"start": start, "count": crowd.repositories})
