"""Tags with what refers to a manifest (`sha256-…`): they change with each signature, so they are not kept for long."""

from typing import Any

import pytest

from tests.conftest import Clock, RunningMirror, Server
from tests.fakes.images import make_image
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, cold_manifest, manifest

IMAGE = make_image("signed", [100])
ONE, TWO = make_image("one signature", [10]), make_image("two signatures", [10])
FOREVER: dict[str, Any] = {"tag_ttl": "365d", "tag_ttls": {"*": "forever"}, "negative_ttl": "1h"}
TAGS = [IMAGE.digest.replace(":", "-") + suffix for suffix in ("", ".sig", ".att", ".sbom")]


async def got(mirror: RunningMirror, tag: str) -> tuple[str, bytes]:
    answer = await mirror.get(manifest(tag))
    return answer.headers.get("X-Cache", ""), answer.body


@pytest.mark.parametrize("tag", TAGS)
async def test_pulled_through_and_soon_asked_about_again(hub: FakeHub, server: Server, clock: Clock, tag: str) -> None:
    mirror = await server(upstream=FOREVER)
    hub.add_image(NAME, tag, ONE)
    assert await got(mirror, tag) == ("miss", ONE.manifest)
    assert hub.log() == cold_manifest(tag)
    hub.clear()
    hub.move_tag(NAME, tag, TWO)
    clock.advance(29)
    assert await got(mirror, tag) == ("hit", ONE.manifest)
    assert hub.log() == []
    clock.advance(1)
    assert await got(mirror, tag) == ("miss", TWO.manifest)
    assert hub.log() == [f"registry HEAD {manifest(tag)} 200", f"registry GET {manifest(TWO.digest)} 200"]


async def test_never_served_before_it_is_asked_about(hub: FakeHub, server: Server, clock: Clock) -> None:
    """With stale_while_revalidate the signature that was just made would be missing once more."""
    mirror = await server(upstream={**FOREVER, "stale_while_revalidate": "1h"})
    hub.add_image(NAME, TAGS[0], ONE)
    await got(mirror, TAGS[0])
    hub.move_tag(NAME, TAGS[0], TWO)
    clock.advance(30)
    assert await got(mirror, TAGS[0]) == ("miss", TWO.manifest)


@pytest.mark.parametrize("tag", TAGS)
async def test_missing_is_not_remembered_for_long(hub: FakeHub, server: Server, clock: Clock, tag: str) -> None:
    """Whoever signs looks first, then pushes, then looks again."""
    mirror = await server(upstream=FOREVER)
    hub.add_image(NAME, "latest", IMAGE)
    await got(mirror, "latest")
    hub.clear()
    for method in ("HEAD", "GET"):
        assert (await mirror.request(method, manifest(tag))).status == 404
    assert hub.log() == [f"registry GET {manifest(tag)} 404"]
    hub.add_image(NAME, tag, ONE)
    clock.advance(1)
    assert await got(mirror, tag) == ("miss", ONE.manifest)


async def test_stale_while_the_upstream_is_down(hub: FakeHub, server: Server, clock: Clock) -> None:
    mirror = await server(upstream=FOREVER)
    hub.add_image(NAME, TAGS[0], ONE)
    await got(mirror, TAGS[0])
    await hub.stop()
    clock.advance(30)
    assert await got(mirror, TAGS[0]) == ("stale", ONE.manifest)
