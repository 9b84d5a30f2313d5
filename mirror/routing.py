"""Which repository a client's name means: hosted here, an upstream's, or either.

- With `ns=HOST` (containerd, BuildKit, Docker with its containerd store) only that upstream's content is meant.
- A first component that is an upstream's host (`ghcr.io/org/app`) means that upstream.
- Any other name means the hosted repository if there is one, and else the default upstream's; one that begins with
  some other host (`quay.example/app`) is never asked of the default upstream.
"""

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import lru_cache

from ocispec.errors import NameUnknown
from ocispec.names import RepositoryName
from storage.repository import Repository

_DOCKER_HUB = "docker.io"
_REMEMBERED = 4096
# Docker Hub answers to all of these; clients send whichever they were configured with.
_ALIASES = {"index.docker.io": _DOCKER_HUB, "registry-1.docker.io": _DOCKER_HUB}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name may be found. `hosted` is None where nothing can be pushed, `cached` where no upstream has it.

    `hint` is for whoever finds nothing there: the name looks as if another registry was meant.
    """

    name: RepositoryName
    hosted: Repository | None
    cached: Repository | None
    hint: str | None = None


def owner(place: Place, known: Container[Repository]) -> Repository:
    """Whose content a pull of this name gets: hosted wins, and a hosted name never falls through to an upstream."""
    if place.hosted is not None and (place.cached is None or place.hosted in known):
        return place.hosted
    assert place.cached is not None, "a place is hosted, cached or both"
    return place.cached


class Names:
    """Resolves names. Built from the hosts of the configured upstreams and the one that is the default."""

    def __init__(self, hosts: Iterable[str], default: str | None) -> None:
        self._hosts, self._default = frozenset(hosts), default
        # Clients send the same few names over and over; bounded, since they can send any.
        self.read = lru_cache(_REMEMBERED)(self._read)

    def _read(self, text: str, ns: str | None = None) -> Place:
        """`resolve` of a name that is still text; raises NameInvalid, too."""
        return self.resolve(RepositoryName.parse(text), ns)

    def resolve(self, name: RepositoryName, ns: str | None = None) -> Place:
        """Raises NameUnknown for an `ns` that no upstream has: the name is untrusted, only known hosts are asked."""
        if ns is not None:
            return self._within(ns, name)
        host, _, rest = name.partition("/")
        if rest and _known(host) in self._hosts:
            return self._upstream(_known(host), name, rest)
        if rest and "." in host:
            # Another registry's name is not for the default upstream to know.
            return Place(name, Repository(name), None, self._no_such(host))
        if self._default is None:
            return Place(name, Repository(name), None)
        cached = self._upstream(self._default, name, name).cached
        reserved = self._default == _DOCKER_HUB and host == "library"
        return Place(name, None if reserved else Repository(name), cached)

    def _within(self, ns: str, name: RepositoryName) -> Place:
        host = _known(ns.lower())
        if host not in self._hosts:
            raise NameUnknown(self._no_such(ns))
        # containerd with override_path sends both the prefix and ns.
        prefix, _, rest = name.partition("/")
        return self._upstream(host, name, rest if rest and _known(prefix) == host else name)

    def _no_such(self, host: str) -> str:
        return f"no upstream is called {host[:100]!r}; known: {', '.join(sorted(self._hosts)) or 'none'}"

    def unreachable(self, repositories: Iterable[Repository]) -> tuple[Counter[str], Counter[str]]:
        """What the upstreams of an earlier configuration have left, counted by host: cached repositories of hosts that
        are no upstream any more, and hosted ones whose names belong to an upstream now."""
        stranded, hidden = Counter[str](), Counter[str]()
        for repository in repositories:
            if not repository.is_hosted:
                stranded.update([repository.upstream] if repository.upstream not in self._hosts else [])
            elif (host := repository.name.partition("/")[0]) in self._hosts:
                hidden[host] += 1
        return stranded, hidden

    @staticmethod
    def _upstream(host: str, name: RepositoryName, rest: str) -> Place:
        if host == _DOCKER_HUB and "/" not in rest:
            rest = f"library/{rest}"
        return Place(name, None, Repository(RepositoryName(rest), host))


def _known(host: str) -> str:
    return _ALIASES.get(host, host)
