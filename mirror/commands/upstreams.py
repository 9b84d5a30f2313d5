"""How the upstreams of the running server are doing: `mirror upstreams`."""

import json

import typer

from mirror.commands.options import ConfigOption, JsonOption, ServerOption


def upstreams(config: ConfigOption = None, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Which upstreams answer, and what has gone wrong.

    Also how many pulls are left at them. Asks no upstream.

    Exits 1 if there is one that does not answer; 3 if no server could say.

    Example: mirror upstreams --config /etc/registry-mirror/config.toml
    """
    from mirror.commands import text
    from mirror.commands.client import server_of

    found = server_of(config, server).tell("upstreams")["upstreams"]
    for upstream in found if as_json else []:
        typer.echo(json.dumps(upstream))
    if not as_json:
        typer.echo(text.upstreams(found))
    silent = any(all(endpoint["answers"] is False for endpoint in upstream["endpoints"]) for upstream in found)
    raise typer.Exit(int(silent))
