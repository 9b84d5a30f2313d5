"""What the server has promised: every fact is written down when its answer has arrived, and not before."""

import hashlib
import json
import random
from dataclasses import dataclass, field

IMAGE = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image(config: bytes, layers: list[bytes]) -> bytes:
    def descriptor(data: bytes, kind: str) -> dict[str, object]:
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest_of(data), "size": len(data)}

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": descriptor(config, "config.v1+json"),
            "layers": [descriptor(layer, "layer.v1.tar+gzip") for layer in layers],
        }
    ).encode()


@dataclass
class Upload:
    """A session that was begun: how much of `data` the server has said that it has."""

    repository: str
    location: str
    data: bytes
    acknowledged: int = 0
    finishing: bool = False  # the last request is under way: its file may have been published, the session not yet gone


@dataclass
class Oracle:
    """Promises of all pushers. `trying` are moves of tags without an answer yet: they may or may not have happened."""

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    trying: dict[tuple[str, str], set[str | None]] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    acknowledged: int = 0

    def blob(self, repository: str, data: bytes) -> None:
        self.blobs[repository, digest_of(data)] = data
        self.acknowledged += 1

    def manifest(self, repository: str, tag: str, body: bytes) -> None:
        digest = digest_of(body)
        self.manifests[repository, digest] = body
        self.tags[repository, tag] = digest
        self.trying.pop((repository, tag), None)
        self.acknowledged += 1

    def untagged(self, repository: str, tag: str) -> None:
        self.tags.pop((repository, tag), None)
        self.trying.pop((repository, tag), None)
        self.acknowledged += 1

    def attempt(self, repository: str, tag: str, digest: str | None) -> None:
        """A move (None: a removal) is about to be asked for."""
        self.trying.setdefault((repository, tag), set()).add(digest)

    def may_be(self, key: tuple[str, str]) -> set[str | None]:
        """Where a tag may point now; None: nowhere."""
        return {self.tags.get(key)} | self.trying.get(key, set())


def some_bytes(chance: random.Random) -> bytes:
    """Content of any size that matters: empty, tiny, about a buffer, over several."""
    return chance.randbytes(chance.choice((0, 1, 1000, 65_536, 300_000, 1_500_000)))
