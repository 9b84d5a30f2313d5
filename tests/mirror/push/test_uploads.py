"""Blobs pushed in every way there is."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from tests.conftest import RunningMirror
from tests.fakes.images import digest_of, random_blob
from tests.mirror.push.pushing import begin, check_created, code, finish, patch, pull_blob, uploads
from tests.mirror.wire import stored

DIGEST, DATA = random_blob("uploads", 300_000)
HALF = 150_000


async def test_single_post(mirror: RunningMirror) -> None:
    check_created(await mirror.post(f"{uploads()}?digest={DIGEST}", data=DATA), DIGEST)
    assert await pull_blob(mirror, DIGEST) == DATA


async def test_post_and_put(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    check_created(await finish(mirror, session, DIGEST, DATA), DIGEST)
    assert await pull_blob(mirror, DIGEST) == DATA


async def test_post_answers_what_a_client_goes_on_with(mirror: RunningMirror) -> None:
    for path in (uploads(), uploads().rstrip("/")):
        answer = await mirror.post(path, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.headers["Range"], answer.headers["Content-Length"]) == (202, "0-0", "0")
        assert answer.headers["Location"] == uploads() + answer.headers["Docker-Upload-UUID"]
        assert len(answer.headers["Docker-Upload-UUID"]) == 32


@pytest.mark.parametrize("with_range", [True, False])
async def test_chunks(mirror: RunningMirror, with_range: bool) -> None:
    session = await begin(mirror)
    for start in range(0, len(DATA), 100_000):
        answer = await patch(mirror, session, DATA[start : start + 100_000], start if with_range else None)
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{start + 99_999}")
        session = answer.headers["Location"]
    check_created(await finish(mirror, session, DIGEST), DIGEST)
    assert await pull_blob(mirror, DIGEST) == DATA


async def test_last_chunk_with_the_put(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    await patch(mirror, session, DATA[:HALF], 0)
    headers = {"Content-Range": f"{HALF}-{len(DATA) - 1}"}
    check_created(await mirror.put(f"{session}?digest={DIGEST}", data=DATA[HALF:], headers=headers), DIGEST)
    assert await pull_blob(mirror, DIGEST) == DATA


async def test_stream_of_unknown_length(mirror: RunningMirror) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 7919):
            yield DATA[start : start + 7919]

    session = await begin(mirror)
    answer = await patch(mirror, session, pieces())
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(DATA) - 1}")
    check_created(await finish(mirror, session, DIGEST), DIGEST)
    assert await pull_blob(mirror, DIGEST) == DATA


async def test_empty_blob(mirror: RunningMirror) -> None:
    digest = digest_of(b"")
    session = await begin(mirror)
    check_created(await finish(mirror, session, digest), digest)
    assert await pull_blob(mirror, digest) == b""


async def test_sha512(mirror: RunningMirror) -> None:
    digest = f"sha512:{hashlib.sha512(DATA).hexdigest()}"
    session = await begin(mirror)
    await patch(mirror, session, DATA)
    check_created(await finish(mirror, session, digest), digest)
    check_created(await mirror.post(f"{uploads('team/two')}?digest={digest}", data=DATA), digest, "team/two")
    assert await pull_blob(mirror, digest) == DATA
    assert await pull_blob(mirror, DIGEST) is None  # the same bytes under a name that nobody has given them
    assert stored(mirror) == {digest}


async def test_status(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    for sent in (0, HALF):
        if sent:
            await patch(mirror, session, DATA[:sent])
        answer = await mirror.get(session)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Range"] == f"0-{max(0, sent - 1)}"
        assert answer.headers["Location"] == session
        assert (await mirror.head(session)).status == 204


async def test_chunk_out_of_order__says_where_to_go_on(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    await patch(mirror, session, DATA[:HALF], 0)
    for start in (0, 1, HALF - 1, HALF + 1, 10**12):
        answer = await patch(mirror, session, DATA[HALF : HALF + 100], start)
        assert code(answer) == (416, "BLOB_UPLOAD_INVALID")
        assert answer.headers["Range"] == f"0-{HALF - 1}"
        assert answer.headers["Location"] == session
    headers = {"Content-Range": "0-9"}
    answer = await mirror.put(f"{session}?digest={DIGEST}", data=DATA[:10], headers=headers)
    assert (code(answer)[0], answer.headers["Range"]) == (416, f"0-{HALF - 1}")
    # Nothing of that was taken, and nothing is lost.
    await patch(mirror, session, DATA[HALF:], HALF)
    check_created(await finish(mirror, session, DIGEST), DIGEST)


@pytest.mark.parametrize(
    "content_range",
    ["", "x", "5", "5-", "-5", "9-5", "a-b", "bytes 0-9/*, 20-29", "0-9/x", "\u0660-\u0669", "+0-9", "0x0-9", "1e1-9"],
)
async def test_chunk_range_that_makes_no_sense(mirror: RunningMirror, content_range: str) -> None:
    session = await begin(mirror)
    answer = await mirror.patch(session, data=b"x" * 10, headers={"Content-Range": content_range})
    assert code(answer) == (400, "BAD_REQUEST")
    assert (await mirror.get(session)).headers["Range"] == "0-0"


async def test_chunk_whose_range_and_length_differ(mirror: RunningMirror) -> None:
    session = await begin(mirror)
    answer = await mirror.patch(session, data=b"x" * 10, headers={"Content-Range": "0-10"})
    assert code(answer) == (400, "SIZE_INVALID")
    assert (await mirror.get(session)).headers["Range"] == "0-0"


@pytest.mark.parametrize("content_range", ["0-9", "bytes 0-9/*", "bytes=0-9", "bytes 0-9/100"])
async def test_chunk_range_in_every_form(mirror: RunningMirror, content_range: str) -> None:
    session = await begin(mirror)
    assert (await mirror.patch(session, data=b"x" * 10, headers={"Content-Range": content_range})).status == 202
