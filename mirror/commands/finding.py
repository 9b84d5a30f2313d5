"""Commands that look for things and at them: search, ls, inspect, history. The running server is asked, and no upstream
but by search."""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import typer

from mirror.absent import absence
from mirror.commands.options import ConfigOption, JsonOption, ServerOption, parse_image, says_which
from ocispec.image import ImageName

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

    query = " ".join(words)
    found = _pages(answers.Results, "search", repr(query), limit, config, server, q=query)
    _print(found, tables.results, f"nothing fits {query!r}", as_json=as_json)


def ls(
    repository: Annotated[str | None, typer.Argument(metavar="REPO", help="A repository, to list its tags.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many to print at most.")] = 1000,
    config: ConfigOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the repositories that are here, or tags.

    Exits 1 if there is no such repository, or it has no tags; 3 if no server could say.

    Example: mirror ls docker.io/library/nginx
    """
    from mirror.commands import answers, tables

    if repository is None:
        found = _pages(answers.Repositories, "repositories", "the list", limit, config, server, order="name")
        _print(found, tables.repositories, "nothing is here yet", as_json=as_json, none=0)
    else:
        image = _repository(repository)
        path, name = f"{_path(image)}/tags", _name(image)
        found = _pages(answers.Tags, path, name, limit, config, server, **_registry(image))
        _print(found, tables.tags, f"{name} has no tags", as_json=as_json)


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
    path = f"{_path(image)}/images/{quote(str(image.reference))}"
    asked, hint = server_of(config, server), f" (mirror warm {image} pulls it)"
    found = _asked(lambda: asked.look(answers.Image, path, **_registry(image)), str(image), hint)
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

    image, has_tag = parse_image(reference), says_which(reference)
    if "@" in reference:
        raise typer.BadParameter(f"{reference!r} never moves: see mirror inspect {reference}; history takes a tag")
    query, name = ({"tag": str(image.reference)}, str(image)) if has_tag else ({}, _name(image))
    path = f"{_path(image)}/history"
    found = _pages(answers.Moves, path, name, limit, config, server, **query, **_registry(image))
    _print(found, tables.moves, f"no move of {name} is known", as_json=as_json)


def _repository(text: str) -> ImageName:
    """Raises BadParameter where it says which image of it is meant, too."""
    image = parse_image(text)
    if says_which(text):
        raise typer.BadParameter(f"{text!r} is one image: see mirror inspect {text}; ls takes a repository")
    return image


def _path(image: ImageName) -> str:
    return f"repositories/{quote(image.repository)}"


def _name(image: ImageName) -> str:
    """Of its repository, as it was written."""
    return f"{image.registry}/{image.repository}" if image.registry else image.repository


def _registry(image: ImageName) -> dict[str, str]:
    return {"ns": image.registry} if image.registry else {}


def _pages(
    shape: "type[Found]", path: str, name: str, limit: int, config: Path | None, url: str | None, **query: str
) -> list[Mapping[str, Any]]:
    """The entries of a list, over as many pages as it takes; `name` is what was asked about."""
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

    return _asked(lambda: list(islice(entries(), limit)), name)


def _asked(ask: Callable[[], T], name: str, hint: str = "") -> T:
    """What is answered about `name`. Where it is not here, `hint` says what can be done."""
    from mirror.commands.client import Refused
    from mirror.errors import NoServer

    try:
        return ask()
    except Refused as refusal:
        typer.echo(f"error: {absence(name, str(refusal), hint)}", err=True)
        raise typer.Exit(1 if refusal.is_final else NoServer.exit_code) from None


def _print(
    found: list[Mapping[str, Any]],
    table: Callable[[list[Mapping[str, Any]]], str],
    nothing: str,
    *,
    as_json: bool,
    none: int = 1,
) -> None:
    """Ends the command: with exit code 0, or where there is nothing with `none`, and people are told that."""
    for entry in found if as_json else []:
        typer.echo(json.dumps(entry))
    if not as_json:
        typer.echo(table(found) if found else nothing, err=not found)
    raise typer.Exit(0 if found else none)
