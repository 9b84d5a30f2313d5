"""The texts that a repository is found by besides its name and its tags: what its manifests say of themselves."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert

from ocispec.digest import Digest
from ocispec.platform import Platform
from storage.index.schema import search_sources, search_texts

# The longest that is worth finding something by, and the most of them for one manifest.
_MAX_TEXT, _MAX_TEXTS = 1000, 100
# Another one in each build, and looked for by nobody.
_UNSOUGHT = frozenset({"org.opencontainers.image.created"})

_ADD = insert(search_texts).on_conflict_do_nothing()
_CITE = (
    insert(search_sources)
    .from_select(
        ["text_id", "digest"],
        select(search_texts.c.id, bindparam("source")).where(
            search_texts.c.repository_id == bindparam("repository_id"),
            search_texts.c.kind == bindparam("kind"),
            search_texts.c.text == bindparam("text"),
        ),
    )
    .on_conflict_do_nothing()
)


def add(
    connection: Connection,
    repository_id: int,
    manifest: Digest,
    labels: Mapping[str, str],
    platforms: Iterable[Platform | None],
) -> None:
    """Let the repository be found by the labels (or annotations) of a manifest, and the platforms it is for."""
    texts = [("platform", str(platform)) for platform in dict.fromkeys(platforms) if platform]
    texts += [("label", f"{key}={value}"[:_MAX_TEXT]) for key, value in labels.items() if key not in _UNSOUGHT]
    rows = [{"repository_id": repository_id, "kind": kind, "text": text} for kind, text in texts[:_MAX_TEXTS]]
    if rows:
        connection.execute(_ADD, rows)
        connection.execute(_CITE, [{**row, "source": str(manifest)} for row in rows])
