"""Upload sessions: how they end, whose they are, and that they outlive the server."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from mirror.http.keys import SERVICES
from tests.conftest import Clock, RunningMirror, config_for, running
from tests.fakes.images import digest_of, random_blob
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import (
    REPOSITORY,
    begin,
    check_created,
    code,
    finish,
    patch,
    pull_blob,
    push_blob,
    uploads,
)
from tests.mirror.wire import blob, stored

DIGEST, DATA = random_blob("sessions", 300_000)
HALF = 150_000


async def test_cancel(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    await patch(mirror, session, DATA)
    assert (await mirror.delete(session)).status == 204
    for answer in (await mirror.get(session), await patch(mirror, session, b"x"), await mirror.delete(session)):
        assert code(answer) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert code(await finish(mirror, session, DIGEST)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert list((mirror.config.storage.root / "uploads").iterdir()) == []


async def test_wrong_digest__ends_the_session(mirror: RunningMirror) -> None:
    wrong = digest_of(b"something else")
    session = await begin(mirror)
    await patch(mirror, session, DATA)
    answer = await finish(mirror, session, wrong)
    assert code(answer) == (400, "DIGEST_INVALID")
    assert answer.json()["errors"][0]["detail"] == {"expected": wrong, "received": DIGEST}
    assert code(await mirror.get(session)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert stored(mirror) == set()


@pytest.mark.parametrize("digest", [digest_of(b"x"), f"sha512:{hashlib.sha512(b'x').hexdigest()}"])
async def test_wrong_digest__of_a_single_post(mirror: RunningMirror, digest: str) -> None:
    answer = await mirror.post(f"{uploads()}?digest={digest}", data=DATA)
    assert code(answer) == (400, "DIGEST_INVALID")
    assert stored(mirror) == set()
    assert list((mirror.config.storage.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("query", ["", "?digest=", "?digest=sha256:abc", "?digest=md5:" + "0" * 32, "?digest=../x"])
async def test_put_without_a_digest_that_can_be_read(mirror: RunningMirror, query: str) -> None:
    session = await begin(mirror)
    await patch(mirror, session, DATA)
    assert code(await mirror.put(session + query)) == (400, "DIGEST_INVALID")
    check_created(await finish(mirror, session, DIGEST), DIGEST)  # the session is none the worse for it


async def test_put_after_a_lost_answer(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    await patch(mirror, session, DATA)
    check_created(await finish(mirror, session, DIGEST), DIGEST)
    for _ in range(2):
        check_created(await finish(mirror, session, DIGEST), DIGEST)
    assert code(await finish(mirror, session, digest_of(b"x"))) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert code(await finish(mirror, session.replace(REPOSITORY, "team/two"), DIGEST))[0] == 404


async def test_put_without_all_the_bytes(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    await patch(mirror, session, DATA[:-1])
    assert code(await finish(mirror, session, DIGEST)) == (400, "DIGEST_INVALID")
    assert stored(mirror) == set()


async def test_restart__session_goes_on(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    config = config_for(hub, tmp_path / "store")
    async with running(config, clock) as mirror:
        session = await begin(mirror)
        await patch(mirror, session, DATA[:HALF])
    async with running(config, clock) as mirror:
        assert (await mirror.get(session)).headers["Range"] == f"0-{HALF - 1}"
        assert code(await patch(mirror, session, b"x", 0))[0] == 416
        await patch(mirror, session, DATA[HALF:], HALF)
    async with running(config, clock) as mirror:
        check_created(await finish(mirror, session, DIGEST), DIGEST)
        assert await pull_blob(mirror, DIGEST) == DATA
    async with running(config, clock) as mirror:
        assert await pull_blob(mirror, DIGEST) == DATA
        check_created(await finish(mirror, session, DIGEST), DIGEST)


async def test_session_belongs_to_its_repository(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    await patch(mirror, session, DATA)
    for name in ("team/two", "team", "library/app", "docker.io/team/app"):
        stolen = session.replace(REPOSITORY, name)
        for answer in (await mirror.get(stolen), await patch(mirror, stolen, b"x"), await mirror.delete(stolen)):
            assert code(answer) == (404, "BLOB_UPLOAD_UNKNOWN"), name
        assert code(await finish(mirror, stolen, DIGEST))[0] == 404
    check_created(await finish(mirror, session, DIGEST), DIGEST)


@pytest.mark.parametrize(
    "session", ["0" * 32, "F" * 32, "x", "..", "%2e%2e", "..%2f..%2fFORMAT", "a" * 5000, "%00", "0" * 31 + "\u0660"]
)
async def test_session_that_never_was(mirror: RunningMirror, session: str) -> None:
    await push_blob(mirror, DATA)
    for method in ("GET", "PATCH", "DELETE"):
        answer = await mirror.request(method, f"{uploads()}{session}")
        assert answer.status in (400, 404)
        assert answer.status == 400 or code(answer)[1] in ("BLOB_UPLOAD_UNKNOWN", "NOT_FOUND", "DIGEST_INVALID")


async def test_same_blob_into_two_repositories_at_once(mirror: RunningMirror) -> None:
    names = [f"team/app-{number}" for number in range(10)]
    sessions = [await begin(mirror, name) for name in names]
    await asyncio.gather(*(patch(mirror, session, DATA) for session in sessions))
    answers = await asyncio.gather(*(finish(mirror, session, DIGEST) for session in sessions))
    for name, answer in zip(names, answers, strict=True):
        check_created(answer, DIGEST, name)
        assert await pull_blob(mirror, DIGEST, name) == DATA
    assert stored(mirror) == {DIGEST}


async def test_two_clients_in_one_session_take_turns(mirror: RunningMirror) -> None:
    """Whoever comes second is told; no byte of the two gets mixed."""
    session = await begin(mirror)
    answers = await asyncio.gather(*(patch(mirror, session, DATA, 0) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [202, 416, 416, 416, 416]
    check_created(await finish(mirror, session, DIGEST), DIGEST)


async def test_pushed_again__over_a_damaged_file(mirror: RunningMirror) -> None:
    await push_blob(mirror, DATA)
    (file,) = (mirror.config.storage.root / "blobs").rglob(DIGEST.removeprefix("sha256:"))
    file.chmod(0o644)
    file.write_bytes(DATA[:-1])
    assert await pull_blob(mirror, DIGEST) is None
    await push_blob(mirror, DATA)
    assert await pull_blob(mirror, DIGEST) == DATA


async def test_external_url_is_what_locations_begin_with(hub: FakeHub, tmp_path: Path, clock: Clock) -> None:
    config = config_for(hub, tmp_path / "store", server={"external_url": "https://mirror.example.com/"})
    async with running(config, clock) as mirror:
        answer = await mirror.post(uploads(), headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
        assert answer.headers["Location"].startswith(f"https://mirror.example.com{uploads()}")
        created = await mirror.post(f"{uploads()}?digest={DIGEST}", data=DATA)
        assert created.headers["Location"] == f"https://mirror.example.com{blob(DIGEST, REPOSITORY)}"


@pytest.mark.parametrize("what", ["append", "cancel"])
async def test_whoever_waited_while_a_session_ended_is_told(mirror: RunningMirror, what: str) -> None:
    """Its file has another name by then; what comes now must not be written into it, nor called cancelled."""
    location = await begin(mirror)
    uploads_of = mirror.application[SERVICES].uploads
    session = await uploads_of.find(mirror.application[SERVICES].names.read(REPOSITORY), location.rpartition("/")[2])
    async with session.turn():
        late = asyncio.create_task(patch(mirror, location, b"x") if what == "append" else mirror.delete(location))
        await asyncio.sleep(0.1)
        session.ended = True
    assert code(await late) == (404, "BLOB_UPLOAD_UNKNOWN")
