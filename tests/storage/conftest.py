"""The parts of a store, each on its own, on a real disk."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from storage.files import Disk
from storage.index.engine import sqlite_module
from storage.index.migrate import upgrade
from storage.index.unit import StoreIndex
from storage.layout import Layout
from tests.storage.samples import layout_in


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The folders of a store."""
    return layout_in(tmp_path / "parts")


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.close()


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[StoreIndex]:
    """An empty index."""
    path = tmp_path / "index.sqlite"
    upgrade(path, sqlite_module())
    opened = StoreIndex(path, sqlite_module())
    yield opened
    await opened.close()
