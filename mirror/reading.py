"""Read what may be long without holding up the loop."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ocispec.manifest import Manifest, parse_manifest

_LONG = 64 * 2**10

T = TypeVar("T")


async def read(parse: Callable[[bytes], T], body: bytes) -> T:
    """What `parse` makes of a body; a long one is read beside the loop, since it may take a tenth of a second."""
    if len(body) <= _LONG:
        return parse(body)
    return await asyncio.to_thread(parse, body)


async def read_manifest(body: bytes, content_type: str) -> Manifest:
    """Raises ManifestInvalid."""
    return await read(partial(parse_manifest, content_type=content_type), body)
