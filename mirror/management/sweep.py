"""Put right what nobody waits for: abandoned uploads, and what a killed server left behind."""

import asyncio
import logging

from storage.errors import StorageError
from storage.store import Store

log = logging.getLogger(__name__)
_EVERY_SECONDS = 600.0


class Sweeper:
    """A background task: once after a crash, then every ten minutes. At the start it also describes what an earlier
    version has left undescribed."""

    def __init__(self, store: Store, upload_ttl: float) -> None:
        self._store, self._upload_ttl = store, upload_ttl

    async def run(self) -> None:
        """Until cancelled."""
        stray, described = self._store.was_killed, False
        while True:
            try:
                await self.sweep(stray=stray)
                stray = False
                if not described:
                    await self._store.finding.catch_up()
                    described = True
            except StorageError as error:
                log.error("cannot tidy up the store", extra={"reason": str(error)})
            except Exception:
                log.exception("tidying up the store failed")
            await asyncio.sleep(min(_EVERY_SECONDS, max(1.0, self._upload_ttl / 2)))

    async def sweep(self, *, stray: bool) -> None:
        expired = await self._store.uploads.expire(self._upload_ttl)
        expired_downloads = await self._store.expire_downloads(self._upload_ttl)
        if expired or expired_downloads:
            log.info("removed what was abandoned", extra={"uploads": expired, "downloads": expired_downloads})
        if stray:
            log.info("removed stray files", extra={"files": await self._store.sweep()})
