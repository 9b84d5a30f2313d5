"""Pull a blob: from its file, from the file of a download under way, or by starting that download."""

from collections.abc import Callable, Mapping
from io import FileIO

from mirror.flights import Flights
from mirror.pull.ahead import Ahead
from mirror.pull.download import Download, Downloads
from mirror.pull.outcome import Outcome
from mirror.pull.pulled import ArrivingBlob, Origin, PulledBlob, StoredBlob
from mirror.routing import Place, owner
from mirror.upstream.client import UpstreamClient
from mirror.upstream.errors import UpstreamBroken, UpstreamError, UpstreamRefused
from mirror.upstream.line import Rank, Want
from ocispec.digest import Digest
from ocispec.errors import BlobUnknown
from storage.repository import Repository
from storage.store import Store


class BlobPulls:
    """Answers pulls of blobs, from the store and from upstreams by host."""

    def __init__(
        self, store: Store, downloads: Downloads, upstreams: Mapping[str, UpstreamClient], clock: Callable[[], float]
    ) -> None:
        self._store, self._downloads, self._upstreams, self._clock = store, downloads, upstreams, clock
        self._ahead = Ahead(upstreams)
        self._flights = Flights()

    async def close(self) -> None:
        await self._flights.close()

    async def open(self, place: Place, digest: Digest, *, ahead: bool = False) -> PulledBlob:
        """`ahead`: no client waits for it. Raises BlobUnknown, or UpstreamError where nobody could be asked."""
        repository = owner(place, self._store.repositories)
        file = await self._store.blobs.open(repository, digest)
        if file is not None:
            return self._stored(repository, file)
        if repository.is_hosted:
            raise BlobUnknown(detail={"digest": str(digest)})
        return await self._fetch(repository, digest, ahead)

    async def size(self, place: Place, digest: Digest) -> tuple[int, Origin]:
        """How long the blob is, for HEAD, and who says so. Raises BlobUnknown or UpstreamError.

        A blob of a repository that nobody has pulled from is not asked for upstream: that is a client about to push,
        and what it pushes is nobody else's business.
        """
        repository = owner(place, self._store.repositories)
        file = await self._store.blobs.open(repository, digest)
        if file is not None:
            with file:
                stored = self._stored(repository, file)
            return stored.size, stored.origin
        download = self._downloads.find(digest)
        if download is not None and repository in download.repositories and download.partial.total is not None:
            # Also while it is here, and not yet linked.
            return download.partial.total, Origin(Outcome.JOINED, repository.upstream)
        if repository.is_hosted or repository not in self._store.repositories:
            raise BlobUnknown(detail={"digest": str(digest)})
        return await self._remote_size(repository, digest), Origin(Outcome.MISS, repository.upstream)

    async def _remote_size(self, repository: Repository, digest: Digest) -> int:
        claimed = await self._confirm(repository, digest)
        expected = await self._store.manifests.blob_size(repository, digest)
        if claimed is not None and expected is not None and claimed != expected:
            raise UpstreamBroken(f"the upstream has a blob of {claimed} bytes where its manifest says {expected}")
        size = claimed if expected is None else expected
        if size is None:
            raise UpstreamBroken("the upstream does not say how long the blob is")
        return size

    async def _confirm(self, repository: Repository, digest: Digest, *, ahead: bool = False) -> int | None:
        """`_ask`, once for all who want to know at the same time; but no client waits with those who wait behind."""
        want = Want(Rank.AHEAD if ahead else Rank.QUESTION)
        return await self._flights.join((repository, digest, ahead), lambda: self._ask(repository, digest, want))

    async def _ask(self, repository: Repository, digest: Digest, want: Want) -> int | None:
        """The blob's length as the upstream says it, if it does. Raises BlobUnknown where it has none."""
        try:
            head = await self._upstreams[repository.upstream].head_blob(repository.name, digest, want)
        except UpstreamRefused as error:
            raise BlobUnknown(str(error)) from error
        if head is None:
            raise BlobUnknown(detail={"digest": str(digest)})
        return head.size

    async def _fetch(self, repository: Repository, digest: Digest, ahead: bool) -> PulledBlob:
        """Start the download, or get at what somebody else's request has brought in, or is bringing in."""
        expected = await self._store.manifests.blob_size(repository, digest)
        download, began = await self._downloads.start(repository, digest, expected, ahead=ahead)
        if download is not None and repository in download.repositories:
            download.admit(repository, ahead=ahead)
            return self._arriving(Outcome.MISS if began else Outcome.JOINED, repository, download)
        file = await self._store.blobs.open(repository, digest)
        if file is not None:
            return self._stored(repository, file)
        # That it is in the store does not show that this repository has it: its upstream has to say so.
        await self._confirm(repository, digest, ahead=ahead)
        return await self._admit(repository, digest, ahead)

    async def _admit(self, repository: Repository, digest: Digest, ahead: bool) -> PulledBlob:
        """Give a confirmed repository what is on its way, or here, or by now neither."""
        download = self._downloads.find(digest)
        if download is None and await self._store.blobs.link(repository, digest):
            file = await self._store.blobs.open(repository, digest)
            if file is not None:
                return self._stored(repository, file)
        if download is None:
            return await self._fetch(repository, digest, ahead)
        download.admit(repository, ahead=ahead)
        try:
            await download.partial.known()
        except (UpstreamError, BlobUnknown):
            # What its source did not have, or not so, is nothing to this repository, whose own upstream has it.
            return await self._fetch(repository, digest, ahead)
        return self._arriving(Outcome.JOINED, repository, download)

    def _stored(self, repository: Repository, file: FileIO) -> StoredBlob:
        return StoredBlob(repository, file, self._clock())

    def _arriving(self, outcome: Outcome, repository: Repository, download: Download) -> ArrivingBlob:
        return ArrivingBlob(outcome, repository, download, self._downloads, self._store.content, self._ahead)
