"""Blobs that are here already need not be sent again."""

import pytest

from tests.conftest import Answer, RunningMirror
from tests.fakes.images import digest_of, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import check_created, code, finish, pull_blob, push_blob, uploads
from tests.mirror.wire import NAME, blob, fetch, here, manifest, stored

DATA = b"mounted" * 1000
DIGEST = digest_of(DATA)
TARGET = "team/target"


async def mount(mirror: RunningMirror, query: str) -> Answer:
    answer: Answer = await mirror.post(uploads(TARGET) + query)
    return answer


@pytest.mark.parametrize(
    "query",
    [
        f"?mount={DIGEST}&from=team/app",
        f"?from=team%2Fapp&mount={DIGEST}",
        f"?mount={DIGEST}&from=team/app&origin=localhost:5000",
        f"?mount={DIGEST}",  # from anywhere
    ],
)
async def test_mount(mirror: RunningMirror, query: str) -> None:
    await push_blob(mirror, DATA)
    check_created(await mount(mirror, query), DIGEST, TARGET)
    assert await pull_blob(mirror, DIGEST, TARGET) == DATA
    assert stored(mirror) == {DIGEST}


async def test_mount__outlives_its_source(mirror: RunningMirror) -> None:
    await push_blob(mirror, DATA)
    await mount(mirror, f"?mount={DIGEST}&from=team/app")
    assert (await mirror.delete(blob(DIGEST, "team/app"))).status == 202
    assert await pull_blob(mirror, DIGEST, TARGET) == DATA


@pytest.mark.parametrize(
    "query",
    [
        f"?mount={DIGEST}&from=team/none",
        f"?mount={DIGEST}&from=",
        f"?mount={DIGEST}&from=NOT/VALID",
        f"?mount={DIGEST}&from=../../etc",
        f"?mount={digest_of(b'not here')}",
        f"?mount={digest_of(b'not here')}&from=team/app",
    ],
)
async def test_mount__that_cannot_be__becomes_an_upload(hub: FakeHub, mirror: RunningMirror, query: str) -> None:
    await push_blob(mirror, DATA)
    await push_blob(mirror, b"something", TARGET)
    answer = await mount(mirror, query)
    assert (answer.status, answer.headers["Range"]) == (202, "0-0")
    assert await pull_blob(mirror, DIGEST, TARGET) is None
    check_created(await finish(mirror, answer.headers["Location"], DIGEST, DATA), DIGEST, TARGET)
    assert hub.log() == []


@pytest.mark.parametrize("digest", ["", "x", "sha256:abc", "sha256:" + "A" * 64, "md5:" + "0" * 32])
async def test_mount__of_what_is_no_digest(mirror: RunningMirror, digest: str) -> None:
    assert code(await mount(mirror, f"?mount={digest}&from=team/app")) == (400, "DIGEST_INVALID")


async def test_mount__from_what_is_cached(hub: FakeHub, mirror: RunningMirror) -> None:
    """An image that is built on one of Docker Hub's: its layers are here."""
    image = make_image("base", [5000])
    hub.add_image(NAME, "latest", image)
    (layer,) = image.layers
    await fetch(mirror, manifest("latest"))
    await fetch(mirror, blob(layer))
    await here(mirror, layer)
    hub.clear()
    for source in (NAME, "nginx", "docker.io/library/nginx"):
        check_created(await mount(mirror, f"?mount={layer}&from={source}"), layer, TARGET)
    assert await pull_blob(mirror, layer, TARGET) == image.blobs[layer]
    assert (await mount(mirror, f"?mount={image.config}&from={NAME}")).status == 202  # known, but not here
    assert hub.log() == []


async def test_mount__whose_file_is_damaged(mirror: RunningMirror) -> None:
    await push_blob(mirror, DATA)
    (file,) = (mirror.config.storage.root / "blobs").rglob(DIGEST.removeprefix("sha256:"))
    file.unlink()
    for query in (f"?mount={DIGEST}&from=team/app", f"?mount={DIGEST}"):
        assert (await mount(mirror, query)).status == 202
