"""Commands to the running server, as their users have them: two processes, and what they print."""

import asyncio
import json
import os
import pty
import signal
import stat
import sys
from contextlib import suppress

import pytest
from aiohttp import ClientSession

from mirror import __version__
from tests.fakes.faults import Hang, Status
from tests.fakes.images import make_image, make_index
from tests.fakes.upstream import FakeHub
from tests.mirror.test_cli import Program, upstream_environment
from tests.mirror.test_cli import program as program
from tests.mirror.wire import NAME, manifest, until

AMD64, ARM64 = make_image("c", [2000, 3000]), make_image("d", [1000], architecture="arm64")
INDEX = make_index([AMD64, ARM64])
COMMANDS = [("refresh", "nginx"), ("status", "nginx"), ("warm", "nginx"), ("server",), ("upstreams",)]


@pytest.fixture
async def serving(program: Program, hub: FakeHub) -> Program:
    """A running server before a hub that has an image."""
    hub.add_index(NAME, "1", INDEX)
    await program.serve(**upstream_environment(hub), MIRROR_UPSTREAMS__DOCKERHUB__PREFETCH="off")
    return program


@pytest.mark.parametrize("command", ["refresh", "status", "warm", "upstreams"])
async def test_help(program: Program, command: str) -> None:
    done = await program.run_aside(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("--config", "--json", "--server", "Example: mirror", *([] if command == "upstreams" else ["REF"])):
        assert word in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
async def test_no_server(program: Program, command: tuple[str, ...]) -> None:
    done = await program.run_aside(*command)
    assert (done.returncode, done.stdout) == (3, "")
    root = program.folder / "store"
    assert done.stderr == f"error: no server is running on {root}; start one with: mirror serve\n"
    assert not root.exists()


async def test_no_server__by_a_configuration(program: Program) -> None:
    (program.folder / "my.toml").write_text('[storage]\nroot = "elsewhere"\n')
    del program.environment["MIRROR_STORAGE__ROOT"]
    for arguments, environment in ((("--config", "my.toml"), {}), ((), {"MIRROR_CONFIG": "my.toml"})):
        done = await program.run_aside("status", "nginx", *arguments, **environment)
        assert done.returncode == 3
        assert str(program.folder / "elsewhere") in done.stderr
        assert done.stderr.endswith("start one with: mirror serve --config my.toml\n")


async def test_no_server__but_the_socket_of_one_that_was_killed(program: Program) -> None:
    process, _ = await program.serve()
    path = program.folder / "store" / "control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    process.kill()
    await process.wait()
    assert path.exists()
    assert "no server is running" in (await program.run_aside("status", "nginx")).stderr
    process, _ = await program.serve()
    assert (await program.run_aside("status", "nginx")).returncode == 1
    assert "NOT COMPLETE" in (await program.run_aside("status", "nginx")).stdout
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert not path.exists()


async def test_a_second_server_leaves_the_socket_alone(program: Program) -> None:
    process, url = await program.serve()
    for command in ("serve", "migrate"):
        done = await program.run_aside(command)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"(process {process.pid}), which serves {url}\n" in done.stderr
    assert (await program.run_aside("status", "nginx")).stdout != ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("refresh",),
        ("refresh", "Nginx"),
        ("status", "nginx", "alpine"),
        ("status", "nginx:"),
        ("status", "nginx", "--platform", "linux"),
        ("warm",),
        ("warm", "--file", "nothing"),
        ("warm", "a", "https://nginx"),
        ("warm", "--file", "list"),
    ],
)
async def test_usage(program: Program, arguments: tuple[str, ...]) -> None:
    (program.folder / "list").write_text("nginx\n\nNginx\n")
    done = await program.run_aside(*arguments)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False)
    assert "Usage" in done.stderr
    assert "list" not in arguments or "list, line 3: 'Nginx' is not the name of an image" in done.stderr


async def test_refresh(serving: Program, hub: FakeHub) -> None:
    done = await serving.run_aside("refresh", "nginx:1", "docker.io/library/nginx:1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"nginx:1: new, {INDEX.digest}\ndocker.io/library/nginx:1: unchanged, {INDEX.digest}\n"
    hub.add_image(NAME, "1", AMD64)
    done = await serving.run_aside("refresh", "nginx:1")
    assert done.stdout == f"nginx:1: moved from {INDEX.digest} to {AMD64.digest}\n"
    hub.clear()
    hub.delete_tag(NAME, "1")
    done = await serving.run_aside("refresh", "nginx:1", "nginx:nothing")
    assert (done.returncode, done.stdout) == (1, "")
    gone, nothing = done.stderr.splitlines()
    assert gone == f"nginx:1: gone, the upstream has it no more; {AMD64.digest} stays here"
    assert nothing.startswith("nginx:nothing: failed: ")
    hub.move_tag(NAME, "1", AMD64)
    assert (await serving.run_aside("refresh", "nginx:1")).stdout == f"nginx:1: new, {AMD64.digest}\n"
    hub.delete_tag(NAME, "1")
    done = await serving.run_aside("refresh", "--json", "nginx:1", "nginx:nothing")
    assert (done.returncode, done.stderr) == (1, "")
    assert [json.loads(line)["outcome"] for line in done.stdout.splitlines()] == ["gone", "failed"]
    assert hub.count("registry", "HEAD") == 2


async def test_warm_and_status(serving: Program, hub: FakeHub) -> None:
    assert (await serving.run_aside("status", "nginx:1")).returncode == 1
    assert hub.log() == []
    (serving.folder / "images").write_text("# ours\nnginx:1  # the web\n\n")
    done = await serving.run_aside("warm", "--file", "images", "--platform", "linux/amd64")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"nginx:1: finished layer {AMD64.layers[0][:19]} ") for line in lines)
    assert lines[-1].startswith("nginx:1: complete, ")
    hub.clear()
    done = await serving.run_aside("status", "nginx:1", "--platform", "linux/amd64")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("complete: 5 here (")
    done = await serving.run_aside("status", "nginx:1")
    assert done.returncode == 1
    assert ["manifest", "linux/arm64", ARM64.digest[:19]] in [line.split()[:3] for line in done.stdout.splitlines()]
    assert done.stdout.splitlines()[-1].startswith("NOT COMPLETE: ")
    done = await serving.run_aside("status", "nginx:1", "--json")
    assert (done.returncode, json.loads(done.stdout)["missing"]) == (1, 1)
    assert hub.log() == []


async def test_warm__names_what_could_not_be_had(serving: Program, hub: FakeHub) -> None:
    hub.fault("blob", Status(404), match=AMD64.layers[0])
    done = await serving.run_aside("warm", "nginx:1", "nginx:nothing")
    assert done.returncode == 1
    errors = sorted(done.stderr.splitlines())
    assert errors[0].startswith(f"error: nginx:1: layer {AMD64.layers[0]}: ")
    assert errors[1].startswith("error: nginx:nothing: ")
    done = await serving.run_aside("warm", "nginx:1", "--json")
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, steps[-1]["event"], steps[-1]["role"]) == (1, "failed", "image")


async def test_server(program: Program, hub: FakeHub) -> None:
    hub.add_image(NAME, "1", AMD64)
    (program.folder / "my.toml").write_text(
        f'[upstreams.dockerhub]\nurl = "{hub.url}"\ntoken_hosts = ["{hub.token_host}"]\n'
        f'redirect_hosts = ["{hub.cdn_host}"]\n[[warm]]\nimages = ["nginx:1"]\n'
    )
    process, url = await program.serve(MIRROR_CONFIG="my.toml")
    done = await program.run_aside("server")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == [f"version: {__version__}", f"process: {process.pid}", f"url: {url}"]
    assert lines[3].startswith("warm 1: ")
    said = json.loads((await program.run_aside("server", "--json")).stdout)
    assert (said["pid"], said["schedules"][0]["images"]) == (process.pid, ["nginx:1"])


async def test_warm__a_bar_on_a_terminal(serving: Program) -> None:
    ours, theirs = pty.openpty()
    environment = serving.environment | {"TERM": "xterm", "COLUMNS": "100"}
    command = (sys.executable, "-m", "mirror", "warm", "nginx:1")
    process = await asyncio.create_subprocess_exec(*command, env=environment, cwd=serving.folder, stdout=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the other end is closed: that is how a terminal ends
        while piece := await asyncio.to_thread(os.read, ours, 1000):
            shown += piece
    os.close(ours)
    assert await process.wait() == 0
    assert b"nginx:1: complete, " in shown
    assert b"fetching" in shown


async def test_warm__a_server_that_ends_meanwhile(program: Program, hub: FakeHub) -> None:
    hub.add_index(NAME, "1", INDEX)
    hub.fault("cdn", Hang("body", 10))
    process, url = await program.serve(**upstream_environment(hub))
    order = asyncio.create_task(program.run_aside("warm", "nginx:1"))
    await until(lambda: hub.count("cdn") > 0)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    done = await order
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].endswith("ended before it had answered")
    process, url = await program.serve(**upstream_environment(hub))
    async with ClientSession() as session, session.get(url + manifest("1")) as answer:
        assert answer.status == 200


async def test_warm__ctrl_c(program: Program, hub: FakeHub) -> None:
    """What is under way arrives all the same."""
    hub.add_index(NAME, "1", INDEX)
    hub.fault("cdn", Hang("body", 10))
    await program.serve(**upstream_environment(hub))
    # Whoever starts the tests in the background may have them ignore the signal, and so whatever they start.
    command = ("env", "--default-signal=INT", sys.executable, "-m", "mirror", "warm", "nginx:1")
    order = await asyncio.create_subprocess_exec(
        *command,
        env=program.environment,
        cwd=program.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await until(lambda: hub.count("cdn") == 5)
    order.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(order.communicate(), 20)
    assert (order.returncode, b"Traceback" in errors) == (130, False)
    hub.clear_faults()
    blobs = program.folder / "store" / "blobs" / "sha256"
    wanted = [blobs / digest[7:9] / digest[7:] for image in INDEX.images for digest in image.blobs]
    await until(lambda: all(path.exists() for path in wanted))


async def test_upstreams(serving: Program, hub: FakeHub) -> None:
    hub.rate_limit = 4
    assert (await serving.run_aside("refresh", "nginx:1")).returncode == 0
    done = await serving.run_aside("upstreams")
    assert (done.returncode, done.stderr) == (0, "")
    head, row, now = done.stdout.splitlines()
    assert head.split() == ["upstream", "endpoint", "account", "pulls", "left", "limited"]
    assert row.split() == ["docker.io", hub.url, "answers", "anonymous", "4", "of", "4", "SCARCE", "-"]
    assert now.startswith("docker.io: 0 requests under way, 0 waiting, ")
    done = await serving.run_aside("upstreams", "--json")
    assert json.loads(done.stdout)["endpoints"][0]["accounts"][0]["budget"]["remaining"] == 4


async def test_upstreams__one_that_was_never_asked(serving: Program, hub: FakeHub) -> None:
    done = await serving.run_aside("upstreams")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == [
        "docker.io",
        hub.url,
        *["not", "asked", "yet", "anonymous", "-", "-"],
    ]
    assert json.loads((await serving.run_aside("upstreams", "--json")).stdout)["endpoints"][0]["answers"] is None
    assert hub.log() == []


async def test_upstreams__one_that_fails(serving: Program, hub: FakeHub) -> None:
    hub.fault("manifest", Status(500))
    assert (await serving.run_aside("refresh", "nginx:1")).returncode == 1
    done = await serving.run_aside("upstreams")
    assert "docker.io: the upstream has a problem of its own (500) (" in done.stdout
    assert done.returncode == 0
    await hub.stop("registry")
    await serving.run_aside("refresh", "nginx:2")
    async with asyncio.timeout(20):
        while (done := await serving.run_aside("upstreams")).returncode == 0:
            await asyncio.sleep(0.1)
    assert "SILENT since 20" in done.stdout
