"""How much is stored is counted once a minute, however many ask."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mirror.discovery.totals import Totals
from ocispec.names import RepositoryName
from storage.errors import TooSlow
from storage.finding import Finding
from storage.repository import Repository
from storage.scope import Scope
from storage.store import Store, open_store
from storage.views import Stored
from tests.conftest import Clock, Server
from tests.storage.samples import APP, EVERYTHING, NGINX, put_blob


class Counted:
    """A finding that counts how often it is asked, and fails so many times."""

    def __init__(self, finding: Finding) -> None:
        self._finding, self.asked, self.failures = finding, 0, 0

    async def stored(self, scope: Scope) -> Stored:
        self.asked += 1
        found = await self._finding.stored(scope)
        if self.asked <= self.failures:
            raise TooSlow("so it is")
        return found


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "store") as store:
        await put_blob(store, APP, b"content")
        yield store


@pytest.fixture
def finding(store: Store) -> Counted:
    return Counted(store.finding)


@pytest.fixture
async def totals(finding: Counted, clock: Clock) -> AsyncIterator[Totals]:
    totals = Totals(finding, EVERYTHING, clock)  # type: ignore[arg-type]
    yield totals
    await totals.close()


async def test_all_who_ask_at_once_share_an_answer(totals: Totals, finding: Counted) -> None:
    found = await asyncio.gather(*(totals.stored() for _ in range(20)))
    assert set(found) == {Stored(1, 0, 7, 7)}
    assert finding.asked == 1


async def test_it_is_counted_again_after_a_minute(totals: Totals, finding: Counted, clock: Clock, store: Store) -> None:
    await totals.stored()
    await put_blob(store, NGINX, b"more of it")
    clock.advance(59)
    assert await totals.stored() == Stored(1, 0, 7, 7)
    clock.advance(2)
    assert await totals.stored() == Stored(2, 0, 17, 17)
    assert finding.asked == 2
    clock.advance(-3600)
    await totals.stored()
    assert finding.asked == 3


async def test_a_failure_is_not_remembered(totals: Totals, finding: Counted) -> None:
    finding.failures = 1
    with pytest.raises(TooSlow):
        await totals.stored()
    assert await totals.stored() == Stored(1, 0, 7, 7)


async def test_the_overview_counts_what_is_within_the_rules(server: Server) -> None:
    mirror = await server()
    await put_blob(mirror.store, APP, b"content")
    await put_blob(mirror.store, Repository(RepositoryName("stranded"), "gone.example"), b"content")
    page = (await mirror.get("/")).body.decode()
    assert re.search(r'Repositories</h2>\s*<div class="figure">1</div>', page)
