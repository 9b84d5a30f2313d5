"""The command `mirror`. What a command needs is imported when it runs, so that `--help` is quick."""

import json
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from mirror import __version__
from mirror.commands import finding, images, running, shells, upstreams
from mirror.commands.options import ConfigOption, JsonOption
from mirror.errors import StartError
from storage.errors import StorageError

cli = typer.Typer(
    name="mirror", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"registry-mirror {__version__}")
        raise typer.Exit


@cli.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """A container-registry mirror and pull-through cache.

    Every key of the configuration can be set by environment, too: MIRROR_SERVER__LISTEN is listen of [server].
    """


@cli.command()
def serve(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Run the server until SIGTERM.

    Prints `listening on http://…` when it is ready; logs go to standard error.

    Example: mirror serve --config /etc/registry-mirror/config.toml
    """
    import asyncio

    from mirror import logs, serving
    from mirror.commands.client import naming_the_holder
    from mirror.config import load_config

    loaded = load_config(config, os.environ)
    outlet = logs.Outlet()
    logs.configure(loaded.log, outlet)
    try:
        with naming_the_holder(loaded.storage.root):
            asyncio.run(serving.serve(loaded, outlet, _announcing(as_json)))
    finally:
        outlet.close()


def _announcing(as_json: bool) -> Callable[[str], None]:
    """Says, once, where the server listens."""

    def announce(url: str) -> None:
        print(json.dumps({"listening": url}) if as_json else f"listening on {url}", flush=True)

    return announce


@cli.command()
def migrate(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make the store's index, or bring it up to date.

    `serve` does it too; the store must not be in use.

    Example: mirror migrate --config /etc/registry-mirror/config.toml
    """
    from mirror.commands.client import naming_the_holder
    from mirror.config import load_config
    from storage.store import migrate_store

    root = load_config(config, os.environ).storage.root
    with naming_the_holder(root):
        changed = migrate_store(root)
    if as_json:
        typer.echo(json.dumps({"store": str(root.absolute()), "changed": changed}))
    else:
        typer.echo(f"{root}: the index {'is up to date now' if changed else 'was up to date'}")


@cli.command("check-config")
def check_config(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the configuration and print what is in effect.

    Secrets are masked. Exits 2 where something is wrong.

    Example: MIRROR_SERVER__LISTEN=[::]:5000 mirror check-config --config config.toml
    """
    from mirror.checks import check, missing_helpers
    from mirror.config import load_config, to_toml
    from mirror.routing import names_of

    loaded = load_config(config, os.environ)
    check(loaded, names_of(loaded))
    for section, program in missing_helpers(loaded):
        typer.echo(f"warning: upstreams.{section}: {program} is not on the PATH", err=True)
    shown = to_toml(loaded)
    typer.echo(json.dumps(tomllib.loads(shown)) + "\n" if as_json else shown, nl=False)


@cli.command()
def wire(
    client: Annotated[
        Literal["docker", "containerd", "podman", "k3s", "crio", "buildkit"],
        typer.Argument(help="Whose configuration it is; podman's is buildah's and skopeo's, too."),
    ],
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="How clients reach this server, if neither it nor its configuration can say."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the files instead of printing them.")] = False,
    root: Annotated[Path, typer.Option(help="The folder that the files are below.")] = Path("/"),
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Print, or write, what a client needs to pull from here.

    That is for every upstream of the configuration.

    Example: mirror wire containerd --server http://mirror.example.com:5000 --write
    """
    from mirror.commands.client import running_at
    from mirror.config import load_config
    from mirror.wiring import report
    from mirror.wiring.clients import files_for
    from mirror.wiring.server import find_server
    from mirror.wiring.write import place, write_all

    loaded = load_config(config, os.environ)
    listen = loaded.server.listen
    if server is None and not loaded.server.external_url and (running := running_at(loaded.storage.root)):
        if running != listen:
            typer.echo(f"the server that runs on {loaded.storage.root.absolute()} listens on {running}", err=True)
        listen = running
    found = find_server(server, loaded.server.external_url, listen)
    files = files_for(client, found, {upstream.host: upstream.default for upstream in loaded.upstreams.values()})
    if write:
        placed = place(root, files)
        write_all(placed)
        typer.echo(report.listed_written(placed) if as_json else report.written(placed), nl=False)
    else:
        typer.echo(report.listed(root, files) if as_json else report.printed(root, files), nl=False)


_COMMANDS = (
    finding.search,
    finding.ls,
    finding.inspect,
    finding.history,
    images.refresh,
    images.status,
    images.warm,
    upstreams.upstreams,
    running.server,
    shells.completion,
)
for command in _COMMANDS:
    cli.command()(command)


def main() -> None:
    """Run the command line; expected failures are a message and an exit code, never a traceback."""
    try:
        cli()
    except (StartError, StorageError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code if isinstance(error, StartError) else 1)


if __name__ == "__main__":
    main()
