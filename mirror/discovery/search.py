"""Search: what is here, and what the upstreams' own search finds, each repository once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirror.routing import Names
from mirror.upstream.search import UpstreamSearch
from ocispec.errors import NameInvalid, NameUnknown
from ocispec.names import RepositoryName
from ocispec.search import SearchHit, one_line
from storage.repository import Repository
from storage.store import Store
from storage.views import Hit


@dataclass(frozen=True, slots=True)
class Result:
    """A repository that was found. `name` is what a client can pull it by; of what is not here, nothing is known but
    what the upstream's search says."""

    name: str
    repository: Repository
    is_here: bool
    description: str = ""
    stars: int = 0
    is_official: bool = False
    pulls: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A page of what fits, best first; how many there are; and the upstreams that could not be searched, by host."""

    results: Sequence[Result]
    total: int
    not_searched: Sequence[str]


class Search:
    """Looks through the store and asks the search of each upstream that has one, by host."""

    def __init__(self, store: Store, names: Names, searches: Mapping[str, UpstreamSearch]) -> None:
        self._store, self._names, self._searches = store, names, searches

    async def find(self, query: str, limit: int, offset: int) -> Found:
        """What is here before what is not."""
        query = " ".join(query.split())
        said, not_searched = await self._ask(query)
        here = await self._store.finding.search(query, self._names.scope, limit, offset, named=said)
        found = [self._here(hit, said.get(hit.repository)) for hit in here.hits]
        rest = [one for one in said if one not in here.named and self._names.scope.has(one)]
        start = max(0, offset - here.total)
        found += [self._elsewhere(one, said[one]) for one in rest[start : start + limit - len(found)]]
        return Found(found, here.total + len(rest), not_searched)

    async def _ask(self, query: str) -> tuple[Mapping[Repository, SearchHit], Sequence[str]]:
        """What the upstreams' searches say, all asked at once; and who said nothing."""
        answers = await asyncio.gather(*(search.find(query) for search in self._searches.values()))
        by_host = dict(zip(self._searches, answers, strict=True))
        said = {
            Repository(self._full(host, hit.name), host): hit for host, hits in by_host.items() for hit in hits or ()
        }
        return said, [host for host, hits in by_host.items() if hits is None]

    def _here(self, hit: Hit, said: SearchHit | None) -> Result:
        name, description = self._name(hit.repository), (said and said.description) or one_line(hit.description)
        stars, official = (said.stars, said.is_official) if said else (0, False)
        return Result(name, hit.repository, True, description, stars, official, hit.pulls)

    def _elsewhere(self, repository: Repository, said: SearchHit) -> Result:
        here = repository in self._store.repositories
        return Result(self._name(repository), repository, here, said.description, said.stars, said.is_official)

    def _full(self, host: str, name: RepositoryName) -> RepositoryName:
        """What the upstream itself calls it: Docker Hub's search leaves `library/` out."""
        place = self._names.resolve(name, host)
        found = place.cached or place.hidden
        return found.name if found is not None else name

    def _name(self, repository: Repository) -> str:
        """The shortest name that a pull from this server finds it by."""
        short = repository.name.removeprefix("library/")
        return next((name for name in (short, str(repository.name)) if self._means(name, repository)), repository.path)

    def _means(self, name: str, repository: Repository) -> bool:
        try:
            place = self._names.read(name)
        except (NameUnknown, NameInvalid):
            return False
        hosted = place.hosted is not None and place.hosted in self._store.repositories
        return (place.hosted if hosted else place.cached or place.hosted) == repository
