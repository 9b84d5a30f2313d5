"""The first index: repositories, blobs and their links, manifests and what they refer to, tags and their history,
upload sessions, facts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "repositories",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("upstream", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_repositories"),
    )
    op.create_index("uq_repositories_upstream_name", "repositories", ["upstream", "name"], unique=True)
    op.create_index("ix_repositories_path", "repositories", ["path"])
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_blobs"),
    )
    op.create_table(
        "repository_blobs",
        sa.Column("repository_id", sa.Integer, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "digest", name="pk_repository_blobs"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name="fk_repository_blobs_repository_id_repositories"
        ),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_repository_blobs_digest_blobs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_repository_blobs_digest", "repository_blobs", ["digest"])
    _create_manifests()
    _create_tags()
    op.create_table(
        "upload_sessions",
        sa.Column("id", sa.String, nullable=False),
        sa.Column("repository", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_upload_sessions"),
    )
    op.create_index("ix_upload_sessions_created_at", "upload_sessions", ["created_at"])
    op.create_table(
        "store_facts",
        sa.Column("key", sa.String, nullable=False),
        sa.Column("value", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_store_facts"),
    )


def _create_manifests() -> None:
    op.create_table(
        "manifests",
        sa.Column("repository_id", sa.Integer, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("artifact_type", sa.String),
        sa.Column("subject", sa.String),
        sa.Column("annotations", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "digest", name="pk_manifests"),
        sa.ForeignKeyConstraint(["repository_id"], ["repositories.id"], name="fk_manifests_repository_id_repositories"),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_manifests_digest_blobs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_manifests_digest", "manifests", ["digest"])
    op.create_index("ix_manifests_repository_id_subject", "manifests", ["repository_id", "subject"])
    op.create_table(
        "manifest_children",
        sa.Column("repository_id", sa.Integer, nullable=False),
        sa.Column("manifest", sa.String, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("media_type", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "manifest", "position", name="pk_manifest_children"),
        sa.ForeignKeyConstraint(
            ["repository_id", "manifest"],
            ["manifests.repository_id", "manifests.digest"],
            name="fk_manifest_children_repository_id_manifest_manifests",
            ondelete="CASCADE",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_manifest_children_repository_id_digest", "manifest_children", ["repository_id", "digest"])


def _create_tags() -> None:
    op.create_table(
        "tags",
        sa.Column("repository_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.Column("checked_at", sa.Float),
        sa.PrimaryKeyConstraint("repository_id", "name", name="pk_tags"),
        sa.ForeignKeyConstraint(
            ["repository_id", "digest"],
            ["manifests.repository_id", "manifests.digest"],
            name="fk_tags_repository_id_digest_manifests",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tags_repository_id_digest", "tags", ["repository_id", "digest"])
    op.create_table(
        "tag_history",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("repository_id", sa.Integer, nullable=False),
        sa.Column("tag", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("from_digest", sa.String),
        sa.Column("to_digest", sa.String),
        sa.Column("cause", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tag_history"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name="fk_tag_history_repository_id_repositories"
        ),
    )
    op.create_index("ix_tag_history_repository_id_tag_at", "tag_history", ["repository_id", "tag", "at"])


def downgrade() -> None:
    for table in (
        "store_facts",
        "upload_sessions",
        "tag_history",
        "tags",
        "manifest_children",
        "manifests",
        "repository_blobs",
        "blobs",
        "repositories",
    ):
        op.drop_table(table)
