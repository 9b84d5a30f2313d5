"""What people look for and at: search, repositories, tags and their history, and what was used."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from ocispec.digest import Digest
from ocispec.image_config import ImageConfig, parse_image_config
from ocispec.names import Tag
from ocispec.pagination import Page
from storage import description
from storage.content import Content
from storage.index import blobs, browse, search, usage
from storage.index.unit import StoreIndex
from storage.repository import Repository
from storage.scope import Scope
from storage.views import Move, Order, Pulls, RepositoryFacts, Search, Sharing, Stored, TagFacts

# A query of more words is a sentence, and each of them costs.
_MAX_QUERY, _MAX_WORDS = 200, 8
# A million links are read in one or two seconds.
_EVERY_LINK = 60.0
# Of the images to describe, so many in one transaction, and how long everybody else has the disk for themselves then.
_FEW, _PAUSE_SECONDS = 20, 0.02

log = logging.getLogger(__name__)


class Finding:
    """Reads the index for people, and keeps count of what they pull. What it finds may be TooSlow to find."""

    def __init__(self, content: Content, index: StoreIndex, clock: Callable[[], float]) -> None:
        self._content, self._index, self._clock = content, index, clock

    async def search(
        self,
        query: str,
        scope: Scope,
        limit: int,
        offset: int = 0,
        order: Order = Order.FITTING,
        named: Collection[Repository] = (),
        last: str = "",
    ) -> Search:
        """The repositories of a scope that fit every word of the query; see `storage.index.search`."""
        words = query[:_MAX_QUERY].lower().split()[:_MAX_WORDS]
        return await self._index.look(
            lambda connection: search.find(connection, words, scope, limit, offset, order, named, last)
        )

    async def repository(self, repository: Repository) -> RepositoryFacts | None:
        return await self._index.look(lambda connection: browse.repository_facts(connection, repository))

    async def tags(self, repository: Repository, page: Page) -> tuple[list[TagFacts], bool]:
        return await self._index.look(lambda connection: browse.tag_facts(connection, repository, page))

    async def history(
        self, repository: Repository, tag: Tag | None, limit: int, before: int | None = None
    ) -> list[Move]:
        return await self._index.look(lambda connection: browse.history(connection, repository, tag, limit, before))

    async def sharing(self, digests: Collection[Digest], scope: Scope) -> Mapping[Digest, Sharing]:
        return await self._index.look(lambda connection: browse.sharing(connection, digests, scope))

    async def config(self, repository: Repository, digest: Digest) -> ImageConfig | None:
        """The config of an image, if the repository has it and it can be read."""

        def unit(connection: Connection) -> ImageConfig | None:
            size = blobs.linked_size(connection, repository, digest)
            body = None if size is None else self._content.read(digest, size)
            return None if body is None else parse_image_config(body)

        return await self._index.look(unit)

    async def record(self, pulls: Sequence[Pulls], traffic: Mapping[str, int]) -> None:
        """Add to what was pulled, and to what was served in this hour. A power cut may lose it: nobody was promised."""

        def unit(connection: Connection) -> None:
            usage.add_pulls(connection, pulls)
            usage.add_traffic(connection, self._clock(), traffic)

        await self._index.write(unit, durable=False)

    async def traffic(self, seconds: float) -> dict[int, dict[str, int]]:
        """What was served in each hour of the last `seconds`, by the hour's number since the epoch."""
        since = self._clock() - seconds
        return await self._index.look(lambda connection: usage.traffic_since(connection, since))

    async def stored(self, scope: Scope) -> Stored:
        """How much is kept, and how much is referred to; how many repositories and tags a scope has."""
        return await self._index.look(lambda connection: browse.stored(connection, scope), _EVERY_LINK)

    async def catch_up(self) -> None:
        """Describe the images that came before there were descriptions, a few at a time: pushes wait for each few."""
        last, count = None, 0
        while found := await self._index.read(
            partial(description.left_behind, content=self._content, last=last, limit=_FEW)
        ):
            if last is None:
                log.info("describing images that were kept before there were descriptions")
            await self._index.write(partial(description.put, described=found), durable=False)
            last, count = found[-1][0], count + len(found)
            await asyncio.sleep(_PAUSE_SECONDS)
        if count:
            log.info("described images", extra={"images": count})
