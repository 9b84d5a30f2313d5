"""${message}

Rules of a migration: one purpose; safe to run again after a crash in the middle (SQLite's DDL is transactional: keep
it in one transaction); never edited once released; comes with a test that runs it on data of the version before, and
with HEAD raised in storage/index/migrate.py.
"""

from alembic import op
import sqlalchemy as sa

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
