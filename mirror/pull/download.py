"""Download a blob once, whoever asks, however many: the server owns the download, the clients follow its file.

    upstream → partial file (written and hashed off the loop) → verified → published under its digest

A client that leaves, or reads slowly, changes nothing. (Where the operator wants it, the last one that leaves ends the
download: `abandon_below`.) What breaks off goes on from where it was: at once, a few times; and at the next request
from the bytes on disk.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from mirror.pull.source import Source
from mirror.pull.window import Room
from mirror.upstream.client import UpstreamClient
from mirror.upstream.errors import (
    UpstreamBroken,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from mirror.upstream.line import Rank, Want
from mirror.upstream.retry import BLOB_PATIENCE, PATIENCE, repeated
from ocispec.digest import Digest
from ocispec.errors import BlobUnknown
from storage.errors import DigestMismatch, StorageError
from storage.ingest import Ingest
from storage.locks import KeyedLocks
from storage.partial import Partial
from storage.repository import Repository
from storage.store import Store

log = logging.getLogger(__name__)


class _Abandoned(UpstreamTimedOut):
    """Stopped, since nobody waits for it any more. What has come is kept."""


class Download:
    """One blob on its way in, from `source`. Clients follow `partial`; `repositories` get the blob when it is here.

    `want` says whether a client has asked for it.
    """

    def __init__(self, digest: Digest, source: Repository, partial: Partial, want: Want) -> None:
        self.digest, self.source, self.partial, self.want = digest, source, partial, want
        self.repositories = {source}
        self.followers = 0
        self.has_parts = True  # until an upstream shows that it does not send just a part of it

    def admit(self, repository: Repository, *, ahead: bool = False) -> None:
        """It is wanted in `repository`, which is known to have it; by a client, unless `ahead`."""
        self.repositories.add(repository)
        if not ahead:
            self.want.hurry()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is, in bytes; `total` is None where nobody knows it yet."""

    digest: Digest
    repository: Repository
    size: int
    total: int | None


class Downloads:
    """At most one download for each digest. Owner of their tasks; `close` cancels them."""

    def __init__(self, store: Store, upstreams: Mapping[str, UpstreamClient]) -> None:
        self._store, self._upstreams = store, upstreams
        self._running: dict[Digest, Download] = {}
        self._tasks: dict[Download, asyncio.Task[None]] = {}
        self._starting = KeyedLocks()
        self._room = Room()

    def find(self, digest: Digest) -> Download | None:
        """The download that is under way, if any."""
        running = self._running.get(digest)
        return None if running is None or running.partial.has_failed else running

    def under_way(self) -> list[Progress]:
        """What is arriving now, in the order it was begun."""
        return [
            Progress(one.digest, one.source, one.partial.arrived, one.partial.total) for one in self._running.values()
        ]

    async def start(
        self, repository: Repository, digest: Digest, expected: int | None, *, ahead: bool = False
    ) -> tuple[Download | None, bool]:
        """The download of `digest`, and whether this call began it; None where the blob is here by now.

        `expected` is its length where that is known. `ahead`: no client waits for it.
        """
        async with self._starting.of(digest):
            running = self._running.get(digest)
            if running is not None and running.partial.has_failed:
                await asyncio.wait([self._tasks[running]])  # until its file is put away
                running = None
            if running is not None or await self._store.blobs.is_here(digest):
                return running, False
            ingest = await self._store.content.receive_download(digest)
            try:
                await self._store.content.need((expected or 0) - ingest.size)
            except StorageError:
                await ingest.close()
                raise
            want = Want(Rank.AHEAD if ahead else Rank.BLOB)
            download = Download(digest, repository, Partial(digest, ingest), want)
            self._running[digest] = download
        task = self._tasks[download] = asyncio.create_task(self._run(download, ingest, expected))
        task.add_done_callback(lambda _: self._tasks.pop(download))
        return download, True

    def follow(self, download: Download) -> None:
        """Somebody waits for it, until `leave`."""
        download.followers += 1

    def leave(self, download: Download, *, gone: bool = False) -> None:
        """A follower has what it wanted, or is `gone` before. When the last one has gone, the download is stopped where
        the operator wants that of one that has come no further."""
        download.followers -= 1
        if gone and not download.followers and self._is_abandoned(download.partial, download.source):
            download.partial.fail(_Abandoned("all who waited for it have left"))
            # Not before it has begun: a task that never ran does not put its file away.
            asyncio.get_running_loop().call_soon(self._tasks[download].cancel)

    def _is_abandoned(self, partial: Partial, source: Repository) -> bool:
        below = self._upstreams[source.upstream].config.abandon_below
        if not below or partial.is_complete or partial.has_failed:
            return False
        if partial.total is None:
            return not partial.is_announced  # later nobody knows how large a share it is
        return partial.arrived < below * partial.total

    async def settled(self, digest: Digest) -> None:
        """Wait until nothing of `digest` is under way: what is complete is then published, a little after its last
        byte could be read."""
        running = self._running.get(digest)
        if running is not None:
            await asyncio.wait([self._tasks[running]])

    async def close(self) -> None:
        """Stop what is still arriving, to be gone on with after the next start; let what is complete be published."""
        for download, task in self._tasks.items():
            if not download.partial.is_complete:
                task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, download: Download, ingest: Ingest, expected: int | None) -> None:
        failure: Exception | None = None
        try:
            await self._receive(download, ingest, expected)
            await self._publish(download, ingest)
        except (UpstreamError, StorageError, BlobUnknown) as error:
            failure = error
        except asyncio.CancelledError:
            failure = download.partial.error or UpstreamTimedOut("the server is stopping")
            raise
        except Exception as error:
            failure = error
            log.exception("download failed", extra={"digest": str(download.digest)})
        finally:
            if failure is not None:
                download.partial.fail(failure)
                _report(download, failure)
            try:
                # The file first: whoever starts the next download of this digest needs it unlocked.
                await _put_away(ingest, failure)
            finally:
                del self._running[download.digest]

    async def _receive(self, download: Download, ingest: Ingest, expected: int | None) -> None:
        """Fill the partial file, in as many attempts as it takes and makes sense."""
        if ingest.size and (expected is None or ingest.size > expected):
            await ingest.restart()  # bytes of an earlier download help only where it is known when they are complete
        if ingest.size and ingest.size == expected:
            download.partial.announce(expected)
            return
        upstream = self._upstreams[download.source.upstream]
        source = Source(upstream, download.source, download.partial, ingest, expected, self._room, download.want)
        try:
            await repeated(source.read, lambda: ingest.size, lambda: _patience(download.want))
        except UpstreamRefused as error:
            raise BlobUnknown(str(error)) from error
        finally:
            await source.close()

    async def _publish(self, download: Download, ingest: Ingest) -> None:
        try:
            await ingest.verify(download.digest)
        except DigestMismatch:
            raise UpstreamBroken("the upstream sent a blob that is not what its digest says") from None
        # Verified: the followers may have the last byte now, and need not wait for the disk.
        download.partial.complete()
        await self._store.blobs.publish_linked(ingest, download.digest, download.source)
        linked = {download.source}
        while joined := download.repositories - linked:  # more may join while these are linked
            for repository in joined:
                await self._store.blobs.link(repository, download.digest)
            linked |= joined


def _patience(want: Want) -> float:
    """Who asks for what nobody has asked for yet may find out for itself."""
    return PATIENCE if want.is_ahead else BLOB_PATIENCE


async def _put_away(ingest: Ingest, failure: Exception | None) -> None:
    """Bytes that merely stopped coming are kept, to be gone on with; everything else that failed is removed."""
    resumable = isinstance(failure, UpstreamUnavailable | UpstreamRateLimited) and ingest.size > 0
    try:
        await (ingest.close() if failure is None or resumable else ingest.discard())
    except StorageError as error:
        log.error("cannot put a partial download away", extra={"reason": str(error)})


def _report(download: Download, failure: Exception) -> None:
    facts = {"digest": str(download.digest), "repository": str(download.source), "reason": str(failure)}
    log.log(_level(failure), "download ended early", extra=facts)


def _level(failure: Exception) -> int:
    match failure:
        case UpstreamRateLimited(is_news=False):
            return logging.DEBUG  # one for each request, as long as the limit holds
        case BlobUnknown() | _Abandoned():
            return logging.INFO
        case _:
            return logging.WARNING
