"""Commands about the running server itself."""

import json

import typer

from mirror.commands.options import ConfigOption, JsonOption, ServerOption


def server(config: ConfigOption = None, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """Who the running server is, and what it keeps fresh.

    Of each [[warm]] section it says how the last run came out, and when the next one is.

    Exits 3 if there is no server.

    Example: mirror server --config /etc/registry-mirror/config.toml
    """
    from mirror.commands import text
    from mirror.commands.client import server_of

    asked = server_of(config, server)
    found = asked.tell("server") | asked.tell("warm")
    typer.echo(json.dumps(found) if as_json else text.server(found))
