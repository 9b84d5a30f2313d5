"""What finding things takes: full-text search, what images are for, how often and when they were pulled, and what was
served hour by hour.

Names and tags that are there already are found at once; the configs of images are read by the server, bit by bit.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Trigrams find any part of a word. These indexes hold no copy of the texts: they read them from their tables.
_FULL_TEXT = {
    "search_names": "fts5(path, content='repositories', content_rowid='id', tokenize='trigram')",
    "search_index": "fts5(text, content='search_texts', content_rowid='id', tokenize='trigram')",
}
_TRIGGERS = {
    "search_repository_added": """
        AFTER INSERT ON repositories BEGIN
            INSERT INTO search_names(rowid, path) VALUES (new.id, new.path);
        END""",
    "search_repository_removed": """
        AFTER DELETE ON repositories BEGIN
            INSERT INTO search_names(search_names, rowid, path) VALUES ('delete', old.id, old.path);
        END""",
    "search_texts_added": """
        AFTER INSERT ON search_texts BEGIN
            INSERT INTO search_index(rowid, text) VALUES (new.id, new.text);
        END""",
    "search_texts_removed": """
        AFTER DELETE ON search_texts BEGIN
            INSERT INTO search_index(search_index, rowid, text) VALUES ('delete', old.id, old.text);
        END""",
    "search_tag_added": """
        AFTER INSERT ON tags BEGIN
            INSERT INTO search_texts(repository_id, kind, text) VALUES (new.repository_id, 'tag', new.name);
        END""",
    "search_tag_removed": """
        AFTER DELETE ON tags BEGIN
            DELETE FROM search_texts WHERE repository_id = old.repository_id AND kind = 'tag' AND text = old.name;
        END""",
    "search_manifest_removed": """
        AFTER DELETE ON manifests BEGIN
            DELETE FROM search_sources WHERE digest = old.digest
                AND text_id IN (SELECT id FROM search_texts WHERE repository_id = old.repository_id);
        END""",
    "search_source_removed": """
        AFTER DELETE ON search_sources BEGIN
            DELETE FROM search_texts WHERE id = old.text_id
                AND NOT EXISTS (SELECT 1 FROM search_sources WHERE text_id = old.text_id);
        END""",
}


def upgrade() -> None:
    for table in ("repositories", "manifests"):
        op.add_column(table, sa.Column("pulls", sa.Integer, nullable=False, server_default="0"))
        op.add_column(table, sa.Column("last_pulled_at", sa.Float))
    op.add_column("manifest_children", sa.Column("platform", sa.String))
    op.create_table(
        "images",
        sa.Column("repository_id", sa.Integer, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("platform", sa.String),
        sa.Column("created", sa.String),
        sa.PrimaryKeyConstraint("repository_id", "digest", name="pk_images"),
        sa.ForeignKeyConstraint(
            ["repository_id", "digest"],
            ["manifests.repository_id", "manifests.digest"],
            name="fk_images_repository_id_digest_manifests",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "traffic",
        sa.Column("hour", sa.Integer, nullable=False),
        sa.Column("what", sa.String, nullable=False),
        sa.Column("amount", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("hour", "what", name="pk_traffic"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tag_history_repository_id", "tag_history", ["repository_id"])
    op.create_index("ix_repositories_pulls", "repositories", ["pulls"])
    _create_search()


def _create_search() -> None:
    op.create_table(
        "search_texts",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("repository_id", sa.Integer, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_search_texts"),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name="fk_search_texts_repository_id_repositories",
            ondelete="CASCADE",
        ),
    )
    columns = ["repository_id", "kind", "text"]
    op.create_index("uq_search_texts_repository_id_kind_text", "search_texts", columns, unique=True)
    op.create_table(
        "search_sources",
        sa.Column("text_id", sa.Integer, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("text_id", "digest", name="pk_search_sources"),
        sa.ForeignKeyConstraint(
            ["text_id"], ["search_texts.id"], name="fk_search_sources_text_id_search_texts", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_search_sources_digest", "search_sources", ["digest"])
    for name, definition in _FULL_TEXT.items():
        op.execute(f"CREATE VIRTUAL TABLE {name} USING {definition}")
    for name, body in _TRIGGERS.items():
        op.execute(f"CREATE TRIGGER {name} {body}")
    op.execute("INSERT INTO search_names(rowid, path) SELECT id, path FROM repositories")
    op.execute("INSERT INTO search_texts(repository_id, kind, text) SELECT repository_id, 'tag', name FROM tags")


def downgrade() -> None:
    for name in _TRIGGERS:
        op.execute(f"DROP TRIGGER {name}")
    for table in (*_FULL_TEXT, "search_sources", "search_texts", "traffic", "images"):
        op.execute(f"DROP TABLE {table}")
    op.drop_index("ix_tag_history_repository_id", "tag_history")
    op.drop_index("ix_repositories_pulls", "repositories")
    op.drop_column("manifest_children", "platform")
    for table in ("manifests", "repositories"):
        op.drop_column(table, "last_pulled_at")
        op.drop_column(table, "pulls")
