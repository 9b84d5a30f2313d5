"""The completion script, in a real bash."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from tests.mirror.test_cli import ROOT, Program
from tests.mirror.test_cli import program as program

# What bash does when TAB is pressed: it sets the words, calls the function that was registered, and reads COMPREPLY.
_COMPLETE = """
eval "$(mirror completion bash)"
function_name="$(complete -p mirror | sed -E 's/.* -F ([^ ]+) .*/\\1/')"
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
"$function_name" mirror
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def installed(program: Program) -> Program:
    """`mirror` on the PATH, as an installation has it."""
    folder = program.folder / "bin"
    folder.mkdir()
    script = folder / "mirror"
    text = f"#!{sys.executable}\nimport sys\nfrom mirror.__main__ import main\nsys.argv[0] = 'mirror'\nmain()\n"
    script.write_text(text)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    program.environment["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    assert Path(program.environment["PYTHONPATH"]) == ROOT
    return program


async def completed(program: Program, words: str) -> set[str]:
    bash = shutil.which("bash")
    assert bash is not None
    done = await program.run_program(bash, "--norc", "--noprofile", "-c", _COMPLETE.format(words=words))
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


COMMANDS = {
    "serve",
    "migrate",
    "check-config",
    "wire",
    "refresh",
    "status",
    "warm",
    "search",
    "ls",
    "inspect",
    "history",
    "upstreams",
    "server",
    "completion",
}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("mirror ''", COMMANDS),
        ("mirror s", {"search", "serve", "server", "status"}),
        ("mirror warm --", {"--file", "--platform", "--config", "--server", "--json", "--help"}),
        ("mirror status --pl", {"--platform"}),
        ("mirror status nginx --platform linux/arm", {"linux/arm64", "linux/arm/v7", "linux/arm/v6"}),
        ("mirror wire ''", {"docker", "containerd", "podman", "k3s", "crio", "buildkit"}),
        ("mirror completion z", {"zsh"}),
        ("mirror nothing-like-it", set()),
    ],
)
async def test_bash(installed: Program, words: str, expected: set[str]) -> None:
    assert await completed(installed, words) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_script(program: Program, shell: str) -> None:
    done = await program.run_aside("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_MIRROR_COMPLETE=complete_" + shell in done.stdout


async def test_another_shell(program: Program) -> None:
    done = await program.run_aside("completion", "tcsh")
    assert (done.returncode, done.stdout) == (2, "")
