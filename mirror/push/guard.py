"""Where a push may go: into names that are nobody else's."""

from mirror.routing import Place
from ocispec.errors import Unsupported
from storage.repository import Repository
from storage.store import Store


def writable(store: Store, place: Place) -> Repository:
    """The hosted repository that a push to this name goes to.

    Raises Unsupported (405) for a name that an upstream has: what is pushed there would hide, or be hidden by, what
    everybody else means by the name.
    """
    if place.hosted is None:
        raise Unsupported(f"{place.name} is pulled from {_host(place)} and cannot be pushed to; push to another name")
    if place.is_closed:
        raise Unsupported(f"{place.name} cannot be pushed to: hosted.allow has no pattern for it")
    if place.cached is not None and place.cached in store.repositories and place.hosted not in store.repositories:
        raise Unsupported(f"{place.name} is cached from {_host(place)} and cannot be pushed to; push to another name")
    return place.hosted


def _host(place: Place) -> str:
    return place.cached.upstream if place.cached else "an upstream"
