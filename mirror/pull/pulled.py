"""What a pull of a blob gives: a file that can be read, now or as it grows."""

import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from io import FileIO

from mirror.pull.ahead import Ahead
from mirror.pull.download import Download, Downloads
from mirror.pull.outcome import Outcome
from ocispec.ranges import ContentRange
from storage.content import Content
from storage.repository import Repository


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an answer comes from. `upstream` is '' for what was pushed; `age`: seconds since the upstream sent it."""

    outcome: Outcome
    upstream: str
    age: float | None = None


class StoredBlob:
    """A blob that is here, whole and verified, and may be read in `repository`; `now` is the time.

    Its `file` is open already; the caller closes it, whether or not anything of it is read.
    """

    def __init__(self, repository: Repository, file: FileIO, now: float) -> None:
        status = os.fstat(file.fileno())
        age = None if repository.is_hosted else max(0.0, now - status.st_mtime)
        self.origin = Origin(Outcome.HIT, repository.upstream, age)
        self.file, self.size = file, status.st_size

    async def readable(self, _offset: int) -> int:
        return self.size

    def ahead(self, _part: ContentRange) -> None:
        return None


class ArrivingBlob:
    """A blob that is being downloaded, for a `repository` that is known to have it."""

    def __init__(
        self,
        outcome: Outcome,
        repository: Repository,
        download: Download,
        downloads: Downloads,
        content: Content,
        ahead: Ahead,
    ) -> None:
        self.origin = Origin(outcome, repository.upstream)
        self._repository, self._download, self._downloads = repository, download, downloads
        self._content, self._ahead = content, ahead

    def follow(self) -> None:
        """A client begins to wait for it."""
        self._downloads.follow(self._download)

    def leave(self, *, gone: bool) -> None:
        """It has its answer, or is `gone` before."""
        self._downloads.leave(self._download, gone=gone)

    async def size(self, *, certain: bool) -> int | None:
        """Its length as soon as the upstream has said it. None where it does not; where `certain`, at the end.

        Raises the download's error.
        """
        size = await self._download.partial.known()
        return await self._download.partial.completed() if size is None and certain else size

    async def completed(self) -> None:
        """Wait for its last byte, and keep it coming meanwhile. Raises the download's error."""
        self._downloads.follow(self._download)
        try:
            await self._download.partial.completed()
        finally:
            self._downloads.leave(self._download)

    async def open(self) -> FileIO:
        """The growing file; the caller closes it."""
        return await self._content.open_download(self._download.partial)

    async def readable(self, offset: int) -> int:
        """How far it may be read from `offset` on: waits for more. Raises the download's error."""
        return await self._download.partial.readable(offset)

    def ahead(self, part: ContentRange) -> AsyncGenerator[bytes, None] | None:
        """The bytes of a part that come sooner than by the file, from its first one on; maybe none."""
        return self._ahead.chunks(self._repository, self._download, part)


PulledBlob = StoredBlob | ArrivingBlob
