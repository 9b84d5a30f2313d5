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
from functools import lru_cache
from urllib.parse import urlsplit

from mirror.config import Config
from mirror.values import DOCKER_HUB, known_host, names_of_host, spelled
from ocispec.errors import NameUnknown
from ocispec.image import ImageName
from ocispec.names import RepositoryName
from storage.repository import Repository
from storage.scope import Rules, Scope, matches

_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name may be found. `hosted` is None where nothing can be pushed, `cached` where no upstream has it.

    `hint` is for whoever finds nothing there: what the name looks like, or which rule keeps it away. `is_closed`: what
    was pushed is served, and no more can be pushed. `hidden` is what the rules keep away: nobody is served from it, and
    what was cached of it before can still be deleted.
    """

    name: RepositoryName
    hosted: Repository | None
    cached: Repository | None
    hint: str | None = None
    is_closed: bool = False
    hidden: Repository | None = None


def owner(place: Place, known: Container[Repository]) -> Repository:
    """Whose content a pull of this name gets: hosted wins, and a hosted name never falls through to an upstream.

    Raises NameUnknown for a name that the rules keep away from everything.
    """
    if place.hosted is not None and (place.cached is None or place.hosted in known):
        return place.hosted
    if place.cached is None:
        raise NameUnknown(place.hint, detail={"name": place.name})
    return place.cached


def names_of(config: Config) -> "Names":
    """What names mean where this is the configuration."""
    default = next((upstream.host for upstream in config.upstreams.values() if upstream.default), None)
    rules = {upstream.host: Rules(upstream.allow, upstream.deny) for upstream in config.upstreams.values()}
    own = {str(config.server.listen), urlsplit(config.server.external_url).netloc}
    return Names(rules, default, config.hosted.allow, own)


class Names:
    """Resolves names. Built from the configured upstreams' hosts and rules, the one that is the default, and the
    patterns of names that may be pushed (any, where there are none). `own` are addresses of this server, which belong
    into no name. `scope` has every repository that some name means."""

    def __init__(
        self,
        upstreams: Mapping[str, Rules],
        default: str | None,
        hosted: Sequence[str] = (),
        own: Container[str] = (),
    ) -> None:
        self._hosts, self._default = frozenset(upstreams), default
        self._pushable, self._own = hosted, own
        self.scope = Scope({"": self._hosted_rules(), **{host: _spelled(upstreams[host], host) for host in upstreams}})
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
        if rest and known_host(host) in self._hosts:
            return self._upstream(known_host(host), name, rest)
        return self._plain(name, host, rest)

    def _plain(self, name: RepositoryName, host: str, rest: str) -> Place:
        closed = bool(self._pushable) and not matches(name, self._pushable)
        if rest and "." in host:
            # Another registry's name is not for the default upstream to know.
            return Place(name, Repository(name), None, self._no_such(host, rest), is_closed=closed)
        if self._default is None:
            return Place(name, Repository(name), None, self._no_default(name), is_closed=closed)
        if self._default == DOCKER_HUB and host == "library":
            return self._upstream(self._default, name, name)
        if self._pushable and not closed:
            return Place(name, Repository(name), None)
        found = self._upstream(self._default, name, name)
        return Place(name, Repository(name), found.cached, found.hint, closed, found.hidden)

    def _within(self, ns: str, name: RepositoryName) -> Place:
        host = known_host(ns)
        if host not in self._hosts:
            raise NameUnknown(self._no_such(ns, name))
        # containerd with override_path sends both the prefix and ns.
        prefix, _, rest = name.partition("/")
        return self._upstream(host, name, rest if rest and known_host(prefix) == host else name)

    def _no_such(self, host: str, rest: str) -> str:
        text = f"no upstream is called {host[:100]!r}; known: {self._known}"
        is_own = host in self._own or host.startswith(("localhost:", "127.0.0.1:", "[::1]:"))
        return f"{text}; leave the mirror's own address out: {rest[:100]}" if is_own else text

    def _no_default(self, name: str) -> str | None:
        if not self._hosts:
            return None  # a plain registry: where else should it look
        return f"no upstream is the default, so {name[:100]} is only looked for here; known: {self._known}"

    @property
    def _known(self) -> str:
        return ", ".join(sorted(self._hosts)) or "none"

    def check(self, image: ImageName) -> None:
        """Raises NameUnknown for an image that no upstream can have: of another registry, or kept away by the rules."""
        place = self.find(image)
        host, _, rest = place.name.partition("/")
        is_elsewhere = bool(rest) and "." in host
        if place.cached is None and (place.hosted is None or place.hidden is not None or is_elsewhere):
            raise NameUnknown(place.hint)

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
        prefix, _, beyond = rest.partition("/")
        if beyond and known_host(prefix) == host:
            return Place(name, None, None, f"{host} stands twice in this name; did you mean {host}/{beyond[:100]}?")
        if host == DOCKER_HUB and "/" not in rest:
            rest = f"library/{rest}"
        repository = Repository(RepositoryName(rest), host)
        if not self.scope.rules[host].admit(rest):
            hint = f"the rules of this mirror keep {rest[:100]} of {host} away"
            return Place(name, None, None, hint, hidden=repository)
        return Place(name, None, repository)

    def _hosted_rules(self) -> Rules:
        """Of what is hosted: names that begin like an upstream's mean the upstream's repository."""
        taken = [f"{name}/*" for host in self._hosts for name in names_of_host(host)]
        return Rules(deny=[*taken, "library", "library/*"] if self._default == DOCKER_HUB else taken)


def _spelled(rules: Rules, host: str) -> Rules:
    """The same rules, in every way that a pattern may be meant."""
    return Rules(*([each for one in patterns for each in spelled(one, host)] for patterns in (rules.allow, rules.deny)))
