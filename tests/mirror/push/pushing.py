"""What a client that pushes does, in as many ways as clients do it."""

import json
from typing import Any

from ocispec.media_types import OCI_IMAGE
from tests.conftest import Answer, RunningMirror
from tests.fakes.images import Image, digest_of
from tests.mirror.wire import blob, manifest

REPOSITORY = "team/app"


def uploads(name: str = REPOSITORY) -> str:
    return f"/v2/{name}/blobs/uploads/"


async def begin(mirror: RunningMirror, name: str = REPOSITORY) -> str:
    """A new session; gives its path."""
    answer: Answer = await mirror.post(uploads(name))
    assert (answer.status, answer.body) == (202, b"")
    return answer.headers["Location"]


async def patch(mirror: RunningMirror, session: str, data: Any, start: int | None = None) -> Answer:
    headers = {} if start is None else {"Content-Range": f"{start}-{start + len(data) - 1}"}
    answer: Answer = await mirror.patch(session, data=data, headers=headers)
    return answer


async def finish(mirror: RunningMirror, session: str, digest: str, data: bytes = b"") -> Answer:
    answer: Answer = await mirror.put(f"{session}?digest={digest}", data=data)
    return answer


async def push_blob(mirror: RunningMirror, data: bytes, name: str = REPOSITORY) -> str:
    """The whole blob in one request; gives its digest."""
    digest = digest_of(data)
    answer = await mirror.post(f"{uploads(name)}?digest={digest}", data=data)
    assert answer.status == 201
    return digest


async def push_image(mirror: RunningMirror, image: Image, tag: str, name: str = REPOSITORY) -> Answer:
    for data in image.blobs.values():
        await push_blob(mirror, data, name)
    return await put_manifest(mirror, tag, image.manifest, image.media_type, name)


async def put_manifest(
    mirror: RunningMirror, reference: str, body: bytes, media_type: str = OCI_IMAGE, name: str = REPOSITORY
) -> Answer:
    answer: Answer = await mirror.put(manifest(reference, name), data=body, headers={"Content-Type": media_type})
    return answer


async def pull_blob(mirror: RunningMirror, digest: str, name: str = REPOSITORY) -> bytes | None:
    """The blob's bytes, None where there is none; HEAD must agree."""
    got: Answer = await mirror.get(blob(digest, name))
    head: Answer = await mirror.head(blob(digest, name))
    assert got.status == head.status
    if got.status == 404:
        return None
    assert got.headers["Content-Length"] == head.headers["Content-Length"] == str(len(got.body))
    return got.body


def check_created(answer: Answer, digest: str, name: str = REPOSITORY) -> None:
    assert (answer.status, answer.body) == (201, b"")
    assert answer.headers["Location"] == blob(digest, name)
    assert answer.headers["Docker-Content-Digest"] == digest


def code(answer: Answer) -> tuple[int, str]:
    """Status and error code."""
    (error,) = json.loads(answer.body)["errors"]
    return answer.status, error["code"]
