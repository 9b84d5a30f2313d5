"""One question about many digests: some hundreds of them to a query."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, Select

from ocispec.digest import Digest

# SQLite takes no more than 32,766 parameters.
_AT_A_TIME = 500


def rows_of(
    connection: Connection, statement: Select[Any], parameters: Mapping[str, str], digests: Iterable[Digest]
) -> Iterator[Row[Any]]:
    """What a statement finds `IN` its parameter `digests`, which is an expanding one."""
    texts = map(str, digests)
    while some := list(islice(texts, _AT_A_TIME)):
        yield from connection.execute(statement, {**parameters, "digests": some})
