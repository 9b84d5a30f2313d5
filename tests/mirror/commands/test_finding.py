"""search, ls, inspect and history: tables for people, objects for programs, and exit codes."""

import json

import pytest
from typer.testing import CliRunner

from mirror.__main__ import cli
from tests.fakes.images import make_image, make_index
from tests.fakes.upstream import FakeHub
from tests.mirror.test_cli import Program, upstream_environment
from tests.mirror.test_cli import program as program
from tests.mirror.wire import NAME

IMAGES = [make_image("found", [2000, 3000], architecture=each) for each in ("amd64", "arm64")]
INDEX = make_index(IMAGES)


@pytest.fixture
async def serving(program: Program, hub: FakeHub) -> Program:
    """A server that has pulled an image, tag after tag."""
    await program.serve(**upstream_environment(hub))
    for number in range(1, 4):
        hub.add_index(NAME, str(number), INDEX)
        assert (await program.run_aside("warm", f"nginx:{number}")).returncode == 0
    return program


async def lines(program: Program, *command: str) -> list[str]:
    done = await program.run_aside(*command)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


async def objects(program: Program, *command: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in await lines(program, *command, "--json")]


async def test_search(serving: Program) -> None:
    head, row = await lines(serving, "search", "ngin", "amd64")
    assert (head.split()[0], row.split()) == ("name", ["nginx", "here"])
    assert [one["name"] for one in await objects(serving, "search", "ngin")] == ["nginx"]
    done = await serving.run_aside("search", "no-such-thing")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "nothing fits 'no-such-thing'\n")
    done = await serving.run_aside("search", "no-such-thing", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


async def test_ls(serving: Program) -> None:
    head, row = await lines(serving, "ls")
    assert head.split()[:3] == ["repository", "tags", "pulls"]
    assert row.split()[:3] == [f"docker.io/{NAME}", "3", "0"]
    _, *rows = await lines(serving, "ls", "nginx")
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert "linux/amd64,linux/arm64" in rows[0]
    assert [one["name"] for one in await objects(serving, "ls", "nginx", "--limit", "2")] == ["1", "2"]


async def test_inspect(serving: Program) -> None:
    shown = "\n".join(await lines(serving, "inspect", "nginx:1"))
    assert f"docker.io/{NAME}@{INDEX.digest}" in shown
    assert "linux/arm64" in shown
    image = IMAGES[0]
    shown = "\n".join(await lines(serving, "inspect", f"nginx@{image.digest}"))
    assert "layer 0" in shown
    assert "seed: found" in shown
    assert (await objects(serving, "inspect", "nginx:1"))[0]["digest"] == INDEX.digest


async def test_history(serving: Program) -> None:
    _, *rows = await lines(serving, "history", "nginx")
    assert [row.split()[2:4] for row in rows] == [["3", "pull"], ["2", "pull"], ["1", "pull"]]
    assert [one["tag"] for one in await objects(serving, "history", "nginx:2")] == ["2"]


async def test_history__of_none(serving: Program) -> None:
    done = await serving.run_aside("history", "nginx:none")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no move of nginx:none is known\n")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("ls", "none/such"), "none/such is not here; nobody has pulled or pushed it yet"),
        (("history", "none/such:1"), "none/such:1 is not here; nobody has pulled or pushed it yet"),
        (
            ("inspect", "nginx:none"),
            "nginx:none is not here; nobody has pulled or pushed it yet (mirror warm nginx:none pulls it)",
        ),
        (("inspect", "quay.example/app"), "quay.example/app:latest: no upstream is called 'quay.example'; "),
    ],
)
async def test_what_is_not_here(serving: Program, command: tuple[str, ...], said: str) -> None:
    done = await serving.run_aside(*command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {said}")


async def test_an_empty_store(program: Program, hub: FakeHub) -> None:
    await program.serve(**upstream_environment(hub))
    done = await program.run_aside("ls")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "nothing is here yet\n")
    done = await program.run_aside("ls", "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (("ls", "nginx:1.27"), "mirror inspect nginx:1.27"),
        (("ls", f"localhost:5000/nginx@{INDEX.digest}"), "mirror inspect"),
        (("history", f"nginx@{INDEX.digest}"), "mirror inspect"),
        (("ls", "No Name"), "is not the name of an image"),
        (("history", "nginx:"), "is not the name of an image"),
    ],
)
def test_another_kind_of_name(command: tuple[str, ...], instead: str) -> None:
    """Without asking anybody."""
    done = CliRunner().invoke(cli, [*command, "--server", "http://127.0.0.1:1"], terminal_width=400)
    assert (done.exit_code, done.stdout) == (2, "")
    assert instead in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize("command", [("search", "a"), ("ls",), ("inspect", "a"), ("history", "a")])
async def test_no_server(program: Program, command: tuple[str, ...]) -> None:
    done = await program.run_aside(*command)
    assert (done.returncode, done.stdout) == (3, "")
