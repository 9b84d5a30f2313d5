"""The upstream's lists: all of it or an error, never a part that looks like the whole, and never more than can be
kept."""

import json
from dataclasses import dataclass, replace

import pytest
from multidict import CIMultiDict

from mirror.upstream import client, tags
from tests.conftest import RunningMirror
from tests.fakes.faults import Asked, Fault, Hang, LinkLoop, Reply, json_reply
from tests.fakes.images import digest_of, make_image
from tests.fakes.upstream import Decoy, FakeHub
from tests.mirror.wire import NAME, fetch, manifest

TAGS = f"/v2/{NAME}/tags/list"


@dataclass(frozen=True)
class Linked(Fault):
    """The right list with this Link header."""

    link: str

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"Link": self.link})


@dataclass(frozen=True)
class Says(Fault):
    """This document instead."""

    document: object

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return json_reply(200, self.document)


@dataclass(frozen=True)
class Paged(Fault):
    """The list cut into pages of one tag, whether or not that was asked for; `broken` makes the last one a failure,
    and with `padding` each has something so long that is no tag."""

    count: int
    broken: bool = False
    padding: int = 0

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        number = int(asked.url.partition("page=")[2] or 0)
        if self.broken and number == self.count - 1:
            return Reply(500)
        more = ["x" * self.padding] if self.padding else []
        page = json_reply(200, {"name": NAME, "tags": [f"v{number}", *more]})
        link = {"Link": f'<{TAGS}?page={number + 1}>; rel="next"'} if number + 1 < self.count else {}
        return replace(page, headers=CIMultiDict({**page.headers, **link}))


@pytest.fixture
async def tagged(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    hub.add_image(NAME, "v0", make_image("lists", [10]))
    return mirror


async def test_pages__are_followed_to_the_end(hub: FakeHub, tagged: RunningMirror) -> None:
    hub.fault("tags", Paged(5))
    assert (await tagged.get(TAGS)).json()["tags"] == ["v0", "v1", "v2", "v3", "v4"]
    asked = [seen.query for seen in hub.requests if seen.server == "registry"][1:]
    assert asked == [{"n": "1000"}, *({"page": page} for page in "1234")]


async def test_pages__one_that_fails_is_no_end(hub: FakeHub, tagged: RunningMirror) -> None:
    hub.fault("tags", Paged(3, broken=True))
    assert (await fetch(tagged, TAGS)).status == 502


async def test_pages__that_never_end(hub: FakeHub, tagged: RunningMirror) -> None:
    hub.fault("tags", LinkLoop())
    assert (await fetch(tagged, TAGS)).status == 502
    assert hub.count("registry") < 10


@pytest.mark.parametrize("link", ["<{decoy}/v2/x/tags/list>", "<//{host}/v2/x>", "<https://{host}/>", "<http://[>"])
async def test_pages__elsewhere_are_not_asked_for(hub: FakeHub, tagged: RunningMirror, link: str) -> None:
    async with Decoy() as decoy:
        hub.fault("tags", Linked(link.format(decoy=decoy.url, host=decoy.host) + '; rel="next"'))
        assert (await fetch(tagged, TAGS)).status == 502
        assert decoy.connections == 0


@pytest.mark.parametrize("path", ["/v2/library/other/tags/list", "/v2/_catalog", "/v2/library/nginx/tags/list/../x"])
async def test_pages__of_another_list_are_not_asked_for(hub: FakeHub, tagged: RunningMirror, path: str) -> None:
    hub.fault("tags", Linked(f'<{path}?last=v0>; rel="next"'))
    assert (await fetch(tagged, TAGS)).status == 502
    assert [seen.path for seen in hub.requests if seen.server == "registry"] == [TAGS] * 2  # one of them the challenge


async def test_pages__together_are_no_longer_than_can_be_kept(
    hub: FakeHub, tagged: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tags, "_MAX_BYTES", 100_000)
    hub.fault("tags", Paged(1000, padding=20_000))
    assert (await fetch(tagged, TAGS)).status == 502
    assert hub.count("registry", path_contains="/tags/list") == 6


async def test_pages__what_can_be_no_tag_is_left_out(hub: FakeHub, tagged: RunningMirror) -> None:
    hub.fault("tags", Paged(3, padding=200))
    assert (await tagged.get(TAGS)).json()["tags"] == ["v0", "v1", "v2"]


async def test_pages__that_do_not_come_to_an_end_in_time(
    hub: FakeHub, tagged: RunningMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LISTING_SECONDS", 0.3)
    hub.fault("tags", Hang(), match="page=1")
    hub.fault("tags", Paged(2))
    assert (await fetch(tagged, TAGS)).status == 504
    await tagged.get(manifest("v0"))
    answer = await tagged.get(TAGS)
    assert (answer.json()["tags"], answer.headers["X-Cache"]) == (["v0"], "stale")


@pytest.mark.parametrize("members", [{"tags": [], "x": [{}] * 150_000}, {"tags": ["v0"] * 200_001}], ids=["x", "tags"])
async def test_page_with_too_many_parts(hub: FakeHub, tagged: RunningMirror, members: object) -> None:
    hub.fault("tags", Says(members))
    assert (await fetch(tagged, TAGS)).status == 502


async def test_referrers_with_too_many_parts(hub: FakeHub, tagged: RunningMirror) -> None:
    hub.referrers = True
    hub.fault("referrers", Says({"schemaVersion": 2, "manifests": [{}] * 150_000}))
    assert (await fetch(tagged, f"/v2/{NAME}/referrers/{digest_of(b'x')}")).status == 502


async def test_referrers_of_great_length(hub: FakeHub, tagged: RunningMirror) -> None:
    hub.referrers = True
    hub.fault(
        "referrers", Says({"schemaVersion": 2, "manifests": [{"artifactType": "a"}, {"artifactType": "b"}] * 9000})
    )
    answer = await tagged.get(f"/v2/{NAME}/referrers/{digest_of(b'x')}?artifactType=a")
    assert answer.json()["manifests"] == [{"artifactType": "a"}] * 9000


@pytest.mark.parametrize("link", ["", "nonsense", '<x>; rel="prev"', "<x>", '<?n=1>; rel="last"'])
async def test_pages__links_to_something_else_do_not_matter(hub: FakeHub, tagged: RunningMirror, link: str) -> None:
    hub.fault("tags", Linked(link))
    assert (await tagged.get(TAGS)).json()["tags"] == ["v0"]


@pytest.mark.parametrize(
    "document",
    [{}, {"errors": []}, [], "tags", None, 1, {"tags": "v0"}, {"tags": {"v0": 1}}, {"tags": [1]}, {"tags": [None]}],
    ids=json.dumps,
)
async def test_document_that_is_no_list(hub: FakeHub, tagged: RunningMirror, document: object) -> None:
    hub.fault("tags", Says(document))
    assert (await fetch(tagged, TAGS)).status == 502


@pytest.mark.parametrize("none", [None, []])
async def test_list_without_tags(hub: FakeHub, tagged: RunningMirror, none: object) -> None:
    hub.fault("tags", Says({"name": NAME, "tags": none}))
    assert (await tagged.get(TAGS)).json() == {"name": NAME, "tags": []}
