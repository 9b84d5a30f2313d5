"""Kill a server in the middle of pushes, start it again, and hold it to everything that it had promised."""

import asyncio
import hashlib
import json
import random
import re
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession, TCPConnector

from storage.index.engine import sqlite_module
from tests.crash.oracle import IMAGE, Oracle, Upload, digest_of
from tests.crash.pusher import Pusher

_PUSHERS = 4
_ROOT = Path(__file__).parents[2]
_READY_SECONDS = 20.0  # a second or so; the rest is for a machine that is busy otherwise


@dataclass
class Report:
    """Figures of a run; `violations` are broken promises, in words."""

    seed: int
    kills: int = 0
    acknowledged: int = 0
    checked: int = 0
    resumed: int = 0
    slowest_start: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills, {self.acknowledged} acknowledged writes, {self.checked} objects "
            f"checked, {self.resumed} uploads gone on with, slowest start {self.slowest_start:.1f} s, "
            f"{self.seconds:.0f} s in all, nothing lost"
        )


class Server:
    """The real server, on one store."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "data"
        self._log = folder / "log"
        self._config = folder / "mirror.toml"
        sections = ('[server]\nlisten = "127.0.0.1:0"', f'[storage]\nroot = "{self.store}"', "[upstreams]")
        self._config.write_text("\n".join(sections))
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> float:
        """Seconds until it was ready."""
        began = time.monotonic()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mirror", "serve", "--config", str(self._config)),
                cwd=_ROOT,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), _READY_SECONDS)
        match = re.fullmatch(rb"listening on (\S+)\n", line)
        assert match is not None, self._log.read_text()[-3000:]
        self.url = match[1].decode()
        return time.monotonic() - began

    async def stop(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return await asyncio.wait_for(self._process.wait(), 60)

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.stop(signal.SIGKILL)


async def run(kills: int, seed: int, folder: Path) -> Report:
    """Raises AssertionError for a promise that was broken."""
    chance, oracle, report, began = random.Random(seed), Oracle(), Report(seed), time.monotonic()
    async with Server(folder) as server, ClientSession(connector=TCPConnector(limit=0)) as session:
        while report.kills < kills:
            report.slowest_start = max(report.slowest_start, await server.start())
            await _check(session, server, oracle, report, chance)
            before = oracle.acknowledged
            pushers = [Pusher(n, session, server.url, oracle, chance) for n in range(_PUSHERS)]
            pushing = [asyncio.create_task(pusher.run()) for pusher in pushers]
            await asyncio.sleep(chance.uniform(0.02, 0.5))
            await server.stop(signal.SIGKILL)
            await asyncio.gather(*pushing)
            report.kills += oracle.acknowledged > before or bool(oracle.trying)  # else nothing was at stake
        await server.start()
        await _check(session, server, oracle, report, chance, everything=True)
        assert await server.stop(signal.SIGTERM) == 0
    _check_files(server.store)
    report.acknowledged, report.seconds = oracle.acknowledged, time.monotonic() - began
    return report


async def _check(
    session: ClientSession,
    server: Server,
    oracle: Oracle,
    report: Report,
    chance: random.Random,
    everything: bool = False,
) -> None:
    """Every tag, every upload, and all objects (or the newest and some of the others)."""
    assert list((server.store / "tmp").iterdir()) == [], "what was half written is removed at start"
    for key in {*oracle.tags, *oracle.trying}:
        await _check_tag(session, server.url, oracle, key)
        report.checked += 1
    objects = {("blobs", *key): data for key, data in oracle.blobs.items()}
    objects |= {("manifests", *key): body for key, body in oracle.manifests.items()}
    keys = list(objects) if everything else _some(list(objects), chance)
    for kind, repository, digest in keys:
        async with session.get(f"{server.url}/v2/{repository}/{kind}/{digest}") as response:
            assert response.status == 200, f"{kind} {repository} {digest}: {response.status}, but it was acknowledged"
            assert await response.read() == objects[kind, repository, digest], f"{digest}: other bytes"
        report.checked += 1
    for upload in oracle.uploads:
        report.resumed += await _go_on(session, server.url, oracle, upload)
    oracle.uploads.clear()


def _some(keys: list[tuple[str, str, str]], chance: random.Random) -> Iterable[tuple[str, str, str]]:
    return {*keys[-60:], *chance.sample(keys, min(20, len(keys)))}


async def _check_tag(session: ClientSession, url: str, oracle: Oracle, key: tuple[str, str]) -> None:
    """It points where it was last said to, or where it was about to; and never at an incomplete image."""
    repository, tag = key
    async with session.get(f"{url}/v2/{repository}/manifests/{tag}", headers={"Accept": IMAGE}) as response:
        assert response.status in (200, 404), response.status
        body = await response.read() if response.status == 200 else None
    found = None if body is None else digest_of(body)
    assert found in oracle.may_be(key), f"{repository}:{tag} is {found}, not one of {oracle.may_be(key)}"
    oracle.trying.pop(key, None)
    if body is None or found is None:
        oracle.tags.pop(key, None)
        return
    oracle.tags[key] = found
    oracle.manifests[repository, found] = body
    manifest = json.loads(body)
    for child in (manifest["config"], *manifest["layers"]):
        async with session.head(f"{url}/v2/{repository}/blobs/{child['digest']}") as response:
            assert (response.status, response.content_length) == (200, child["size"]), f"{tag} lacks {child['digest']}"


async def _go_on(session: ClientSession, url: str, oracle: Oracle, upload: Upload) -> bool:
    """A session that was begun is there, with all that was acknowledged, and can be gone on with to its end."""
    digest = digest_of(upload.data)
    async with session.get(url + upload.location) as response:
        if response.status == 404:  # its last answer was lost on the way: then the blob is there
            async with session.head(f"{url}/v2/{upload.repository}/blobs/{digest}") as blob:
                assert blob.status == 200, f"{upload.location} is gone, and so is what was uploaded"
            return False
        assert response.status == 204, response.status
        last = int(response.headers["Range"].removeprefix("0-"))
    # 0-0 is how the protocol says "nothing", and "one byte".
    offset = last + 1 if last else 0
    assert offset >= upload.acknowledged or upload.finishing or last == 0 == max(0, upload.acknowledged - 1), (
        f"{upload.location}: {offset} bytes, but {upload.acknowledged} acknowledged"
    )
    if last == 0 and 1 in (len(upload.data), upload.acknowledged):
        return False
    put = session.put(f"{url}{upload.location}?digest={digest}", data=upload.data[offset:])
    async with put as response:
        assert response.status == 201, await response.text()
    oracle.blob(upload.repository, upload.data)
    return True


def _check_files(store: Path) -> None:
    """Every row has its file, every file its row, and the bytes are what their name says."""
    connection = sqlite_module().connect(str(store / "index.sqlite"))
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = dict(connection.execute("SELECT digest, size FROM blobs").fetchall())
    finally:
        connection.close()
    for digest, size in rows.items():
        file = store / "blobs" / "sha256" / digest[7:9] / digest[7:]
        assert file.stat().st_size == size, digest
        assert hashlib.sha256(file.read_bytes()).hexdigest() == digest[7:], f"{digest}: wrong bytes under a row"
