"""A scope as a condition on rows of repositories."""

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, String, and_, false, literal_column, not_, or_, true

from storage.index.schema import repositories
from storage.scope import Rules, Scope

# SQLite's expressions are no deeper than 1000 (sqlite.org/limits.html), and a chain of so many patterns is.
_CHAIN = 200

_name = repositories.c.name
# With a sign SQLite does not look it up in an index: most rows fit, and to put them in order again would cost more.
_upstream = literal_column("+repositories.upstream", String)


def within(scope: Scope) -> ColumnElement[bool]:
    """Of a row: whether the scope has the repository."""
    return or_(false(), *(and_(_upstream == host, _admits(rules)) for host, rules in scope.rules.items()))


def _admits(rules: Rules) -> ColumnElement[bool]:
    refused = _fits_none(rules.deny)
    return and_(refused, not_(_fits_none(rules.allow))) if rules.allow else refused


def _fits_none(patterns: Sequence[str]) -> ColumnElement[bool]:
    chains = (or_(*(_name.bool_op("GLOB")(as_glob(pattern)) for pattern in chain)) for chain in _chained(patterns))
    return and_(true(), *(not_(chain) for chain in chains))


def _chained(patterns: Sequence[str]) -> Iterator[Sequence[str]]:
    return (patterns[start : start + _CHAIN] for start in range(0, len(patterns), _CHAIN))


def as_glob(pattern: str) -> str:
    """A pattern as SQLite writes it: a class of what must not be begins with `^`, and not with `!` as in fnmatch."""
    return pattern.replace("[!", "[^")
