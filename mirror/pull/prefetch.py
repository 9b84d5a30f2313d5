"""Fetch ahead: an image's manifest has been served, so its config and layers will be asked for: they are on their way.

A client takes three layers at a time, and waits for each connection to its upstream; here all of them arrive at once,
and are found in the store, or joined. Nothing that a client waits for ever waits for this.
"""

import asyncio
import logging
from collections.abc import Mapping

from cachetools import LRUCache

from mirror.pull.download import Downloads
from mirror.reading import read_manifest
from mirror.upstream.client import UpstreamClient
from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.errors import ManifestInvalid
from storage.hot import StoredManifest
from storage.repository import Repository

log = logging.getLogger(__name__)

# Downloads that nobody asked for yet, of one upstream, at a time. More than a client's own three, so that it finds the
# next ones begun; few enough to leave the line to those that somebody waits for.
_AT_A_TIME = 12
# Images under way at a time. What comes on top is left to its clients.
_MAX_IMAGES = 64
_REMEMBERED = 10_000
# No image has more; a manifest that says so would have us ask its registry ten thousand times.
_MAX_BLOBS = 200


class Prefetch:
    """Owner of the tasks that fetch ahead; `close` cancels them. The downloads themselves are not cancelled by it."""

    def __init__(self, downloads: Downloads, upstreams: Mapping[str, UpstreamClient]) -> None:
        self._downloads, self._upstreams = downloads, upstreams
        self._turns = {
            host: asyncio.Semaphore(_AT_A_TIME)
            for host, upstream in upstreams.items()
            if upstream.config.prefetch == "layers"
        }
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: LRUCache[tuple[Repository, Digest], bool] = LRUCache(_REMEMBERED)

    def after(self, repository: Repository, manifest: StoredManifest) -> None:
        """This manifest is being served."""
        key = (repository, manifest.digest)
        if repository.upstream not in self._turns or key in self._seen:
            return
        if len(self._tasks) >= _MAX_IMAGES or not self._upstreams[repository.upstream].may_fetch_ahead:
            return
        self._seen[key] = True
        task = asyncio.create_task(self._fetch_all(repository, manifest))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fetch_all(self, repository: Repository, manifest: StoredManifest) -> None:
        try:
            parsed = await read_manifest(manifest.body, manifest.media_type)
        except ManifestInvalid:
            return  # it was understood when it was stored
        blobs = list(parsed.required_blobs())
        if len(blobs) > _MAX_BLOBS:
            return
        failed = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for blob in blobs:
                group.create_task(self._fetch(repository, blob, failed))

    async def _fetch(self, repository: Repository, blob: Descriptor, failed: asyncio.Event) -> None:
        """The first one that fails is the last one of its image: nobody has asked for any of them yet."""
        async with self._turns[repository.upstream]:
            if failed.is_set() or not self._upstreams[repository.upstream].may_fetch_ahead:
                return
            try:
                download, _ = await self._downloads.start(repository, blob.digest, blob.size, ahead=True)
                if download is not None:
                    await download.partial.completed()
            except Exception as error:  # the download has reported it; whoever asks for the blob will be told
                failed.set()
                facts = {"repository": str(repository), "digest": str(blob.digest), "reason": str(error)}
                log.info("did not fetch ahead", extra=facts)
