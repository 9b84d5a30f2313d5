"""What several commands are given, and how it is read."""

from pathlib import Path
from typing import Annotated

import typer

from ocispec.errors import RegistryError
from ocispec.image import ImageName
from ocispec.platform import Platform

_USUAL_PLATFORMS = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le"]
_USUAL_PLATFORMS += ["linux/riscv64", "linux/s390x", "windows/amd64"]

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="MIRROR_CONFIG", help="TOML file; without it the built-in defaults apply."),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        envvar="MIRROR_SERVER_URL",
        help="Ask the server at this URL; without it, the one that runs on the store of the configuration.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, an object a line.")]
PlatformOption = Annotated[
    list[str] | None,
    typer.Option(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        help="Of an index, only this one; can be given several times.",
        autocompletion=lambda: _USUAL_PLATFORMS,
    ),
]


def parse_image(text: str, where: str = "") -> ImageName:
    """`where` it stands, if not on the command line. Raises BadParameter, which ends the command with exit code 2."""
    try:
        return ImageName.parse(text)
    except RegistryError as error:
        raise typer.BadParameter(f"{where}{text!r} is not the name of an image: {error}") from None


def says_which(name: str) -> bool:
    """Whether the name of an image has a tag or a digest, and does not mean a repository only."""
    return "@" in name or ":" in name.rpartition("/")[2]


def parse_platforms(texts: list[str] | None) -> list[Platform]:
    """Raises BadParameter."""
    try:
        return [Platform.parse(text) for text in texts or []]
    except RegistryError as error:
        raise typer.BadParameter(str(error)) from None
