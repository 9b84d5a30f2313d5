"""Commands about images, which a running server carries out: refresh, status, warm.

What a command needs is imported when it runs, so that `--help` is quick.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mirror.commands.options import ConfigOption, JsonOption, PlatformOption, ServerOption, parse_image, parse_platforms
from mirror.errors import NoServer
from ocispec.image import ImageName, listed_images

_REF = "An image, such as nginx, nginx:1.27, ghcr.io/org/app:tag or repo@sha256:…"


def refresh(
    references: Annotated[list[str], typer.Argument(metavar="REF", help=_REF)],
    config: ConfigOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask where tags point now, and fetch what has moved.

    The upstream is asked at once, whatever `tag_ttl` says.

    Exits 1 if there is one that could not be asked about, or that is gone; 3 if no server takes the command.

    Example: mirror refresh nginx:1.27 ghcr.io/org/app:main
    """
    from mirror.commands import text
    from mirror.commands.client import Refused, server_of

    images, asked, failed = [parse_image(reference) for reference in references], server_of(config, server), False
    for image in images:
        try:
            done = asked.post("refresh", {"image": str(image)})
        except Refused as refusal:
            done = {"image": str(image), "outcome": "failed", "reason": str(refusal)}
        bad = done["outcome"] in ("failed", "gone", "refused")
        failed = failed or bad
        typer.echo(json.dumps(done) if as_json else text.refreshed(done), err=bad and not as_json)
    raise typer.Exit(int(failed))


def status(
    reference: Annotated[str, typer.Argument(metavar="REF", help=_REF)],
    platform: PlatformOption = None,
    config: ConfigOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Whether all of an image is here.

    If it is, it could be pulled with the network cut. Asks no upstream.

    Exits 0 if it is, 1 if it is not, 3 if no server could say.

    Example: mirror status nginx:1.27 --platform linux/amd64
    """
    from mirror.commands import text
    from mirror.commands.client import Refused, server_of

    image, platforms = parse_image(reference), parse_platforms(platform)
    try:
        found = server_of(config, server).get("status", image=str(image), platform=[str(one) for one in platforms])
    except Refused as refusal:
        typer.echo(f"error: {image}: {refusal}", err=True)
        raise typer.Exit(1 if refusal.is_final else NoServer.exit_code) from None
    typer.echo(json.dumps(found) if as_json else text.status(found))
    raise typer.Exit(0 if found["complete"] else 1)


def warm(
    references: Annotated[list[str] | None, typer.Argument(metavar="REF", help=_REF)] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="More of them, one a line; # begins a comment, - is standard input."),
    ] = None,
    platform: PlatformOption = None,
    config: ConfigOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pull whole images before anybody asks for them.

    They are kept in the store. Of pushed ones it is looked whether all is here.

    Exits 1 if there is anything that could not be had, and names it; 3 if no server takes the command.

    Example: mirror warm nginx:1.27 --file images.txt --platform linux/amd64
    """
    from mirror.commands.client import Refused, server_of
    from mirror.commands.progress import reporter

    images = [*map(parse_image, references or []), *_listed(file)]
    if not images:
        raise typer.BadParameter("name at least one image, or a --file with some")
    order = {
        "images": [str(image) for image in images],
        "platforms": [str(one) for one in parse_platforms(platform)],
    }
    steps = server_of(config, server).follow("warm", order)
    failed, lost = False, dict[str, str]()
    try:
        with reporter(as_json=as_json, live=sys.stdout.isatty()) as report:
            for step in map(report, steps):
                failed = failed or step["event"] == "failed"
                if (step["event"], step["role"]) == ("failed", "image") and step["image"] in order["images"]:
                    lost[step["image"]] = step.get("reason", "")
    except Refused as refusal:
        typer.echo(f"error: {refusal}", err=True)
        raise typer.Exit(1 if refusal.is_final else NoServer.exit_code) from None
    for image, reason in lost.items():
        typer.echo(f"error: {image}: {reason}", err=True)
    raise typer.Exit(1 if failed else 0)


def _listed(file: Path | None) -> list[ImageName]:
    """What a list of images names. Raises BadParameter."""
    if file is None:
        return []
    try:
        lines = listed_images(sys.stdin.read() if str(file) == "-" else file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file}: {getattr(error, 'strerror', None) or error}") from None
    return [parse_image(text, f"{file}, line {number}: ") for number, text in lines]
