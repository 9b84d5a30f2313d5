"""Clients that never stop: they push, move, delete and pull until the server is gone."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.crash.client import Client, ServerGone
from tests.crash.content import REPOSITORIES, TAGS, Blob, Image, World, make_image
from tests.crash.history import Key, Session

_MAX_IMAGES = 6

Job = Callable[[Client], Awaitable[None]]


class Pusher:
    """One client, over all lives of the server. The manifests are its own, tags and other blobs are everybody's."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world, self._chance = world, chance
        self._images: list[Image] = []
        self._jobs: dict[Job, int] = {
            self._push_loose: 6,
            self._delete_loose: 3,
            self._push_image: 4,
            self._move_tag: 3,
            self._delete_tag: 1,
            self._retire_image: 2,
            self._give_up: 1,
        }

    async def run(self, client: Client) -> None:
        """Until the server is gone. What an earlier one did not get done comes first."""
        with suppress(ServerGone):
            while session := next(client.history.unowned(), None):
                session.owned = True
                if await client.go_on(session):
                    await self._upload(client, session)
            while True:
                (job,) = self._chance.choices(list(self._jobs), list(self._jobs.values()))
                await job(client)

    async def _push_loose(self, client: Client) -> None:
        await self._push(client, self._chance.choice(REPOSITORIES), self._chance.choice(self._world.loose))

    async def _delete_loose(self, client: Client) -> None:
        await client.delete_blob(self._chance.choice(REPOSITORIES), self._chance.choice(self._world.loose))

    async def _push_image(self, client: Client) -> None:
        image = make_image(self._chance, self._world)
        self._images.append(image)
        for blob in (*image.own, *image.shared):
            known = client.history.read(Key("blob", image.repository, blob.digest)).possible() == {blob.digest}
            if not known or self._chance.random() < 0.2:
                await self._push(client, image.repository, blob)
        tags = self._chance.sample(TAGS, self._chance.choice((0, 1, 1, 1, 2)))
        await client.push_manifest(image.repository, image.manifest, tags)
        if len(self._images) > _MAX_IMAGES:
            await self._retire_image(client)

    async def _move_tag(self, client: Client) -> None:
        """Back to an image that is there."""
        here = [image for image in self._images if _is_here(client, image)]
        if here:
            image = self._chance.choice(here)
            await client.push_manifest(image.repository, image.manifest, [self._chance.choice(TAGS)])

    async def _delete_tag(self, client: Client) -> None:
        await client.delete_tag(self._chance.choice(REPOSITORIES), self._chance.choice(TAGS))

    async def _retire_image(self, client: Client) -> None:
        """Delete an image, its tags with it, and then what nothing refers to any more."""
        if self._images:
            image = self._images[0]
            await client.delete_manifest(image.repository, image.manifest)
            for blob in image.own:
                await client.delete_blob(image.repository, blob)
            self._images.remove(image)

    async def _give_up(self, client: Client) -> None:
        """Begin an upload and cancel it."""
        session = await client.begin(self._chance.choice(REPOSITORIES), self._chance.choice(self._world.loose))
        if session is not None:
            if session.blob.data:
                await client.append(session, 50_000, slowly=False)
            await client.cancel(session)

    async def _push(self, client: Client, repository: str, blob: Blob) -> None:
        way = self._chance.choice(("whole", "session", "chunks", "mount"))
        if way == "whole":
            return await client.push_whole(repository, blob)
        if way == "mount":
            session = await client.mount(repository, blob, self._chance.choice((*REPOSITORIES, None)))
        else:
            session = await client.begin(repository, blob)
        if session is not None:
            await (self._upload(client, session) if way == "chunks" else client.finish(session))
        return None

    async def _upload(self, client: Client, session: Session) -> None:
        """In chunks of any size; the last one with the end, or before it."""
        size = len(session.blob.data)
        end = size if self._chance.random() < 0.5 else size // 2
        while session.acknowledged < end:
            part = self._chance.randint(1, max(1, size // 2))
            if not await client.append(session, part, slowly=self._chance.random() < 0.3):
                return
        await client.finish(session)


def _is_here(client: Client, image: Image) -> bool:
    key = Key("manifest", image.repository, image.manifest.digest)
    return client.history.read(key).possible() == {image.manifest.digest}


class Puller:
    """Reads what is there, whatever is being done to it meanwhile."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def run(self, client: Client) -> None:
        with suppress(ServerGone):
            while True:
                keys = list(client.history.registers)
                if keys:
                    await self._pull(client, self._chance.choice(keys))
                await asyncio.sleep(0.002)

    async def _pull(self, client: Client, key: Key) -> None:
        register = client.history.read(key)
        version, possible = register.version, register.possible()
        found = await client.look(key, whole=self._chance.random() < 0.7)
        if register.version == version and found not in possible:
            client.report.violate(f"{key} is {found} and not one of {possible}, though nobody has changed it")
