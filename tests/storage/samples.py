"""Content for the store's own tests, and short ways to put it in."""

import contextlib
import json
import os
import random
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from sqlalchemy import text

from ocispec.digest import Digest
from ocispec.manifest import Manifest, parse_manifest
from ocispec.media_types import OCI_IMAGE, OCI_INDEX
from ocispec.names import RepositoryName, Tag
from storage.index.unit import StoreIndex
from storage.layout import Layout
from storage.repository import Repository
from storage.scope import Rules, Scope
from storage.store import Store

APP = Repository(RepositoryName("team/app"))
WEB = Repository(RepositoryName("team/web"))
NGINX = Repository(RepositoryName("library/nginx"), "docker.io")
LATEST = Tag("latest")
EVERYTHING = Scope({"": Rules(), "docker.io": Rules()})


def random_bytes(seed: int | str, size: int = 1000) -> tuple[Digest, bytes]:
    data = random.Random(f"storage/{seed}").randbytes(size)
    return Digest.of(data), data


@dataclass(frozen=True)
class Document:
    """A manifest in all its forms."""

    body: bytes
    digest: Digest
    manifest: Manifest


def document(value: dict[str, object], algorithm: str = "sha256") -> Document:
    body = json.dumps({"schemaVersion": 2, **value}).encode()
    return Document(body, Digest.of(body, algorithm), parse_manifest(body))


def image(*blobs: Digest, **more: object) -> Document:
    """An image whose config is the first of `blobs` and whose layers are the rest."""
    config, *layers = [{"mediaType": "application/octet-stream", "digest": str(blob), "size": 1000} for blob in blobs]
    return document({"mediaType": OCI_IMAGE, "config": config, "layers": layers, **more})


def image_index(*children: Document, **more: object) -> Document:
    return document({"mediaType": OCI_INDEX, "manifests": [descriptor(child) for child in children], **more})


def descriptor(of: Document) -> dict[str, object]:
    return {"mediaType": of.manifest.media_type, "digest": str(of.digest), "size": len(of.body)}


def layout_in(folder: Path) -> Layout:
    """The folders of a store."""
    layout = Layout(folder)
    for path in layout.folders():
        path.mkdir(parents=True)
    return layout


def layout_of(store: Store) -> Layout:
    return store.content._layout


def index_of(store: Store) -> StoreIndex:
    return store._index


async def put_blob(store: Store, repository: Repository, data: bytes, algorithm: str = "sha256") -> Digest:
    """Push a blob in one piece."""
    digest = Digest.of(data, algorithm)
    ingest = store.content.receive(algorithm)
    await ingest.append(data)
    await store.blobs.publish_linked(ingest, digest, repository)
    return digest


async def put_manifest(store: Store, repository: Repository, what: Document, *tags: str, sparse: bool = True) -> None:
    tagged = [Tag(tag) for tag in tags]
    await store.manifests.push(repository, what.digest, what.body, what.manifest, tagged, sparse=sparse)


async def get_blob(store: Store, repository: Repository, digest: Digest) -> bytes | None:
    """Pull a blob; HEAD and GET have to agree."""
    size, file = await store.blobs.size(repository, digest), await store.blobs.open(repository, digest)
    if file is None:
        assert size is None
        return None
    body = all_of(file)
    assert size == len(body)
    return body


async def get_manifest(store: Store, repository: Repository, reference: Tag | Digest) -> Digest | None:
    found = await store.manifests.find(repository, reference)
    return found.digest if found else None


def all_of(file: FileIO) -> bytes:
    with file:
        return file.readall()


async def query(store: Store, statement: str) -> list[tuple[object, ...]]:
    """What the index holds, by SQL."""
    return await index_of(store).read(lambda connection: [tuple(row) for row in connection.execute(text(statement))])


async def broken_promises(store: Store) -> list[str]:
    """Rows of blobs whose file is not there, not of their length, or not what its digest says."""
    broken = []
    for digest, size in await query(store, "SELECT digest, size FROM blobs"):
        path = layout_of(store).blob(Digest.parse(str(digest)))
        if not path.exists():
            broken.append(f"{digest} has no file")
        elif Digest.of(body := path.read_bytes(), str(digest).partition(":")[0]) != Digest.parse(str(digest)):
            broken.append(f"{digest} is damaged")
        elif len(body) != size:
            broken.append(f"{digest} is not {size} bytes long")
    return broken


def files_of(layout: Layout) -> dict[str, list[str]]:
    """The names of what lies in the folders that hold content, by folder."""
    blobs = [path.name for folder in layout.blob_folders() for path in folder.iterdir()]
    folders = {"uploads": layout.uploads, "partial": layout.partials, "tmp": layout.tmp}
    return {"blobs": sorted(blobs)} | {
        name: sorted(path.name for path in folder.iterdir()) for name, folder in folders.items()
    }


def open_files() -> set[str]:
    """What this process has open, by name, removed or not."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing itself
            found.add(os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)"))
    return found
