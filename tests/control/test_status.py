"""Status says what is here, piece by piece, and asks nobody."""

import asyncio
import json
from typing import Any, TypeVar

import pytest
from aiohttp.web import Request

from mirror.control import parse
from mirror.pull.attached import tags_about
from mirror.pull.status import Status, Statuses
from ocispec.digest import Digest
from ocispec.image import ImageName
from ocispec.names import Tag
from storage.index.unit import StoreIndex, Unit
from tests.conftest import Answer, Clock, RunningMirror, Server
from tests.control.commanding import refresh, status_of, warm
from tests.fakes.images import Image, digest_of, make_artifact, make_image, make_index
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_blob, push_image, put_manifest
from tests.mirror.wire import NAME, blob, here, layout, manifest, until

T = TypeVar("T")

AMD64, ARM64 = make_image("s", [2000, 3000]), make_image("other", [1000], architecture="arm64")
INDEX = make_index([AMD64, ARM64])


async def pull(mirror: RunningMirror, image: Image) -> None:
    assert (await mirror.get(manifest(image.digest))).status == 200
    for digest in image.blobs:
        answer: Answer = await mirror.get(blob(digest))
        assert answer.status == 200
    await here(mirror, *image.blobs)


@pytest.fixture
async def mirror(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    """The index and all of one platform have been pulled."""
    hub.add_index(NAME, "1", INDEX)
    assert (await mirror.get(manifest("1"))).status == 200
    await pull(mirror, AMD64)
    hub.clear()
    return mirror


async def test_of_one_platform_all_is_here(hub: FakeHub, mirror: RunningMirror) -> None:
    found = await status_of(mirror, "nginx:1", "linux/amd64")
    assert (found["complete"], found["digest"], found["problems"]) == (True, INDEX.digest, [])
    assert (found["present"], found["missing"], found["missing_bytes"]) == (5, 0, 0)
    assert found["present_bytes"] == len(INDEX.manifest) + len(AMD64.manifest) + AMD64.size
    assert [part["role"] for part in found["parts"]] == ["index", "manifest", "config", "layer", "layer"]
    assert [part["platform"] for part in found["parts"]] == [None, *["linux/amd64"] * 4]
    assert hub.log() == []


async def test_of_the_other_one_the_manifest_is_missing(hub: FakeHub, mirror: RunningMirror) -> None:
    for platforms in ((), ("linux/arm64",), ("linux/amd64", "linux/arm64")):
        found = await status_of(mirror, "nginx:1", *platforms)
        assert not found["complete"]
        missing = [part for part in found["parts"] if not part["present"]]
        assert [(part["role"], part["digest"], part["platform"]) for part in missing] == [
            ("manifest", ARM64.digest, "linux/arm64")
        ]
    await pull(mirror, ARM64)
    assert (await status_of(mirror, "nginx:1"))["complete"]


async def test_a_platform_that_there_is_not(mirror: RunningMirror) -> None:
    found = await status_of(mirror, "nginx:1", "linux/s390x")
    assert (found["complete"], found["problems"]) == (False, ["there is no manifest for linux/s390x"])


@pytest.mark.parametrize("digest", [AMD64.config, AMD64.layers[1]])
async def test_a_blob_that_is_missing(hub: FakeHub, mirror: RunningMirror, digest: str) -> None:
    assert (await mirror.delete(blob(digest))).status == 202
    found = await status_of(mirror, f"nginx@{AMD64.digest}")
    assert not found["complete"]
    assert [part["digest"] for part in found["parts"] if not part["present"]] == [digest]
    assert found["missing_bytes"] == len(AMD64.blobs[digest])
    assert hub.log() == []


async def test_a_blob_whose_file_is_missing(mirror: RunningMirror) -> None:
    digest = AMD64.layers[0]
    (layout(mirror).root / "blobs" / "sha256" / digest[7:9] / digest[7:]).unlink()
    assert not (await status_of(mirror, "nginx:1", "linux/amd64"))["complete"]


async def test_what_another_repository_has_does_not_count(hub: FakeHub, mirror: RunningMirror) -> None:
    hub.add_image("other/app", "1", AMD64)
    assert (await mirror.get(manifest("1", "other/app"))).status == 200
    found = await status_of(mirror, "other/app:1")
    assert (found["present"], found["missing"]) == (1, 3)


@pytest.mark.parametrize("image", ["nginx:nothing", "nobody/nothing", f"nginx@{digest_of(b'')}"])
async def test_nothing_is_here(hub: FakeHub, mirror: RunningMirror, image: str) -> None:
    found = await status_of(mirror, image)
    assert (found["complete"], found["present"], found["missing"]) == (False, 0, 1)
    assert hub.log() == []


async def test_hosted__with_what_refers_to_it(hub: FakeHub, mirror: RunningMirror) -> None:
    await push_image(mirror, AMD64, "v1", "team/app")
    assert (await status_of(mirror, "team/app:v1"))["referrers"] == 0
    for number in range(3):
        await push_image(mirror, make_artifact(number, AMD64), f"sbom-{number}", "team/app")
    found = await status_of(mirror, "team/app:v1")
    assert (found["complete"], found["referrers"], found["repository"]) == (True, 3, "team/app")
    assert hub.log() == []


async def test_layers_that_are_not_distributed_are_not_asked_for(mirror: RunningMirror) -> None:
    config = await push_blob(mirror, b"{}", "team/app")
    body = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                "digest": digest_of(b"elsewhere"),
                "size": 9,
            }
        ],
    }
    assert (await put_manifest(mirror, "windows", json.dumps(body).encode(), name="team/app")).status == 201
    found = await status_of(mirror, "team/app:windows")
    assert (found["complete"], found["present"]) == (True, 2)


async def test_entries_that_are_layers(server: Server) -> None:
    """BuildKit's caches."""
    mirror = await server(registry={"sparse_manifests": "all"})
    layer, missing = await push_blob(mirror, b"layer", "team/cache"), digest_of(b"missing")
    kind = "application/vnd.oci.image.layer.v1.tar+gzip"
    entries = [{"mediaType": kind, "digest": digest, "size": 5} for digest in (layer, missing, layer)]
    media_type = "application/vnd.oci.image.index.v1+json"
    body = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    assert (await put_manifest(mirror, "1", json.dumps(body).encode(), media_type, "team/cache")).status == 201
    found = await status_of(mirror, "team/cache:1")
    assert [(part["role"], part["digest"], part["present"]) for part in found["parts"][1:]] == [
        ("blob", layer, True),
        ("blob", missing, False),
    ]


async def test_a_tag_that_is_too_old_to_be_served_alone(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await server(upstream={"tag_ttl": "5m", "stale_if_error": "1h"})
    hub.add_index(NAME, "1", INDEX)
    assert (await mirror.get(manifest("1"))).status == 200
    await pull(mirror, AMD64)
    clock.advance(3600)
    assert (await status_of(mirror, "nginx:1", "linux/amd64"))["complete"]
    clock.advance(600)
    assert not (await status_of(mirror, "nginx:1", "linux/amd64"))["complete"]
    assert (await status_of(mirror, f"nginx@{INDEX.digest}", "linux/amd64"))["complete"]
    await hub.stop()
    assert (await mirror.get(manifest("1"))).status == 502, "as it said"
    await hub.start()
    await refresh(mirror, "nginx:1")
    assert (await status_of(mirror, "nginx:1", "linux/amd64"))["complete"]


async def test_what_is_missing_costs_no_look_of_its_own(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    read = StoreIndex.read

    async def counted(index: StoreIndex, unit: Unit[T]) -> T:
        nonlocal looks
        looks += 1
        return await read(index, unit)

    hub.add_index(NAME, "many", make_index([make_image(f"missing/{number}", []) for number in range(300)]))
    assert (await mirror.get(manifest("many"))).status == 200
    monkeypatch.setattr(StoreIndex, "read", counted)
    assert (await status_of(mirror, "nginx:many"))["missing"] == 300
    assert looks < 20


async def test_one_look_for_all_who_ask_at_the_same_time(
    mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    looks = 0
    open_, image, status = asyncio.Event(), parse.image, Statuses.status

    async def held(statuses: Statuses, *what: Any) -> Status:
        nonlocal looks
        looks += 1
        await open_.wait()
        return await status(statuses, *what)

    def noted(request: Request) -> ImageName:
        asked.append(request)
        return image(request)

    monkeypatch.setattr(Statuses, "status", held)
    monkeypatch.setattr(parse, "image", noted)
    names = ["nginx:1", "nginx:1", "nginx:1", "nginx:2"]
    answers = asyncio.gather(*(status_of(mirror, name) for name in names))
    await until(lambda: len(asked) == len(names))
    open_.set()
    assert [found["image"] for found in await answers] == names
    assert looks == 2


SBOM, SIGNATURE = make_artifact("sbom", AMD64), make_artifact("signature", AMD64)


def signature_tag(image: Image, suffix: str = "") -> str:
    return image.digest.replace(":", "-") + suffix


async def pull_all(mirror: RunningMirror, found: dict[str, Any], *tags: str) -> None:
    """Everything that `status` has listed, as a client gets it."""
    for tag in tags:
        assert (await mirror.get(manifest(tag))).status == 200
    for part in found["parts"]:
        is_manifest = part["role"] in ("index", "manifest", "referrer")
        answer = await mirror.get((manifest if is_manifest else blob)(part["digest"]))
        assert (answer.status, digest_of(answer.body)) == (200, part["digest"])


async def test_what_is_complete_can_be_pulled_with_the_network_cut(
    hub: FakeHub, mirror: RunningMirror, clock: Clock
) -> None:
    """The image, what says that it is about it, and what is found by the tags that are made of its digest."""
    tags = [signature_tag(AMD64, ".sig"), signature_tag(AMD64)]
    hub.add_image(NAME, tags[0], SIGNATURE)
    hub.add_index(NAME, tags[1], make_index([SBOM]))
    for tag in tags:
        assert (await mirror.get(manifest(tag))).status == 200
    found = await status_of(mirror, "nginx:1", "linux/amd64")
    missing = [(part["role"], part["digest"]) for part in found["parts"] if not part["present"]]
    assert not found["complete"]
    assert sorted(missing) == sorted(
        [("referrer", SBOM.digest), ("config", SIGNATURE.config), *(("layer", layer) for layer in SIGNATURE.layers)]
    )
    assert (await warm(mirror, "nginx:1", platforms=("linux/amd64",)))[-1]["event"] == "finished"
    found = await status_of(mirror, "nginx:1", "linux/amd64")
    assert (found["complete"], found["missing"], found["referrers"]) == (True, 0, 2)
    await hub.stop()
    clock.advance(3600)
    assert (await status_of(mirror, "nginx:1", "linux/amd64"))["complete"]
    await pull_all(mirror, found, "1", *tags)


async def test_what_is_not_complete_cannot_be_pulled_with_the_network_cut(hub: FakeHub, mirror: RunningMirror) -> None:
    found = await status_of(mirror, "nginx:1")
    assert not found["complete"]
    await hub.stop()
    for part in found["parts"]:
        assert part["digest"] is not None
        path = (manifest if part["role"] in ("index", "manifest") else blob)(part["digest"])
        assert (await mirror.get(path)).status == (200 if part["present"] else 502)


async def test_a_blob_of_what_refers_to_it_counts(mirror: RunningMirror) -> None:
    await push_image(mirror, AMD64, "v1", "team/app")
    await push_image(mirror, SBOM, "sbom", "team/app")
    about = make_artifact("of the sbom", SBOM)
    await push_image(mirror, about, "more", "team/app")
    found = await status_of(mirror, "team/app:v1")
    assert (found["complete"], found["referrers"]) == (True, 2)
    assert (await mirror.delete(blob(about.layers[0], "team/app"))).status == 202
    found = await status_of(mirror, "team/app:v1")
    assert [part["digest"] for part in found["parts"] if not part["present"]] == [about.layers[0]]


async def test_a_signature_that_is_too_old_to_be_served_alone(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await server(upstream={"tag_ttls": {"*:1": "forever"}, "stale_if_error": "1m"})
    hub.add_image(NAME, "1", AMD64)
    hub.add_image(NAME, signature_tag(AMD64, ".sig"), SIGNATURE)
    await warm(mirror, "nginx:1")
    await warm(mirror, f"nginx:{signature_tag(AMD64, '.sig')}")
    assert (await status_of(mirror, "nginx:1"))["complete"]
    clock.advance(3600)
    (problem,) = (await status_of(mirror, "nginx:1"))["problems"]
    assert problem.startswith(signature_tag(AMD64, ".sig"))
    await hub.stop()
    assert (await mirror.get(manifest(signature_tag(AMD64, ".sig")))).status == 502, "as it said"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_tags_about__are_tags(algorithm: str) -> None:
    digest = Digest.of(b"", algorithm)
    tags = tags_about(digest)
    assert tags[0] == f"{algorithm}-{digest.hex[:64]}"
    assert all(Tag.parse(tag) == tag for tag in tags)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        ("ghcr.io/org/app", "no upstream is called 'ghcr.io'; known: docker.io"),
        ("nothing", None),
    ],
)
async def test_why_nothing_can_be_here(mirror: RunningMirror, image: str, problem: str | None) -> None:
    found = await status_of(mirror, image)
    assert found["problems"] == ([problem] if problem else [])
    assert not found["complete"]
