"""Which repositories there are for somebody: by upstream, and by patterns of their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from storage.repository import Repository


@dataclass(frozen=True, slots=True)
class Rules:
    """Names that match one of `allow` (or any, where there are none), and none of `deny`."""

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()

    def admit(self, name: str) -> bool:
        allowed = not self.allow or matches(name, self.allow)
        return allowed and not matches(name, self.deny)


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns fits the whole name; `*` stands for anything, slashes included."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Scope:
    """The rules of each upstream, and of what is hosted under ''. Whatever has no rules here is outside.

    The index has the same in SQL: `storage.index.scope`.
    """

    rules: Mapping[str, Rules]

    def has(self, repository: Repository) -> bool:
        rules = self.rules.get(repository.upstream)
        return rules is not None and rules.admit(repository.name)

    def only(self, upstream: str) -> "Scope":
        """As much of it as is of this upstream."""
        return Scope({host: rules for host, rules in self.rules.items() if host == upstream})
