"""The upstream of the server under test: what it holds, and clients that pull it through."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

from tests.crash.client import Client, ServerGone
from tests.crash.content import World
from tests.fakes.images import digest_of, make_image
from tests.fakes.upstream import FakeHub

_HOST, _NAME = "hub.test", "library/crash"
_SIZES = ((300_000, 2000), (1_500_000,), (700_000, 400_000))


class Upstream:
    """A registry whose images are pulled through over and over; some of its blobs are pushed here, too."""

    def __init__(self, hub: FakeHub, world: World) -> None:
        self.hub = hub
        hub.rate_limit = 10**9
        self._tags: dict[str, bytes] = {}
        self._blobs: dict[str, bytes] = {}
        for number, sizes in enumerate(_SIZES):
            image = make_image(f"crash/{number}", sizes)
            hub.add_image(_NAME, str(number), image)
            self._tags[str(number)] = image.manifest
            self._blobs |= image.blobs
        for blob in (blob for blob in (*world.loose, *world.layers) if blob.digest.startswith("sha256:")):
            self._blobs[hub.add_blob(_NAME, blob.data)] = blob.data

    def config(self) -> Sequence[str]:
        """The section for it in the server's configuration."""
        return (
            "[upstreams.hub]",
            f'host = "{_HOST}"',
            f'url = "{self.hub.url}"',
            f'token_hosts = ["{self.hub.token_host}"]',
            f'redirect_hosts = ["{self.hub.cdn_host}"]',
            'tag_ttl = "0s"',
        )

    async def pull(self, client: Client, chance: random.Random) -> None:
        """Pull images and blobs, and evict them, until the server is gone."""
        with suppress(ServerGone):
            while True:
                tag = chance.choice(list(self._tags))
                blobs = chance.sample(list(self._blobs), 3)
                await asyncio.gather(self._manifest(client, tag), *(self._blob(client, digest) for digest in blobs))
                for digest in chance.sample(list(self._blobs), 4):
                    await self._evict(client, f"blobs/{digest}")
                await self._evict(client, f"manifests/{chance.choice((tag, digest_of(self._tags[tag])))}")

    async def check(self, client: Client) -> int:
        """Everything can be had, whatever was half here when the server died; how many objects."""
        limit = asyncio.Semaphore(8)

        async def one(digest: str) -> None:
            async with limit:
                await self._blob(client, digest)

        await asyncio.gather(*map(one, self._blobs), *(self._manifest(client, tag) for tag in self._tags))
        return len(self._blobs) + len(self._tags)

    def resumed(self) -> int:
        """How many downloads were gone on with from their middle since the last call."""
        ranged = sum("Range" in seen.headers for seen in self.hub.requests if seen.server == "cdn")
        self.hub.clear()
        return ranged

    async def _manifest(self, client: Client, tag: str) -> None:
        await self._same(client, f"manifests/{tag}", self._tags[tag])

    async def _blob(self, client: Client, digest: str) -> None:
        await self._same(client, f"blobs/{digest}", self._blobs[digest])

    async def _same(self, client: Client, what: str, expected: bytes) -> None:
        answer = await client.request("GET", f"/v2/{_HOST}/{_NAME}/{what}")
        client.report.pulls += 1
        if answer.status != 200:
            client.report.violate(f"pull of {what}: {answer.status}: {answer.body[:300]!r}")
        elif answer.body != expected:
            client.report.violate(f"pull of {what}: wrong bytes, {len(answer.body)} instead of {len(expected)}")

    async def _evict(self, client: Client, what: str) -> None:
        answer = await client.request("DELETE", f"/v2/{_HOST}/{_NAME}/{what}")
        if answer.status not in (202, 404):
            client.report.violate(f"DELETE of the cached {what}: {answer.status}: {answer.body[:300]!r}")
