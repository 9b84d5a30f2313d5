"""The tables of the index. No queries here; the migrations make these tables, and a test holds the two together.

Times are seconds since the epoch. Digests are stored as their text, `sha256:…`.
"""

from sqlalchemy import Column, Float, ForeignKey, ForeignKeyConstraint, Index, Integer, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# `upstream` is the host it is cached from, '' where it was pushed here. `path` is what clients can ask for it by.
repositories = Table(
    "repositories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("upstream", String, nullable=False),
    Column("name", String, nullable=False),
    Column("path", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("uq_repositories_upstream_name", "upstream", "name", unique=True),
    Index("ix_repositories_path", "path"),
)

# One row for each file under blobs/, manifests included. A row means: complete, verified, durable.
blobs = Table(
    "blobs",
    metadata,
    Column("digest", String, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
)

# A blob is readable in a repository only through this link.
repository_blobs = Table(
    "repository_blobs",
    metadata,
    Column("repository_id", ForeignKey("repositories.id"), primary_key=True),
    Column("digest", ForeignKey("blobs.digest"), primary_key=True),
    Column("created_at", Float, nullable=False),
    Index("ix_repository_blobs_digest", "digest"),
    sqlite_with_rowid=False,
)

manifests = Table(
    "manifests",
    metadata,
    Column("repository_id", ForeignKey("repositories.id"), primary_key=True),
    Column("digest", ForeignKey("blobs.digest"), primary_key=True),
    Column("media_type", String, nullable=False),
    Column("size", Integer, nullable=False),
    Column("artifact_type", String),
    Column("subject", String),
    Column("annotations", Text),  # JSON; only where there is a subject, for the referrers list
    Column("created_at", Float, nullable=False),
    Index("ix_manifests_digest", "digest"),
    Index("ix_manifests_repository_id_subject", "repository_id", "subject"),
    sqlite_with_rowid=False,
)

# What a manifest refers to, in its order. `role` is config, layer or manifest.
manifest_children = Table(
    "manifest_children",
    metadata,
    Column("repository_id", Integer, primary_key=True),
    Column("manifest", String, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("role", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("size", Integer, nullable=False),
    Column("media_type", String, nullable=False),
    ForeignKeyConstraint(
        ["repository_id", "manifest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
    Index("ix_manifest_children_repository_id_digest", "repository_id", "digest"),
    sqlite_with_rowid=False,
)

# `checked_at`: when the upstream last confirmed where the tag points; NULL for a pushed tag, which is always right.
tags = Table(
    "tags",
    metadata,
    Column("repository_id", Integer, primary_key=True),
    Column("name", String, primary_key=True),
    Column("digest", String, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("checked_at", Float),
    ForeignKeyConstraint(["repository_id", "digest"], ["manifests.repository_id", "manifests.digest"]),
    Index("ix_tags_repository_id_digest", "repository_id", "digest"),
    sqlite_with_rowid=False,
)

# Every move of a tag: from where (NULL: it is new), to where (NULL: it is gone), and by what: push, pull (so said the
# upstream) or delete.
tag_history = Table(
    "tag_history",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("repository_id", ForeignKey("repositories.id"), nullable=False),
    Column("tag", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("from_digest", String),
    Column("to_digest", String),
    Column("cause", String, nullable=False),
    Index("ix_tag_history_repository_id_tag_at", "repository_id", "tag", "at"),
)

# How far a session is, is the length of its file; the row says whose it is and since when.
upload_sessions = Table(
    "upload_sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("repository", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("ix_upload_sessions_created_at", "created_at"),
)

# One row each: facts about the store itself, such as how it was closed.
store_facts = Table(
    "store_facts",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)
