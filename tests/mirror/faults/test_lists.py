"""The upstream's list of tags: all of it or an error, never a part that looks like the whole."""

import json
from dataclasses import dataclass, replace

import pytest
from multidict import CIMultiDict

from tests.conftest import RunningMirror
from tests.fakes.faults import Asked, Fault, LinkLoop, Reply, json_reply
from tests.fakes.images import make_image
from tests.fakes.upstream import Decoy, FakeHub
from tests.mirror.wire import NAME, fetch

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
    """The list cut into pages of one tag, whether or not that was asked for; `broken` makes the last one a failure."""

    count: int
    broken: bool = False

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        number = int(asked.url.partition("page=")[2] or 0)
        if self.broken and number == self.count - 1:
            return Reply(500)
        page = json_reply(200, {"name": NAME, "tags": [f"v{number}"]})
        link = {"Link": f'<{TAGS}?page={number + 1}>; rel="next"'} if number + 1 < self.count else {}
        return replace(page, headers=CIMultiDict({**page.headers, **link}))


@pytest.fixture
async def tagged(hub: FakeHub, mirror: RunningMirror) -> RunningMirror:
    hub.add_image(NAME, "v0", make_image("lists", [10]))
    return mirror


async def test_pages__are_followed_to_the_end(hub: FakeHub, tagged: RunningMirror) -> None:
    hub.fault("tags", Paged(5))
    assert (await tagged.get(TAGS)).json()["tags"] == ["v0", "v1", "v2", "v3", "v4"]
    assert [seen.query.get("page") for seen in hub.requests if seen.server == "registry"][1:] == [None, *"1234"]


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


@pytest.mark.parametrize("tags", [None, []])
async def test_list_without_tags(hub: FakeHub, tagged: RunningMirror, tags: object) -> None:
    hub.fault("tags", Says({"name": NAME, "tags": tags}))
    assert (await tagged.get(TAGS)).json() == {"name": NAME, "tags": []}
