"""The store of a server that does not run: what its index says, against what lies on the disk."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from storage.index.engine import sqlite_module

_INCOMPLETE = """
    SELECT repositories.path, tags.name, manifest_children.digest FROM tags
    JOIN repositories ON repositories.id = tags.repository_id
    JOIN manifest_children ON manifest_children.repository_id = tags.repository_id
        AND manifest_children.manifest = tags.digest
    WHERE repositories.upstream = '' AND NOT EXISTS (
        SELECT 1 FROM repository_blobs WHERE repository_blobs.repository_id = tags.repository_id
            AND repository_blobs.digest = manifest_children.digest)
"""
_BLOCK = 2**20


class Audit:
    """Looks at one store again and again; a file that has not changed since is not hashed again."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._good: dict[str, tuple[int, int, int]] = {}

    def look(self, *, tidy: bool = False) -> tuple[int, list[str]]:
        """How many blobs there are, and what is wrong; `tidy`: strays are wrong, too. Blocking."""
        # Nobody else has it open: a read-only connection changes neither the file nor its WAL, and a server that
        # starts after this finds what the last one left.
        path = self._store / "index.sqlite"
        with closing(sqlite_module().connect(f"file:{path}?mode=ro", uri=True)) as connection:
            sizes = dict(connection.execute("SELECT digest, size FROM blobs").fetchall())
            wrong = [*_index(connection), *self._files(sizes)]
            if tidy:
                wrong += self._strays(connection, sizes)
        return len(sizes), wrong

    def _files(self, sizes: dict[str, int]) -> Iterator[str]:
        """A row means: the file is there, of its length, and is what its digest says."""
        for digest, size in sizes.items():
            try:
                facts = self._file(digest).stat()
            except FileNotFoundError:
                yield f"{digest} has a row and no file"
                continue
            state = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
            if facts.st_size != size:
                yield f"{digest} has {facts.st_size} bytes, its row says {size}"
            elif self._good.get(digest) != state and self._hash(digest) != digest:
                yield f"{digest} has a row, and wrong bytes"
            else:
                self._good[digest] = state

    def _strays(self, connection: Any, sizes: dict[str, int]) -> Iterator[str]:
        """After a start everything that no row names is removed."""
        files = (path for path in (self._store / "blobs").rglob("*") if path.is_file())
        found = {f"{path.parent.parent.name}:{path.name}" for path in files}
        yield from (f"{digest} has a file and no row" for digest in found - sizes.keys())
        sessions = {row[0] for row in connection.execute("SELECT id FROM upload_sessions")}
        uploads = {path.name for path in (self._store / "uploads").iterdir()}
        yield from (f"uploads/{name} belongs to no session" for name in uploads - sessions)
        yield from (f"tmp/{path.name} is left" for path in (self._store / "tmp").iterdir())

    def _hash(self, digest: str) -> str:
        algorithm = digest.partition(":")[0]
        hasher = hashlib.new(algorithm)
        with self._file(digest).open("rb") as file:
            while block := file.read(_BLOCK):
                hasher.update(block)
        return f"{algorithm}:{hasher.hexdigest()}"

    def _file(self, digest: str) -> Path:
        algorithm, _, hexadecimal = digest.partition(":")
        return self._store / "blobs" / algorithm / hexadecimal[:2] / hexadecimal


def _index(connection: Any) -> Iterator[str]:
    integrity = [row[0] for row in connection.execute("PRAGMA integrity_check").fetchall()]
    if integrity != ["ok"]:
        yield f"the index is damaged: {integrity[:5]}"
    for row in connection.execute("PRAGMA foreign_key_check").fetchall():
        yield f"the index contradicts itself: {row}"
    for repository, tag, child in connection.execute(_INCOMPLETE).fetchall():
        yield f"{repository}:{tag} points to an image that lacks {child}"
