"""A server that has just started again, held to everything that the one before it had promised."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from tests.crash.client import Client
from tests.crash.content import REPOSITORIES, children
from tests.crash.history import Key, Session

T = TypeVar("T")
_AT_ONCE = 12


async def check(client: Client, *, everything: bool) -> int:
    """Look at every key; how many objects. What was touched since the last time is read whole; or `everything` is."""
    history = client.history
    await _each(history.sessions.copy(), lambda session: _check_session(client, session))
    found: dict[Key, str | None] = {}

    async def look(key: Key) -> None:
        found[key] = await client.look(key, whole=everything or history.registers[key].touched)

    await _each(history.registers, look)
    for key, digest in found.items():
        possible = history.registers[key].possible()
        if digest not in possible:
            client.report.violate(f"{key} is {digest}, but may only be {sorted(map(str, possible))}")
        history.settle(key, digest)
    for key, digest in found.items():
        if key.kind == "tag" and digest is not None:
            _check_complete(client, key, digest, found)
    await _each(REPOSITORIES, lambda repository: _check_list(client, repository, found))
    checked = len(found)
    if everything:
        checked += await _check_gone(client)
    history.prune()
    return checked


async def _check_session(client: Client, session: Session) -> None:
    """What was sent and acknowledged is there; a session whose end was not answered may have ended, or not."""
    reported = await client.reported(session)
    ending, session.ending = session.ending, None
    if reported is None:
        client.history.sessions.remove(session)
        if session.may_be_forgotten:
            pass  # and what would have ended it may have happened, or not
        elif ending is None:
            client.report.violate(f"{session.path} was begun, and is gone")
        else:
            client.history.happened(ending)  # an upload ends in the same transaction that makes it a blob
        return
    # An upload that was being published may have lost its file to the name of the blob.
    published = ending is not None and not session.cancelled and reported == 0
    if not published and not session.acknowledged <= max(reported, 1) <= max(session.sent, 1):
        client.report.violate(
            f"{session.path}: {reported} bytes, but {session.acknowledged} were acknowledged, {session.sent} sent"
        )
    if ending is not None:
        client.history.refuse(ending)
    session.cancelled = False


def _check_complete(client: Client, tag: Key, digest: str, found: dict[Key, str | None]) -> None:
    """No tag points to an image of which something is missing."""
    if found.get(Key("manifest", tag.repository, digest)) != digest:
        client.report.violate(f"{tag} points to {digest}, which cannot be had by its digest")
    for child in children(client.history.contents[digest]):
        if found.get(Key("blob", tag.repository, child)) != child:
            client.report.violate(f"{tag} points to {digest}, which lacks {child}")


async def _check_list(client: Client, repository: str, found: dict[Key, str | None]) -> None:
    """The list of tags names those that are there, and no other."""
    expected = {key.reference for key, digest in found.items() if key[:2] == ("tag", repository) and digest}
    answer = await client.request("GET", f"/v2/{repository}/tags/list")
    listed = set(json.loads(answer.body)["tags"]) if answer.status == 200 else set()
    if listed != expected:
        client.report.violate(f"{repository} lists the tags {sorted(listed)}, but has {sorted(expected)}")


async def _check_gone(client: Client) -> int:
    """What was deleted, or never came to be, has not come back."""
    gone = client.history.gone.copy()

    async def look(key: Key) -> None:
        answer = await client.request("HEAD", key.path)
        if answer.status != 404:
            client.report.violate(f"{key} was gone, and is back ({answer.status})")

    await _each(gone, look)
    return len(gone)


async def _each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Some at a time."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(item: T) -> None:
        async with limit:
            await work(item)

    await asyncio.gather(*map(one, list(items)))
