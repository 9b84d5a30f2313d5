"""The judge on a store that has been damaged on purpose: what is lost is noticed."""

import os
import random
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from storage.index.engine import sqlite_module
from tests.crash.audit import Audit
from tests.crash.check import check
from tests.crash.client import Client
from tests.crash.content import World, make_image
from tests.crash.history import History
from tests.crash.report import Report
from tests.crash.server import Server

Damage = Callable[[Path], None]


def statement(text: str) -> Damage:
    def run(store: Path) -> None:
        with closing(sqlite_module().connect(store / "index.sqlite")) as connection:
            connection.execute(text)
            connection.commit()

    return run


def blob_file(store: Path) -> Path:
    """The largest one, a layer."""
    return max((path for path in (store / "blobs").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(store: Path) -> None:
    os.truncate(blob_file(store), 5)


def flip(store: Path) -> None:
    file = blob_file(store)
    file.chmod(0o600)
    file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))


def nothing(_store: Path) -> None:
    """The control."""


@pytest.mark.crash
@pytest.mark.parametrize(
    ("damage", "by_clients", "by_audit"),
    [
        (nothing, "", ""),
        (statement("DELETE FROM tags"), "is None, but may only be", ""),
        (statement("DELETE FROM repository_blobs"), "is None, but may only be", "lacks"),
        (statement("UPDATE tags SET name = 'other'"), "lists the tags ['other']", ""),
        (statement("DELETE FROM upload_sessions"), "was begun, and is gone", ""),
        (truncate, "is None, but may only be", "its row says"),
        (flip, "wrong bytes", "wrong bytes"),
        (lambda store: blob_file(store).unlink(), "is None, but may only be", "has a row and no file"),
    ],
    ids=["nothing", "tag", "link", "moved tag", "session", "truncated", "flipped", "missing"],
)
async def test_damage_is_noticed(tmp_path: Path, damage: Damage, by_clients: str, by_audit: str) -> None:
    world, history, report = World(1), History(), Report(1)
    server = Server(tmp_path)
    try:
        await server.start()
        async with Client(server, history, report) as client:
            image = make_image(random.Random(1), world)
            for blob in (*image.own, *image.shared, world.layers[-1]):
                await client.push_whole(image.repository, blob)
            await client.push_manifest(image.repository, image.manifest, ["latest"])
            await client.begin(image.repository, world.loose[0])
        assert await server.stop() == 0
        damage(server.store)
        _, wrong = Audit(server.store).look()
        await server.start()
        async with Client(server, history, report) as client:
            await check(client, everything=True)
    finally:
        await server.close()
    assert any(by_clients in what for what in report.broken) if by_clients else not report.broken
    assert any(by_audit in what for what in wrong) if by_audit else not wrong
