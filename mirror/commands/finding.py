"""Commands that look for things and at them: search, ls, inspect, history. The running server is asked, and no upstream
but by search."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import typer

from mirror.commands.options import ConfigOption, JsonOption, ServerOption, parse_image

if TYPE_CHECKING:
    from mirror.commands.answers import Found

T = TypeVar("T")
_ENOUGH, _PAGE = 25, 500


def search(
    words: Annotated[
        list[str], typer.Argument(metavar="TERM...", help="What to look for: parts of names, tags, labels.")
    ],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to print at most.")] = _ENOUGH,
    config: ConfigOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for repositories, here and upstream.

    Upstream by the upstreams' own search.

    Exits 1 if there are none; 3 if no server could say.

    Example: mirror search nginx --limit 10
    """
    from mirror.commands import answers, tables

    found = _pages(answers.Results, "search", limit, config, server, q=" ".join(words))
    _print(found, tables.results, as_json=as_json)


def ls(
    repository: Annotated[str | None, typer.Argument(metavar="REPO", help="A repository, to list its tags.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to print at most.")] = 1000,
    config: ConfigOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the repositories that are here, or tags.

    Exits 1 if there is no such repository; 3 if no server could say.

    Example: mirror ls docker.io/library/nginx
    """
    from mirror.commands import answers, tables

    if repository is None:
        found = _pages(answers.Repositories, "repositories", limit, config, server, order="name")
        _print(found, tables.repositories, as_json=as_json)
    else:
        found = _pages(answers.Tags, f"repositories/{quote(repository)}/tags", limit, config, server)
        _print(found, tables.tags, as_json=as_json)


def inspect(
    reference: Annotated[str, typer.Argument(metavar="REF", help="An image, such as nginx:1.27 or repo@sha256:…")],
    config: ConfigOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """What an image is made of, and how.

    Its platforms; or its layers, how they were made and who shares them, and its config.

    Exits 1 if it is not here; 3 if no server could say.

    Example: mirror inspect nginx:1.27
    """
    from mirror.commands import answers, tables
    from mirror.commands.client import server_of

    image = parse_image(reference)
    path = f"repositories/{quote(image.repository)}/images/{quote(str(image.reference))}"
    ns = {"ns": image.registry} if image.registry else {}
    found = _asked(lambda: server_of(config, server).look(answers.Image, path, **ns))
    typer.echo(json.dumps(found) if as_json else tables.image(found))


def history(
    reference: Annotated[str, typer.Argument(metavar="REPO[:TAG]", help="A tag, or a repository for all of its tags.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many moves to print at most.")] = 100,
    config: ConfigOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """How tags moved, the last move first.

    When, by what, from which manifest to which.

    Exits 1 if there are none; 3 if no server could say.

    Example: mirror history nginx:latest
    """
    from mirror.commands import answers, tables

    name, colon, tag = reference.rpartition(":")
    name, tag = (name, tag) if colon and "/" not in tag else (reference, "")
    query = {"tag": tag} if tag else {}
    found = _pages(answers.Moves, f"repositories/{quote(name)}/history", limit, config, server, **query)
    _print(found, tables.moves, as_json=as_json)


def _pages(
    shape: "type[Found]", path: str, limit: int, config: Path | None, url: str | None, **query: str
) -> list[Mapping[str, Any]]:
    """The entries of a list, over as many pages as it takes."""
    from mirror.commands.client import server_of

    def entries() -> Iterator[Mapping[str, Any]]:
        asked, wanted = server_of(config, url), {**query, "n": str(min(limit, _PAGE))}
        (key,) = set(shape.model_fields) - {"next"}
        while True:
            page = asked.look(shape, path, **wanted)
            yield from page[key]
            if page["next"] is None or not page[key]:
                return
            wanted = dict(parse_qsl(urlsplit(page["next"]).query))

    return _asked(lambda: list(islice(entries(), limit)))


def _asked(ask: Callable[[], T]) -> T:
    from mirror.commands.client import Refused
    from mirror.errors import NoServer

    try:
        return ask()
    except Refused as refusal:
        typer.echo(f"error: {refusal}", err=True)
        raise typer.Exit(1 if refusal.is_final else NoServer.exit_code) from None


def _print(found: list[Mapping[str, Any]], table: Callable[[list[Mapping[str, Any]]], str], *, as_json: bool) -> None:
    for entry in found if as_json else []:
        typer.echo(json.dumps(entry))
    if found and not as_json:
        typer.echo(table(found))
    raise typer.Exit(0 if found else 1)
