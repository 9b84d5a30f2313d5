"""Everything an upstream can do wrong, to everything that is asked of it, for one client and for ten at once.

The promise, whatever happens: no client ever takes wrong bytes for right ones, nothing wrong stays behind, and it is
over in bounded time.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass

import pytest

from tests.conftest import RunningMirror, Server
from tests.fakes.faults import (
    CutAt,
    DeepJson,
    Drop,
    Empty200,
    Fault,
    GarbageJson,
    Gzip,
    Hang,
    HeadGetDisagree,
    Html200,
    HugeTags,
    IgnoreRange,
    Json200,
    LinkLoop,
    LongLength,
    NoDigestHeader,
    NoLength,
    RedirectLoop,
    RedirectTo,
    ShortLength,
    Status,
    Status416,
    Trickle,
    Unasked206,
    Where,
    WrongBytes,
    WrongDigestHeader,
)
from tests.fakes.images import Image, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import Got, blob, fetch, manifest

FAULTS: list[Fault] = [
    *(Status(code) for code in (304, 400, 401, 403, 404, 410, 429, 451, 500, 502, 503, 504)),
    Status(429, {"Retry-After": "1"}),
    Status(429, {"Retry-After": "86400"}),
    Status(503, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}),
    Status(200, body=b""),
    Status(204, body=b""),
    Status416(),
    Unasked206(),
    IgnoreRange(),
    RedirectLoop(),
    RedirectTo("file:///etc/passwd"),
    RedirectTo("//[::1]:1/"),
    RedirectTo("nowhere"),
    RedirectTo(""),
    RedirectTo("http://"),
    Hang(),
    Hang("body", 10),
    Trickle(20_000),
    CutAt(0),
    CutAt(1),
    CutAt(20),
    CutAt(-1),
    CutAt(-1, reset=True),
    Drop(),
    ShortLength(),
    ShortLength(20),
    LongLength(),
    LongLength(10_000_000),
    NoLength(),
    WrongBytes(),
    WrongBytes(0),
    WrongBytes(30),
    WrongDigestHeader(),
    NoDigestHeader(),
    HeadGetDisagree(),
    Html200(),
    Json200(),
    Gzip(),
    Empty200(),
    GarbageJson(),
    DeepJson(),
    HugeTags(5 * 2**20),
    LinkLoop(),
]


@dataclass(frozen=True)
class Case:
    """One thing that is asked for, by so many clients at once, of a repository of its own."""

    kind: str
    clients: int

    @property
    def name(self) -> str:
        return f"org/{self.kind}-{self.clients}"

    @property
    def image(self) -> Image:
        return make_image(self.name, [6000])

    @property
    def where(self) -> Where:
        kinds: dict[str, Where] = {"tag": "manifest", "digest": "manifest", "tags": "tags", "blob": "blob"}
        return kinds.get(self.kind, "cdn")

    @property
    def match(self) -> str:
        """What only the requests of this case have in their address."""
        return self.image.layers[0].removeprefix("sha256:") if self.where == "cdn" else self.name

    @property
    def path(self) -> str:
        match self.kind:
            case "tag":
                return manifest("v1", self.name)
            case "digest":
                return manifest(self.image.digest, self.name)
            case "tags":
                return f"/v2/{self.name}/tags/list"
            case _:
                return blob(self.image.layers[0], self.name)

    def is_right(self, got: Got) -> bool:
        match self.kind:
            case "tag" | "digest":
                return got.body == self.image.manifest and got.headers["Docker-Content-Digest"] == self.image.digest
            case "tags":
                return bool(json.loads(got.body) == {"name": self.name, "tags": ["v1", "v2"]})
            case _:
                return got.body == self.image.blobs[self.image.layers[0]]


# `layer` is a blob whose length a manifest has told, `cdn` one that is only known by its digest.
CASES = [Case(kind, clients) for kind in ("tag", "digest", "tags", "blob", "cdn", "layer") for clients in (1, 50)]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_fault(hub: FakeHub, server: Server, fault: Fault) -> None:
    mirror = await server(upstream={"connect_timeout": 1, "read_timeout": 1})
    for case in CASES:
        hub.add_image(case.name, "v1", case.image)
        hub.add_image(case.name, "v2", case.image)
        if case.kind == "layer":
            assert (await fetch(mirror, manifest("v1", case.name))).status == 200
        hub.fault(case.where, fault, match=case.match)

    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(_ask(mirror, case) for case in CASES))
    for case, got in zip(CASES, answers, strict=True):
        for one in got:
            _check(case, one)

    hub.clear_faults()
    for case in CASES:
        again = await fetch(mirror, case.path)
        assert (again.status, again.complete) == (200, True), (case, again)
        assert case.is_right(again), case
    _check_store(mirror)


async def _ask(mirror: RunningMirror, case: Case) -> list[Got]:
    return await asyncio.gather(*(fetch(mirror, case.path) for _ in range(case.clients)))


def _check(case: Case, got: Got) -> None:
    if not got.complete:
        return  # cut: nobody can take that for the whole
    assert got.status in (200, 404, 502, 503, 504, 507), (case, got)
    if got.status == 200:
        assert case.is_right(got), (case, got)
    else:
        (error,) = json.loads(got.body)["errors"]
        assert error["code"].isupper(), case
        assert error["message"], case


def _check_store(mirror: RunningMirror) -> None:
    """Every file is what its name says, whatever the upstream said."""
    files = [file for file in (mirror.config.storage.root / "blobs").rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert hashlib.new(file.parent.parent.name, file.read_bytes()).hexdigest() == file.name
