"""Finding repositories by what is said of them: their names, their tags, the labels and platforms of their images.

Every word has to be found somewhere, wherever that is. How well a repository fits is how well its words do, and a name
counts before anything else; of equals, what is pulled more comes first.
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    TableClause,
    and_,
    case,
    column,
    func,
    literal,
    or_,
    select,
    table,
    union_all,
)

from ocispec.names import RepositoryName
from storage.index.schema import repositories, search_texts, tags
from storage.index.scope import within
from storage.repository import Repository
from storage.scope import Scope
from storage.views import Hit, Order, Search

# The full-text indexes know a word by its trigrams; shorter ones are looked for at the beginnings of names.
_SHORTEST = 3
# What FTS5 takes for a phrase is its length times that of a text: 1,000 times "a" took 11 s among texts of just that.
_LONGEST = 32
# Of those that do not have a word in their name, so many are looked at: one that more have says next to nothing.
_SAYING = 5000

# How far a repository is from a word: 0 and up for names, by how much of the name the word is.
_WHOLE, _LAST, _BEGINNING, _WITHIN, _ELSEWHERE = range(5)

_DESCRIPTION = "org.opencontainers.image.description="

_names = table("search_names", column("rowid"), column("search_names"))
_texts = table("search_index", column("rowid"), column("search_index"))
_path = repositories.c.path


def find(
    connection: Connection,
    words: Sequence[str],
    scope: Scope,
    limit: int,
    offset: int = 0,
    order: Order = Order.FITTING,
    named: Collection[Repository] = (),
    last: str = "",
) -> Search:
    """The repositories of a scope that fit all `words` (without any: all), and which of `named` are among them.

    By name, they may be those that follow the path `last`: what comes or goes meanwhile shifts no page then.
    """
    fitting = and_(within(scope), *(_fits(word, scope) for word in words))
    ids = select(repositories.c.id).where(fitting).order_by(*_order(order, words), _path)
    among = _among(connection, scope, named)
    if words and not last:
        # All of them, since they are put in order anyway: to count them beside would be to look for them twice.
        found = connection.execute(ids).scalars().all()
        page, total = found[offset : offset + limit], len(found)
        among = {id: among[id] for id in among.keys() & set(found)}
    else:
        page = connection.execute(ids.where(_path > last).limit(limit).offset(offset)).scalars().all()
        total = connection.execute(select(func.count()).select_from(repositories).where(fitting)).scalar_one()
    hits = _hits(connection, page)
    return Search([hits[id] for id in page], total, set(among.values()))


def _among(connection: Connection, scope: Scope, named: Collection[Repository]) -> dict[int, Repository]:
    """Those of them that there are, by their ids."""
    if not named:
        return {}
    r, paths = repositories.c, [repository.path for repository in named]
    rows = connection.execute(select(r.id, r.name, r.upstream).where(r.path.in_(paths), within(scope)))
    there = ((id, Repository(RepositoryName(name), upstream)) for id, name, upstream in rows)
    return {id: repository for id, repository in there if repository in named}


def _hits(connection: Connection, ids: Sequence[int]) -> dict[int, Hit]:
    r, said = repositories.c, search_texts.c
    count = select(func.count()).select_from(tags).where(tags.c.repository_id == r.id).scalar_subquery()
    description = (
        select(func.max(said.text))
        .where(said.repository_id == r.id, said.kind == "label")
        .where(said.text >= _DESCRIPTION, said.text < _DESCRIPTION + "\U0010ffff")
        .scalar_subquery()
    )
    statement = select(r.id, r.upstream, r.name, count, r.pulls, r.last_pulled_at, description).where(r.id.in_(ids))
    return {
        id: Hit(Repository(RepositoryName(name), upstream), tagged, pulls, at, (text or "").removeprefix(_DESCRIPTION))
        for id, upstream, name, tagged, pulls, at, text in connection.execute(statement)
    }


def _order(order: Order, words: Sequence[str]) -> list[ColumnElement[Any]]:
    match order:
        case Order.RECENT:
            return [repositories.c.last_pulled_at.desc().nulls_last()]
        case Order.PULLS:
            # Of equals the newest, as the index has them: by name, all rows would have to be sorted for each page.
            return [repositories.c.pulls.desc(), repositories.c.id.desc()]
        case Order.FITTING if words:
            distance = sum(map(_distance, words), literal(0))
            return [distance, repositories.c.pulls.desc(), func.length(_path)]
        case _:
            return []  # by name, as all of them do in the end


def _fits(word: str, scope: Scope) -> ColumnElement[bool]:
    """Whether a word is found in a repository's name, or in a text of it."""
    if len(word) < _SHORTEST:
        return _begins(word)
    return repositories.c.id.in_(union_all(_matching(_names, "search_names", word), _saying(word, scope)))


def _saying(word: str, scope: Scope) -> Select[tuple[int]]:
    """Repositories that have a text with the word: each is one of them, however many of its texts do."""
    texts, fitting = search_texts, _matching(_texts, "search_index", word).subquery()
    said = select(texts.c.repository_id).distinct().join(fitting, fitting.c.rowid == texts.c.id).subquery()
    first = (
        select(said.c.repository_id)
        .join(repositories, repositories.c.id == said.c.repository_id)
        .where(within(scope))
        .limit(_SAYING)
        .correlate(None)  # these repositories are not those of the condition that this is part of
        .subquery()
    )
    return select(first.c.repository_id)


def _distance(word: str) -> ColumnElement[int]:
    return case(
        (or_(_path == word, repositories.c.name == word), _WHOLE),
        (_path.endswith(f"/{word}", autoescape=True), _LAST),
        (_begins(word), _BEGINNING),
        (_path.contains(word, autoescape=True), _WITHIN),
        else_=_ELSEWHERE,
    )


def _begins(word: str) -> ColumnElement[bool]:
    return or_(_path.startswith(word, autoescape=True), _path.contains(f"/{word}", autoescape=True))


def _matching(index: TableClause, name: str, word: str) -> Select[tuple[int]]:
    """The rows of a full-text index that have the word, or the beginning of a long one, as a phrase: nothing in it
    means anything to FTS5 (sqlite.org/fts5.html, "FTS5 Strings")."""
    quoted = word[:_LONGEST].replace('"', '""').replace("\0", " ")
    return select(index.c.rowid).where(index.c[name].op("MATCH")(f'"{quoted}"'))
