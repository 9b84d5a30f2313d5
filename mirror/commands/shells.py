"""Completion of the command line by the shell."""

from typing import Annotated, Literal

import typer


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Whose script it is.")]) -> None:
    """Print the script by which a shell completes commands.

    For bash, in ~/.bashrc: eval "$(mirror completion bash)". For zsh: mirror completion zsh > ~/.zfunc/_mirror. For
    fish: mirror completion fish > ~/.config/fish/completions/mirror.fish

    Example: mirror completion bash > /etc/bash_completion.d/mirror
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # meant for us, if not said so

    typer.echo(get_completion_script(prog_name="mirror", complete_var="_MIRROR_COMPLETE", shell=shell))
