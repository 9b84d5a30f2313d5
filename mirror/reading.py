"""Read manifests without holding up the loop."""

import asyncio

from ocispec.manifest import Manifest, parse_manifest

_LONG = 64 * 2**10


async def read_manifest(body: bytes, content_type: str) -> Manifest:
    """`parse_manifest`; a long one is read beside the loop, since it may take a tenth of a second."""
    if len(body) <= _LONG:
        return parse_manifest(body, content_type)
    return await asyncio.to_thread(parse_manifest, body, content_type)
