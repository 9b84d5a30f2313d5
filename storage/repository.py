"""Which repository is meant: one that was pushed here (hosted), or an upstream's that is cached here."""

from typing import NamedTuple

from ocispec.names import RepositoryName


class Repository(NamedTuple):
    """A repository of the store. `upstream` is the host it is cached from, '' where it is hosted.

    Hosted `team/app` and the cached `docker.io/team/app` are different repositories: nothing that was pushed to one
    is ever served as the other.
    """

    name: RepositoryName
    upstream: str = ""

    @property
    def is_hosted(self) -> bool:
        return not self.upstream

    @property
    def path(self) -> str:
        """What a client can ask for it by, and what lists show."""
        return f"{self.upstream}/{self.name}" if self.upstream else str(self.name)

    def __str__(self) -> str:
        return self.path
