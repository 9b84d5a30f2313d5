"""What was used: how often and when manifests were pulled, and what was served hour by hour."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Table, Update, bindparam, exists, func, select, update
from sqlalchemy.dialects.sqlite import insert

from storage.index.schema import manifest_children, manifests, repositories, traffic
from storage.views import Pulls

HOUR = 3600


def _counted(table: Table) -> Update:
    at = func.max(func.coalesce(table.c.last_pulled_at, 0.0), bindparam("at"))
    return update(table).values(pulls=table.c.pulls + bindparam("count"), last_pulled_at=at)


_IS_IT = (repositories.c.upstream == bindparam("host"), repositories.c.name == bindparam("repository"))
_CHILD = manifest_children.c
# An image of an index is pulled after the index: that is one pull of the repository, and not two.
_BELOW = exists().where(
    _CHILD.repository_id == repositories.c.id, _CHILD.digest == bindparam("manifest"), _CHILD.role == "manifest"
)
_REPOSITORY = _counted(repositories).where(*_IS_IT, ~_BELOW)
_MANIFEST = _counted(manifests).where(
    manifests.c.repository_id == select(repositories.c.id).where(*_IS_IT).scalar_subquery(),
    manifests.c.digest == bindparam("manifest"),
)
_ADD = insert(traffic)
_ADD = _ADD.on_conflict_do_update(
    index_elements=["hour", "what"], set_={"amount": traffic.c.amount + _ADD.excluded.amount}
)


def add_pulls(connection: Connection, pulls: Iterable[Pulls]) -> None:
    """What is gone meanwhile is not counted."""
    for one in pulls:
        row: dict[str, object] = {"host": one.repository.upstream, "repository": str(one.repository.name)}
        row |= {"manifest": str(one.digest), "count": one.count, "at": one.at}
        connection.execute(_MANIFEST, row)
        connection.execute(_REPOSITORY, row)


def add_traffic(connection: Connection, at: float, amounts: Mapping[str, int]) -> None:
    hour = int(at // HOUR)
    rows = [{"hour": hour, "what": what, "amount": amount} for what, amount in amounts.items() if amount]
    if rows:
        connection.execute(_ADD, rows)


def traffic_since(connection: Connection, at: float) -> dict[int, dict[str, int]]:
    """Amounts by hour (since the epoch), oldest first."""
    statement = select(traffic).where(traffic.c.hour >= int(at // HOUR)).order_by(traffic.c.hour)
    found: dict[int, dict[str, int]] = {}
    for hour, what, amount in connection.execute(statement):
        found.setdefault(hour, {})[what] = amount
    return found
