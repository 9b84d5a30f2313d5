"""cosign against the mirror: images signed here, and signatures of an upstream's images verified through it.

A signature is in a tag beside the image (`sha256-….sig`), or a manifest that refers to it; for the latter cosign asks
for the referrers, and where there are none for a tag again.
"""

from collections.abc import Iterator

import pytest

from tests.clients.artifacts import Cosign
from tests.clients.conftest import NewFolder
from tests.clients.programs import Skopeo, refused
from tests.clients.servers import Mirror, Registry, Upstream

pytestmark = [pytest.mark.clients, pytest.mark.parametrize("as_referrer", [False, True], ids=["tag", "referrer"])]


@pytest.fixture(scope="module")
def cosign(new_folder: NewFolder) -> Cosign:
    client = Cosign(new_folder("cosign"))
    client.make_keys()
    return client


@pytest.fixture
def fresh(new_folder: NewFolder, upstream: Registry) -> Iterator[Mirror]:
    """A mirror that nobody has asked anything."""
    server = Mirror(new_folder("fresh"), Upstream(upstream.url))
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.kill()


def signed(verified: object, digest: str) -> bool:
    return digest in str(verified)


def test_sign_and_verify(cosign: Cosign, skopeo: Skopeo, mirror: Mirror, as_referrer: bool) -> None:
    repository = f"cosign/app-{as_referrer}".lower()
    skopeo.copy(f"docker://{mirror.address}/library/nginx:latest", f"docker://{mirror.address}/{repository}:1", "--all")
    image = f"{mirror.address}/{repository}@{mirror.content(repository, '1').digest}"
    with refused(saying="no signatures found"):
        cosign.verify(image, as_referrer=as_referrer)
    cosign.sign(image, as_referrer=as_referrer)
    assert signed(cosign.verify(image, as_referrer=as_referrer), mirror.content(repository, "1").digest)


def test_verify_through_the_mirror(
    cosign: Cosign, skopeo: Skopeo, upstream: Registry, fresh: Mirror, as_referrer: bool
) -> None:
    """Signed at the upstream, verified here by name; and once more when the upstream is gone."""
    repository = f"team/app-{as_referrer}".lower()
    there = f"docker://{upstream.address}/{repository}:1"
    skopeo.copy(f"docker://{upstream.address}/library/nginx:latest", there, "--all")
    digest = upstream.content(repository, "1").digest
    cosign.sign(f"{upstream.address}/{repository}@{digest}", as_referrer=as_referrer)
    for _ in range(2):
        assert signed(cosign.verify(f"{fresh.address}/{repository}:1", as_referrer=as_referrer), digest)
        upstream.stop()
    upstream.start()


def test_another_key(cosign: Cosign, new_folder: NewFolder, skopeo: Skopeo, mirror: Mirror, as_referrer: bool) -> None:
    """What somebody else signed does not pass."""
    repository = f"cosign/theirs-{as_referrer}".lower()
    skopeo.copy(f"docker://{mirror.address}/library/nginx:latest", f"docker://{mirror.address}/{repository}:1", "--all")
    image = f"{mirror.address}/{repository}@{mirror.content(repository, '1').digest}"
    stranger = Cosign(new_folder("stranger"))
    stranger.make_keys()
    stranger.sign(image, as_referrer=as_referrer)
    with refused(saying="failed to verify signature" if as_referrer else "invalid signature"):
        cosign.verify(image, as_referrer=as_referrer)
