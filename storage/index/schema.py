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
    Column("pulls", Integer, nullable=False, server_default="0"),
    Column("last_pulled_at", Float),
    Index("uq_repositories_upstream_name", "upstream", "name", unique=True),
    Index("ix_repositories_path", "path"),
    Index("ix_repositories_pulls", "pulls"),
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
    Column("pulls", Integer, nullable=False, server_default="0"),
    Column("last_pulled_at", Float),
    Index("ix_manifests_digest", "digest"),
    Index("ix_manifests_repository_id_subject", "repository_id", "subject"),
    sqlite_with_rowid=False,
)

# What a manifest refers to, in its order. `role` is config, layer or manifest; `platform` is what an index says of one.
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
    Column("platform", String),
    ForeignKeyConstraint(
        ["repository_id", "manifest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
    Index("ix_manifest_children_repository_id_digest", "repository_id", "digest"),
    sqlite_with_rowid=False,
)

# What the config of an image says, as far as lists of images need it; no platform where it could not be read.
images = Table(
    "images",
    metadata,
    Column("repository_id", Integer, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("platform", String),
    Column("created", String),  # as written: RFC 3339
    ForeignKeyConstraint(
        ["repository_id", "digest"], ["manifests.repository_id", "manifests.digest"], ondelete="CASCADE"
    ),
    sqlite_with_rowid=False,
)

# Every text that a repository can be found by besides its name, once; `kind` is tag, label or platform. Triggers keep
# it in step with the tags; and with it, and with the names, their full-text indexes `search_index` and `search_names`.
# The migration that makes these says how.
search_texts = Table(
    "search_texts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("repository_id", ForeignKey("repositories.id", ondelete="CASCADE"), nullable=False),
    Column("kind", String, nullable=False),
    Column("text", String, nullable=False),
    Index("uq_search_texts_repository_id_kind_text", "repository_id", "kind", "text", unique=True),
)

# Which manifests say it; a text goes with the last of them. (Tags are the repository's own.)
search_sources = Table(
    "search_sources",
    metadata,
    Column("text_id", ForeignKey("search_texts.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", String, primary_key=True),
    Index("ix_search_sources_digest", "digest"),
    sqlite_with_rowid=False,
)

# What was asked for in each hour (since the epoch), and what became of it: counts by outcome, bytes sent and fetched.
traffic = Table(
    "traffic",
    metadata,
    Column("hour", Integer, primary_key=True),
    Column("what", String, primary_key=True),
    Column("amount", Integer, nullable=False),
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
    Index("ix_tag_history_repository_id", "repository_id"),  # with the id: the order in which its tags moved
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
