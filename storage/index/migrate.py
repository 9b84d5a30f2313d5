"""Bring an index up to date: Alembic, from the checkout or from inside an installed wheel.

Alembic is slow to import, so it is loaded only where there is something to migrate.
"""

from pathlib import Path
from types import ModuleType

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from storage.errors import StoreUnusable
from storage.index.engine import write_engine

# The newest migration; a test holds it against the scripts.
HEAD = "0002"


def upgrade(path: Path, module: ModuleType) -> bool:
    """Migrate the index at `path` to HEAD, making it where there is none; whether anything had to be done.

    Raises StoreUnusable for an index that a newer server has written.
    """
    try:
        return _upgrade(path, module)
    except DBAPIError as error:
        raise StoreUnusable(f"the index {path} cannot be used: {error.orig}") from error


def _upgrade(path: Path, module: ModuleType) -> bool:
    engine = write_engine(path, module)
    try:
        with engine.connect() as connection:
            known = inspect(connection).has_table("alembic_version")
            current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar() if known else None
        if current == HEAD:
            return False
        if current is not None and current > HEAD:
            raise StoreUnusable(f"the index is at version {current}, this server knows {HEAD}: run a newer one")
        _run(path, module)
        return True
    finally:
        engine.dispose()


def _run(path: Path, module: ModuleType) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(scripts()))
    engine = write_engine(path, module)
    try:
        # Alembic manages its own transaction on this connection; BEGIN IMMEDIATE makes a second migrator wait.
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except CommandError as error:
        raise StoreUnusable(f"the index {path} is not one of this server's: {error}") from error
    finally:
        engine.dispose()


def scripts() -> Path:
    """The folder of the migrations: inside the wheel, or beside the packages in a checkout."""
    here = Path(__file__).resolve().parent.parent
    installed = here / "_migrations"
    return installed if installed.is_dir() else here.parent / "migrations"
