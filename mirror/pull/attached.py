"""What belongs to a manifest without being a part of it: signatures, attestations, bills of materials.

It is found in two ways: a manifest names the one that it is about as its `subject` (distribution-spec, "Listing
Referrers"); or it has a tag that is made of the digest it is about, which is how registries without such a list are
used ("Referrers Tag Schema"), and what cosign did before there was one. Only what is here is looked at.
"""

from dataclasses import dataclass

from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from ocispec.names import Tag
from storage.hot import StoredManifest
from storage.repository import Repository
from storage.store import Store

_SUFFIXES = ("", ".sig", ".att", ".sbom")
# The specification cuts both off; a tag has no more than 128 characters.
_MAX_ALGORITHM, _MAX_HEX = 32, 64


def tags_about(subject: Digest) -> list[Tag]:
    """The tags under which something about this manifest may be found."""
    name = f"{subject.algorithm[:_MAX_ALGORITHM]}-{subject.hex[:_MAX_HEX]}"
    return [Tag(name + suffix) for suffix in _SUFFIXES]


@dataclass(frozen=True, slots=True)
class Attached:
    """Something about a manifest; with the tag that it was found by, if it was, and what the store has there."""

    entry: Descriptor
    tag: Tag | None = None
    found: StoredManifest | None = None


async def attached_to(store: Store, repository: Repository, subject: Digest) -> list[Attached]:
    """All that is here about a manifest."""
    attached: list[Attached] = []
    after, more = None, True
    while more:
        page, more = await store.manifests.referrers(repository, subject, None, after)
        attached += map(Attached, page)
        after = page[-1].digest if page else None
    for tag in tags_about(subject):
        if found := await store.manifests.find(repository, tag):
            attached.append(Attached(Descriptor(found.media_type, found.digest, len(found.body)), tag, found))
    return attached
