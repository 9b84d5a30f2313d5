"""Blobs that no manifest here names: only their upstream says how long they are, or nobody does."""

import pytest

from mirror.pull import source
from tests.conftest import RunningMirror
from tests.fakes.faults import LongLength, NoLength
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, fetch, partial_size, stored, until


async def test_one_that_has_no_end(hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_MAX_UNKNOWN", 100_000)
    digest = hub.add_blob(NAME, b"x" * 1_000_000)
    hub.fault("cdn", NoLength())
    got = await fetch(mirror, blob(digest))
    assert got.full_body is None
    assert len(got.body) <= 100_000
    await until(lambda: partial_size(mirror, digest) == -1)
    assert digest not in stored(mirror)


async def test_one_that_there_is_no_room_for(hub: FakeHub, mirror: RunningMirror) -> None:
    digest = hub.add_blob(NAME, b"x" * 1000)
    hub.fault("cdn", LongLength(2**62))
    assert (await fetch(mirror, blob(digest))).status == 507
    assert hub.count("cdn") == 1
    await until(lambda: partial_size(mirror, digest) == -1)
