"""Which repository a client's name means: hosted here, an upstream's, or either.

- With `ns=HOST` (containerd, BuildKit, Docker with its containerd store) only that upstream's content is meant.
- A first component that is an upstream's host (`ghcr.io/org/app`) means that upstream.
- Any other name means the hosted repository if there is one, and else the default upstream's; one that begins with
  some other host (`quay.example/app`) is never asked of the default upstream, nor is one that matches `hosted.allow`:
  what is missing there is missing, and not to be had from strangers (dependency confusion).
"""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from ocispec.errors import NameUnknown
from ocispec.image import ImageName
from ocispec.names import RepositoryName
from storage.repository import Repository

_DOCKER_HUB = "docker.io"
_REMEMBERED = 4096
# Docker Hub answers to all of these; clients send whichever they were configured with.
_ALIASES = {"index.docker.io": _DOCKER_HUB, "registry-1.docker.io": _DOCKER_HUB}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name may be found. `hosted` is None where nothing can be pushed, `cached` where no upstream has it.

    `hint` is for whoever finds nothing there: what the name looks like, or which rule keeps it away. `is_closed`: what
    was pushed is served, and no more can be pushed.
    """

    name: RepositoryName
    hosted: Repository | None
    cached: Repository | None
    hint: str | None = None
    is_closed: bool = False


def owner(place: Place, known: Container[Repository]) -> Repository:
    """Whose content a pull of this name gets: hosted wins, and a hosted name never falls through to an upstream.

    Raises NameUnknown for a name that the rules keep away from everything.
    """
    if place.hosted is not None and (place.cached is None or place.hosted in known):
        return place.hosted
    if place.cached is None:
        raise NameUnknown(place.hint, detail={"name": place.name})
    return place.cached


@dataclass(frozen=True, slots=True)
class Rules:
    """Which repositories of an upstream may be pulled: those that match `allow` (or all), and not `deny`."""

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()

    def admit(self, *names: str) -> bool:
        """Whether a repository may be pulled that goes by these names."""
        allowed = not self.allow or any(matches(name, self.allow) for name in names)
        return allowed and not any(matches(name, self.deny) for name in names)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns fits the whole name; `*` stands for anything, slashes included."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class Names:
    """Resolves names. Built from the configured upstreams' hosts and rules, the one that is the default, and the
    patterns of names that may be pushed (any, where there are none)."""

    def __init__(self, upstreams: Mapping[str, Rules], default: str | None, hosted: Sequence[str] = ()) -> None:
        self._rules, self._hosts, self._default = upstreams, frozenset(upstreams), default
        self._pushable = hosted
        # Clients send the same few names over and over; bounded, since they can send any.
        self.read = lru_cache(_REMEMBERED)(self._read)

    def _read(self, text: str, ns: str | None = None) -> Place:
        """`resolve` of a name that is still text; raises NameInvalid, too."""
        return self.resolve(RepositoryName.parse(text), ns)

    def find(self, image: ImageName) -> Place:
        """Raises NameUnknown."""
        return self.resolve(image.repository, image.registry)

    def resolve(self, name: RepositoryName, ns: str | None = None) -> Place:
        """Raises NameUnknown for an `ns` that no upstream has: the name is untrusted, only known hosts are asked."""
        if ns is not None:
            return self._within(ns, name)
        host, _, rest = name.partition("/")
        if rest and _known(host) in self._hosts:
            return self._upstream(_known(host), name, rest)
        return self._plain(name, host, rest)

    def _plain(self, name: RepositoryName, host: str, rest: str) -> Place:
        closed = bool(self._pushable) and not matches(name, self._pushable)
        if rest and "." in host:
            # Another registry's name is not for the default upstream to know.
            return Place(name, Repository(name), None, self._no_such(host), is_closed=closed)
        if self._default is None:
            return Place(name, Repository(name), None, is_closed=closed)
        if self._default == _DOCKER_HUB and host == "library":
            return self._upstream(self._default, name, name)
        if self._pushable and not closed:
            return Place(name, Repository(name), None)
        found = self._upstream(self._default, name, name)
        return Place(name, Repository(name), found.cached, found.hint, is_closed=closed)

    def _within(self, ns: str, name: RepositoryName) -> Place:
        host = _known(ns)
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

    def _upstream(self, host: str, name: RepositoryName, rest: str) -> Place:
        if host == _DOCKER_HUB and "/" not in rest:
            rest = f"library/{rest}"
        short = rest.removeprefix("library/") if host == _DOCKER_HUB else rest
        if not self._rules[host].admit(rest, short):
            return Place(name, None, None, f"the rules of this mirror keep {rest[:100]} of {host} away")
        return Place(name, None, Repository(RepositoryName(rest), host))


def _known(host: str) -> str:
    """The one name that an upstream has here, for whatever clients call it."""
    return _ALIASES.get(host.lower(), host.lower())
