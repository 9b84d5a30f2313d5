"""The only file that knows paths.

    <root>/FORMAT                          version of this tree
    <root>/lock                            flock: one server to a store
    <root>/control.sock                    where the running server takes commands
    <root>/index.sqlite (-wal, -shm)       the index; nothing but SQLite ever opens it
    <root>/blobs/<algorithm>/<2>/<hex>     content, immutable, mode 0444, <2> = first two digits of <hex>
    <root>/uploads/<session id>            what a client is pushing
    <root>/partial/<algorithm>-<hex>       what is being downloaded; its flock names the downloader
    <root>/tmp/<random>                    small content on its way in; emptied at start

Everything is on one file system, so that a rename never copies. A path is built from checked values only (`Digest`,
a session id of our own making), never from a client's text.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ocispec.digest import Digest
from storage.errors import SessionUnknown

FORMAT = "1"
ALGORITHMS = ("sha256", "sha512")
_SESSION_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Layout:
    root: Path

    @property
    def format(self) -> Path:
        return self.root / "FORMAT"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def control(self) -> Path:
        return self.root / "control.sock"

    @property
    def index(self) -> Path:
        return self.root / "index.sqlite"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def partials(self) -> Path:
        return self.root / "partial"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    def blob(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex

    def partial(self, digest: Digest) -> Path:
        return self.partials / f"{digest.algorithm}-{digest.hex}"

    def upload(self, session_id: str) -> Path:
        """Raises SessionUnknown for an id that we cannot have given out."""
        if _SESSION_ID.fullmatch(session_id) is None:
            raise SessionUnknown(session_id[:32])
        return self.uploads / session_id

    def folders(self) -> list[Path]:
        """Every folder that is written to."""
        return [self.uploads, self.partials, self.tmp, *self.blob_folders()]

    def blob_folders(self) -> list[Path]:
        """Every folder that holds blobs, for creating and for walking them."""
        return [self.root / "blobs" / name / f"{n:02x}" for name in ALGORITHMS for n in range(256)]
