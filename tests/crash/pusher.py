"""One client that pushes without end: blobs in every way there is, images of them, moves and removals of tags."""

import random

from aiohttp import ClientError, ClientResponse, ClientSession

from tests.crash.oracle import IMAGE, Oracle, Upload, digest_of, image, some_bytes


class Pusher:
    """Its repository and tags are its own, so that it knows the order of their moves."""

    def __init__(self, number: int, session: ClientSession, url: str, oracle: Oracle, chance: random.Random) -> None:
        self._repository = f"crash/app{number}"
        self._session, self._url, self._oracle, self._chance = session, url, oracle, chance

    async def run(self) -> None:
        """Until the server is gone."""
        try:
            while True:
                await self._image()
        except (TimeoutError, ClientError, ConnectionError):
            return

    async def _image(self) -> None:
        content = [some_bytes(self._chance) for _ in range(self._chance.randint(1, 3))]
        for data in content:
            await self._blob(data)
        tag = f"t{self._chance.randint(0, 2)}"
        if self._chance.random() < 0.1:
            await self._untag(tag)
        body = image(content[0], content[1:])
        self._oracle.attempt(self._repository, tag, digest_of(body))
        path = f"/v2/{self._repository}/manifests/{tag}"
        async with self._session.put(self._url + path, data=body, headers={"Content-Type": IMAGE}) as response:
            await _expect(response, 201)
        self._oracle.manifest(self._repository, tag, body)

    async def _blob(self, data: bytes) -> None:
        way = self._chance.choice((self._whole, self._post_put, self._chunks, self._mount))
        await way(data)
        self._oracle.blob(self._repository, data)

    async def _whole(self, data: bytes) -> None:
        path = f"/v2/{self._repository}/blobs/uploads/?digest={digest_of(data)}"
        async with self._session.post(self._url + path, data=data) as response:
            await _expect(response, 201)

    async def _post_put(self, data: bytes) -> None:
        upload = await self._begin(data)
        await self._finish(upload)

    async def _chunks(self, data: bytes) -> None:
        upload = await self._begin(data)
        step = max(1, len(data) // 3)
        for start in range(0, len(data), step):
            async with self._session.patch(self._url + upload.location, data=data[start : start + step]) as response:
                await _expect(response, 202)
            upload.acknowledged = min(len(data), start + step)
        await self._finish(upload)

    async def _mount(self, data: bytes) -> None:
        """First into a repository that everybody shares, then from there."""
        path = f"/v2/crash/shared/blobs/uploads/?digest={digest_of(data)}"
        async with self._session.post(self._url + path, data=data) as response:
            await _expect(response, 201)
        self._oracle.blob("crash/shared", data)
        path = f"/v2/{self._repository}/blobs/uploads/?mount={digest_of(data)}&from=crash/shared"
        async with self._session.post(self._url + path) as response:
            await _expect(response, 201)

    async def _begin(self, data: bytes) -> Upload:
        async with self._session.post(f"{self._url}/v2/{self._repository}/blobs/uploads/") as response:
            await _expect(response, 202)
            upload = Upload(self._repository, response.headers["Location"], data)
        self._oracle.uploads.append(upload)
        return upload

    async def _finish(self, upload: Upload) -> None:
        upload.finishing = True
        rest, digest = upload.data[upload.acknowledged :], digest_of(upload.data)
        async with self._session.put(f"{self._url}{upload.location}?digest={digest}", data=rest) as response:
            await _expect(response, 201)
        self._oracle.uploads.remove(upload)

    async def _untag(self, tag: str) -> None:
        self._oracle.attempt(self._repository, tag, None)
        async with self._session.delete(f"{self._url}/v2/{self._repository}/manifests/{tag}") as response:
            assert response.status in (202, 404), response.status
        self._oracle.untagged(self._repository, tag)


async def _expect(response: ClientResponse, status: int) -> None:
    if response.status != status:
        raise AssertionError(
            f"{response.method} {response.url.path}: {response.status} {(await response.text())[:300]}"
        )
