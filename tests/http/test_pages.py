"""Lists, page by page: whatever the size of the pages, together they are the list, in order, each entry once."""

import asyncio
import json
import random
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from ocispec.pagination import Page
from storage.manifests import Manifests
from storage.repository import Repository
from tests.conftest import Answer, Clock, RunningMirror, Server
from tests.fakes.faults import Asked, Fault, Reply, Status, json_reply
from tests.fakes.images import Image, digest_of, make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.push.pushing import push_blob, push_image, put_manifest
from tests.mirror.wire import NAME, fetch, manifest

IMAGE = make_image("pages", [10])
# Names that are beginnings of each other, and that other orders than by bytes would put elsewhere.
TAGS = ["a", "a.b", "a-b", "a_b", "aa", "ab", "A", "B", "Z", "_", "0", "00", "1", "10", "1.0", "2", "latest", "z" * 128]
NAMES = ["a", "a/b", "a/b/c", "a-b", "a.b", "a0", "aa", "aa/b", "ab", "b", "b__c", "z/z/z"]


async def walk(mirror: RunningMirror, path: str, key: str, n: int | None) -> list[list[Any]]:
    """Follow the Link headers to the end; the pages."""
    pages: list[list[Any]] = []
    following: str | None = path if n is None else f"{path}?n={n}"
    while following is not None:
        answer: Answer = await mirror.get(following)
        assert answer.status == 200
        pages.append(answer.json()[key])
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        assert (link is not None) == ("Link" in answer.headers)
        following = link[1] if link else None
        assert following is None or urlsplit(following).path == path
        assert len(pages) <= 100
    return pages


def check_pages(pages: list[list[str]], entries: list[str], n: int | None) -> None:
    assert [entry for page in pages for entry in page] == sorted(entries)
    if n:
        assert all(len(page) == n for page in pages[:-1])
        assert 0 < len(pages[-1]) <= n


async def test_tags_of_a_hosted_repository(mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, TAGS[0])
    for tag in random.Random(1).sample(TAGS, len(TAGS)):
        assert (await put_manifest(mirror, tag, IMAGE.manifest)).status == 201
    for n in (None, 1, 2, 3, 5, len(TAGS) - 1, len(TAGS), len(TAGS) + 1, 1000, 10_000, 999_999_999):
        check_pages(await walk(mirror, "/v2/team/app/tags/list", "tags", n), TAGS, n)


async def test_tags_of_a_cached_repository(hub: FakeHub, mirror: RunningMirror) -> None:
    for tag in TAGS:
        hub.add_image(NAME, tag, IMAGE)
    for n in (None, 1, 4, len(TAGS), 1000):
        check_pages(await walk(mirror, f"/v2/{NAME}/tags/list", "tags", n), TAGS, n)


async def test_catalog(hub: FakeHub, mirror: RunningMirror) -> None:
    for name in random.Random(2).sample(NAMES, len(NAMES)):
        await push_blob(mirror, b"x", name)
    hub.add_image(NAME, "v1", IMAGE)
    await fetch(mirror, manifest("v1"))
    entries = [*NAMES, f"docker.io/{NAME}"]
    for n in (None, 1, 2, 3, len(entries), 1000):
        check_pages(await walk(mirror, "/v2/_catalog", "repositories", n), entries, n)
    # What the catalog shows can be pulled by that name.
    assert (await fetch(mirror, manifest("v1", f"docker.io/{NAME}"))).full_body == IMAGE.manifest


async def test_catalog__of_nothing(mirror: RunningMirror) -> None:
    assert (await mirror.get("/v2/_catalog")).json() == {"repositories": []}


@pytest.mark.parametrize(
    ("last", "rest"), [("", TAGS), ("zz", ["z" * 128]), ("~", []), ("a", None), ("nothing such", None), ("a.", None)]
)
async def test_last_need_not_exist(mirror: RunningMirror, last: str, rest: list[str] | None) -> None:
    await push_image(mirror, IMAGE, TAGS[0])
    for tag in TAGS:
        await put_manifest(mirror, tag, IMAGE.manifest)
    expected = sorted(tag for tag in TAGS if tag > last) if rest is None else sorted(rest)
    answer = await mirror.get("/v2/team/app/tags/list", params={"last": last})
    assert answer.json() == {"name": "team/app", "tags": expected}
    assert "Link" not in answer.headers


@pytest.mark.parametrize("path", ["/v2/_catalog", "/v2/team/app/tags/list", f"/v2/{NAME}/tags/list"])
async def test_page_of_nothing(hub: FakeHub, mirror: RunningMirror, path: str) -> None:
    """n=0: an empty list, and no link that would lead there again."""
    await push_image(mirror, IMAGE, "v1")
    hub.add_image(NAME, "v1", IMAGE)
    answer = await mirror.get(f"{path}?n=0")
    assert (answer.status, answer.json().get("tags") or answer.json().get("repositories") or []) == (200, [])
    assert "Link" not in answer.headers


async def test_page_is_no_longer_than_a_thousand(hub: FakeHub, mirror: RunningMirror) -> None:
    tags = [f"v{number:05}" for number in range(2500)]
    digest = hub.add_image(NAME, None, IMAGE)
    hub.repository(NAME).tags.update(dict.fromkeys(tags, digest))
    for n in (None, 5000):
        pages = await walk(mirror, f"/v2/{NAME}/tags/list", "tags", n)
        assert [len(page) for page in pages] == [1000, 1000, 500]
        assert [tag for page in pages for tag in page] == tags


@pytest.mark.parametrize("ns", ["ghcr.io", "docker.io"])
async def test_link_stays_with_the_registry_that_was_named(hub: FakeHub, server: Server, ns: str) -> None:
    """A client follows it as it stands: without `ns` it would go on with another repository."""
    async with FakeHub() as other:
        mirror = await server(upstreams={"x": {"host": "ghcr.io", "url": other.url, "token_hosts": [other.token_host]}})
        for tag in ("a", "b", "c"):
            hub.add_image("org/app", tag, IMAGE)
            other.add_image("org/app", f"other-{tag}", IMAGE)
        seen: list[str] = []
        following: str | None = f"/v2/org/app/tags/list?n=2&ns={ns}"
        while following is not None:
            answer = await mirror.get(following)
            seen += answer.json()["tags"]
            assert answer.headers["OCI-Namespace"] == ns
            following = answer.headers["Link"].partition(">")[0][1:] if "Link" in answer.headers else None
        assert seen == (["a", "b", "c"] if ns == "docker.io" else ["other-a", "other-b", "other-c"])


@dataclass(frozen=True)
class Long(Fault):
    """`count` tags, a thousand to a page."""

    count: int

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        page = int(asked.url.partition("page=")[2] or 0)
        tags = [f"v{number:06}" for number in range(page * 1000, min(self.count, (page + 1) * 1000))]
        link = {"Link": f'</v2/{NAME}/tags/list?page={page + 1}>; rel="next"'} if len(tags) == 1000 else {}
        return json_reply(200, {"name": NAME, "tags": tags}, link)


async def test_a_hundred_thousand_tags(hub: FakeHub, mirror: RunningMirror) -> None:
    """All pages are of one answer of the upstream, which is not asked for the whole list with each of them."""
    hub.add_image(NAME, "latest", IMAGE)
    await fetch(mirror, manifest("latest"))
    hub.fault("tags", Long(99_999))
    hub.clear()
    pages = await walk(mirror, f"/v2/{NAME}/tags/list", "tags", 1000)
    assert [tag for page in pages for tag in page] == ["latest", *(f"v{number:06}" for number in range(99_999))]
    assert hub.count("registry", path_contains="/tags/list") == 100


async def test_pages_go_together__but_the_first_is_always_new(
    hub: FakeHub, mirror: RunningMirror, clock: Clock
) -> None:
    for tag in "abc":
        hub.add_image(NAME, tag, IMAGE)
    path = f"/v2/{NAME}/tags/list?n=2"
    assert (await mirror.get(path)).json()["tags"] == ["a", "b"]
    hub.add_image(NAME, "d", IMAGE)
    assert (await mirror.get(f"{path}&last=b")).json()["tags"] == ["c"]  # of the list that was begun
    assert (await mirror.get(f"{path}&last=0")).json()["tags"] == ["a", "b"]
    assert hub.count("registry", path_contains="/tags/list") == 2  # one of them the challenge
    assert (await mirror.get(path)).json()["tags"] == ["a", "b"]
    assert (await mirror.get(f"{path}&last=b")).json()["tags"] == ["c", "d"]
    assert hub.count("registry", path_contains="/tags/list") == 3
    hub.add_image(NAME, "e", IMAGE)
    clock.advance(60)
    assert (await mirror.get(f"{path}&last=c")).json()["tags"] == ["d", "e"]
    assert hub.count("registry", path_contains="/tags/list") == 4


async def test_pages_go_together__also_where_the_upstream_fails_in_between(hub: FakeHub, mirror: RunningMirror) -> None:
    for tag in "abcd":
        hub.add_image(NAME, tag, IMAGE)
    path = f"/v2/{NAME}/tags/list?n=2"
    assert (await mirror.get(path)).json()["tags"] == ["a", "b"]
    await hub.stop()
    answer = await mirror.get(f"{path}&last=b")
    assert (answer.status, answer.json()["tags"]) == (200, ["c", "d"])


async def test_a_long_list_is_its_first_page_too_for_a_moment(
    hub: FakeHub, mirror: RunningMirror, clock: Clock
) -> None:
    """A hundred requests to the upstream are too many for everybody who asks for the beginning of it."""
    hub.add_image(NAME, "latest", IMAGE)
    hub.fault("tags", Long(2500))
    path = f"/v2/{NAME}/tags/list?n=2"
    for _ in range(3):
        assert (await mirror.get(path)).json()["tags"] == ["v000000", "v000001"]
        clock.advance(1)
    assert hub.count("registry", path_contains="/tags/list") == 1 + 3  # one of them the challenge
    clock.advance(2)
    await mirror.get(path)
    assert hub.count("registry", path_contains="/tags/list") == 1 + 6
    clock.advance(-86_400)
    await mirror.get(path)
    assert hub.count("registry", path_contains="/tags/list") == 1 + 9


async def test_fifty_at_once_read_and_sort_once(
    hub: FakeHub, mirror: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Repository] = []
    tag_page = Manifests.tag_page

    async def counted(self: Manifests, repository: Repository, page: Page) -> tuple[list[str], bool]:
        reads.append(repository)
        return await tag_page(self, repository, page)

    monkeypatch.setattr(Manifests, "tag_page", counted)
    hub.add_image(NAME, "a", IMAGE)
    hub.latency = 0.3
    answers = await asyncio.gather(*(mirror.get(f"/v2/{NAME}/tags/list") for _ in range(50)))
    assert [answer.json()["tags"] for answer in answers] == [["a"]] * 50
    assert len(reads) == 1


async def test_pages_of_a_stale_list_ask_nobody_again(
    hub: FakeHub, mirror: RunningMirror, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for tag in "abcd":
        hub.add_image(NAME, tag, IMAGE)
        await fetch(mirror, manifest(tag))
    hub.fault("tags", Status(403))
    hub.clear()
    path = f"/v2/{NAME}/tags/list"
    assert await walk(mirror, path, "tags", 1) == [["a"], ["b"], ["c"], ["d"]]
    assert hub.count("registry", path_contains="/tags/list") == 1
    answer = await mirror.get(f"{path}?last=b")
    assert (answer.json()["tags"], answer.headers["X-Cache"]) == (["c", "d"], "stale")
    assert hub.count("registry", path_contains="/tags/list") == 1
    await mirror.get(path)  # a first page is asked for each time
    assert hub.count("registry", path_contains="/tags/list") == 2
    assert [record.message for record in caplog.records].count("listing cached tags only") == 1
    clock.advance(60)
    await mirror.get(f"{path}?last=b")
    assert hub.count("registry", path_contains="/tags/list") == 3
    hub.clear_faults()
    assert "X-Cache" not in (await mirror.get(path)).headers
    assert "X-Cache" not in (await mirror.get(f"{path}?last=b")).headers


async def test_referrers_with_long_annotations(mirror: RunningMirror) -> None:
    """A list is no longer than a manifest may be; what has no room in it is on the next page."""
    await push_image(mirror, IMAGE, "v1")
    pushed = []
    for number in range(40):
        body = referring(IMAGE, {"number": str(number), "long": "x" * 60_000})
        assert (await put_manifest(mirror, digest_of(body), body)).status == 201
        pushed.append(digest_of(body))
    path = f"/v2/team/app/referrers/{IMAGE.digest}"
    pages = await walk(mirror, path, "manifests", None)
    assert len(pages) == 2
    found = [entry["digest"] for page in pages for entry in page]
    assert sorted(found) == sorted(pushed)
    too_long = referring(IMAGE, {"long": "x" * 70_000})
    assert (await put_manifest(mirror, digest_of(too_long), too_long)).status == 400


def referring(to: Image, annotations: dict[str, str]) -> bytes:
    document = json.loads(to.manifest)
    subject = {"mediaType": document["mediaType"], "digest": to.digest, "size": len(to.manifest)}
    return json.dumps({**document, "subject": subject, "annotations": annotations}).encode()


async def test_more_tags_than_can_be_pushed_at_once(mirror: RunningMirror) -> None:
    await push_image(mirror, IMAGE, "v1")
    for number, status in ((32, 201), (33, 400)):
        tags = "&".join(f"tag=t{n}" for n in range(number))
        answer = await put_manifest(mirror, f"{IMAGE.digest}?{tags}", IMAGE.manifest)
        assert answer.status == status
