"""A part of a blob on its way into memory: fetched once, read by any number, each from its beginning."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager

from mirror.upstream.errors import UpstreamUnavailable


class Part:
    """The `length` bytes that `remote` gives. Owner of the task that fetches them; `close` it in the end."""

    def __init__(self, length: int, remote: AbstractAsyncContextManager[AsyncIterator[bytes]]) -> None:
        self._remote, self._missing = remote, length
        self._chunks: list[bytes] = []
        self._failure: Exception | None = None
        self._ended = False
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._fetch())

    @property
    def has_failed(self) -> bool:
        return self._failure is not None

    async def read(self) -> AsyncGenerator[bytes, None]:
        """The chunks as they come. Raises what the fetching ended with, behind those that came before."""
        position = 0
        while True:
            while position < len(self._chunks):
                position += 1
                yield self._chunks[position - 1]
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return
            await self._changed.wait()

    def stop(self) -> None:
        """Fetch no more. Who reads it comes to its end early."""
        self._task.cancel()

    async def close(self) -> None:
        """Fetch no more, and forget what has come. Nobody may be reading it."""
        self.stop()
        await asyncio.wait([self._task])
        self._chunks.clear()

    async def _fetch(self) -> None:
        try:
            async with self._remote as chunks:
                await self._keep(chunks)
        except Exception as error:
            self._failure = error  # raised to whoever reads this far
        finally:
            self._ended = True
            self._wake()

    async def _keep(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            if not self._missing:
                return  # there should be no more
            wanted = chunk[: self._missing]
            self._missing -= len(wanted)
            self._chunks.append(wanted)
            self._wake()
        if self._missing:
            raise UpstreamUnavailable("the upstream sent less than it announced")

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
