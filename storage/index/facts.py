"""Facts about the store itself, one row each."""

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from storage.index.schema import store_facts

STATE = "state"
OPEN, CLEANLY = "open", "closed"  # open: a server runs, or was killed


def get(connection: Connection, name: str) -> str | None:
    return connection.execute(select(store_facts.c.value).where(store_facts.c.key == name)).scalar()


def put(connection: Connection, name: str, value: str) -> None:
    row = {"key": name, "value": value}
    connection.execute(insert(store_facts).values(row).on_conflict_do_update(index_elements=["key"], set_=row))
