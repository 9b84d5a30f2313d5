"""The command line as its users have it: a process of its own, its output, its exit code."""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout

from mirror import __version__
from tests.fakes.faults import Hang
from tests.fakes.images import random_blob
from tests.fakes.upstream import FakeHub
from tests.mirror.wire import NAME, blob, until

DIGEST, DATA = random_blob("cli", 3_000_000)
ROOT = Path(__file__).parents[2]


class Program:
    """`mirror` with a configuration of its own; whatever was started is ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "MIRROR_SERVER__LISTEN": "127.0.0.1:0",
            "MIRROR_STORAGE__ROOT": str(folder / "store"),
        }
        self._started: list[asyncio.subprocess.Process] = []

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self._run(sys.executable, "-m", "mirror", *arguments, **environment)

    async def run_program(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Another program, in the same surroundings."""
        return await asyncio.to_thread(self._run, *command)

    def _run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    async def run_aside(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The same, while this loop goes on."""
        return await asyncio.to_thread(self.run, *arguments, **environment)

    async def serve(self, stderr: int | None = None, /, **environment: str) -> tuple[asyncio.subprocess.Process, str]:
        """A running server and its URL; `stderr` instead of the file `log`."""
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mirror", "serve"),
                env=self.environment | environment,
                cwd=self.folder,
                stdout=asyncio.subprocess.PIPE,
                stderr=log if stderr is None else stderr,
            )
        self._started.append(process)
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        match = re.fullmatch(r"listening on (http://127\.0\.0\.1:[0-9]+)\n", line)
        assert match is not None, (line, (self.folder / "log").read_text())
        return process, match[1]

    async def logged(self, event: str) -> dict[str, object]:
        """The one line about it, as soon as it is in the file `log`, which is written behind the server's back."""

        def lines() -> list[dict[str, object]]:
            whole = (self.folder / "log").read_text().rpartition("\n")[0].splitlines()
            return [line for line in map(json.loads, whole) if line["event"] == event]

        await until(lambda: bool(lines()))
        (line,) = lines()
        return line

    async def close(self) -> None:
        for process in self._started:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    started = Program(tmp_path)
    yield started
    await started.close()


async def test_version(program: Program) -> None:
    done = await program.run_aside("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"registry-mirror {__version__}\n", "")


async def test_help(program: Program) -> None:
    top = await program.run_aside("--help")
    assert top.returncode == 0
    assert "..." not in top.stdout.partition("Commands:")[2], "a summary is one line"
    for command in ("serve", "migrate", "check-config", "wire", "refresh", "status", "warm", "server"):
        assert command in top.stdout
        done = await program.run_aside(command, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        for word in ("--config", "--json", "Example: "):
            assert word in done.stdout


async def test_check_config(program: Program) -> None:
    config = program.folder / "config.toml"
    config.write_text(
        '[server]\nlisten = "127.0.0.1:1"\n[upstreams.hub]\nhost = "docker.io"\nurl = "https://r.example"\n'
        'username = "operator"\npassword = "canary"\n'
    )
    done = await program.run_aside("check-config", "--config", str(config), MIRROR_UPSTREAMS__HUB__TAG_TTL="1h")
    assert (done.returncode, done.stderr) == (0, "")
    assert 'listen = "127.0.0.1:0"' in done.stdout  # the environment wins
    assert 'password = "********"' in done.stdout
    assert 'tag_ttl = "1h"' in done.stdout
    assert "canary" not in done.stdout
    by_variable = await program.run_aside("check-config", MIRROR_CONFIG=str(config))
    assert 'username = "operator"' in by_variable.stdout
    assert not (program.folder / "store").exists()


async def test_check_config__json(program: Program) -> None:
    environment = {
        "MIRROR_UPSTREAMS__DOCKERHUB__USERNAME": "operator",
        "MIRROR_UPSTREAMS__DOCKERHUB__PASSWORD": "canary",
    }
    done = await program.run_aside("check-config", "--json", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    shown = json.loads(done.stdout)
    assert shown["server"]["listen"] == "127.0.0.1:0"
    hub = shown["upstreams"]["dockerhub"]
    assert (hub["username"], hub["password"], hub["stale_if_error"]) == ("operator", "********", "forever")


async def test_check_config__a_list_of_images(program: Program) -> None:
    config = program.folder / "config.toml"
    config.write_text('[[warm]]\nfile = "images"\n')
    done = await program.run_aside("check-config", "--config", "config.toml")
    assert (done.returncode, done.stderr) == (2, "error: warm: file images: No such file or directory\n")
    (program.folder / "images").write_text("nginx\n\nhttps://nginx\n")
    for command in ("check-config", "serve"):
        done = await program.run_aside(command, "--config", "config.toml")
        assert (done.returncode, done.stdout) == (2, "")
        assert "error: warm: file images, line 3: 'https://nginx' is not the name of an image: " in done.stderr
    (program.folder / "images").write_text("nginx\n")
    assert (await program.run_aside("check-config", "--config", "config.toml")).returncode == 0


WIRED = "http://mirror.example.com:5000"


async def test_wire__prints(program: Program) -> None:
    config = program.folder / "config.toml"
    config.write_text(
        '[server]\nexternal_url = "https://mirror.example.com/"\n'
        '[upstreams.a]\nhost = "docker.io"\nurl = "https://r.example"\n'
        '[upstreams.b]\nhost = "ghcr.io"\nurl = "https://ghcr.io"\n'
    )
    done = await program.run_aside("wire", "k3s", "--config", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "# /etc/rancher/k3s/registries.yaml\n"
        'mirrors:\n  "docker.io":\n    endpoint:\n      - "https://mirror.example.com"\n'
        '  "ghcr.io":\n    endpoint:\n      - "https://mirror.example.com"\n'
        "\n# Then: restart k3s: systemctl restart k3s (k3s-agent where it is an agent)\n"
    )
    several = await program.run_aside("wire", "containerd", "--config", str(config))
    assert several.stdout.count("# Then: ") == 1
    assert several.stdout.count("# /etc/containerd/certs.d/") == 2


async def test_wire__without_any_configuration(program: Program) -> None:
    done = await program.run_aside("wire", "docker", "--json", MIRROR_SERVER__LISTEN="127.0.0.1:5000")
    assert done.returncode == 0
    (file,) = json.loads(done.stdout)
    assert file.keys() == {"path", "content", "then"}
    assert file["path"] == "/etc/docker/daemon.json"
    assert json.loads(file["content"]) == {"registry-mirrors": ["http://127.0.0.1:5000"]}
    assert file["then"] == "restart Docker: systemctl restart docker"


async def test_wire__writes(program: Program) -> None:
    arguments = ["wire", "podman", "--server", WIRED, "--write", "--root", str(program.folder)]
    first, second = await program.run_aside(*arguments), await program.run_aside(*arguments)
    file = program.folder / "etc/containers/registries.conf.d/registry-mirror.conf"
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith(f"{file}: written\nThen: ")
    assert second.stdout == f"{file}: unchanged, it was like this already\n"
    assert 'location = "mirror.example.com:5000/docker.io"' in file.read_text()
    listed = json.loads((await program.run_aside(*arguments, "--json")).stdout)
    assert [(entry["path"], entry["content"], entry["changed"]) for entry in listed] == [
        (str(file), file.read_text(), False)
    ]


async def test_wire__the_running_server_says_where_it_is(program: Program) -> None:
    """The configuration may say another address than the one that was given when it was started."""
    _, url = await program.serve()
    asked = {"MIRROR_SERVER__LISTEN": "127.0.0.1:1"}
    done = await program.run_aside("wire", "k3s", **asked)
    assert f'- "{url}"\n' in done.stdout
    said = f"the server that runs on {program.folder / 'store'} listens on {url.removeprefix('http://')}\n"
    assert (done.returncode, done.stderr) == (0, said)
    for arguments, environment in ((["--server", WIRED], {}), ([], {"MIRROR_SERVER__EXTERNAL_URL": WIRED})):
        done = await program.run_aside("wire", "k3s", *arguments, **asked, **environment)
        assert (WIRED in done.stdout, done.stderr) == (True, "")


async def test_wire__running_on_every_address(program: Program) -> None:
    program.environment["MIRROR_SERVER__LISTEN"] = "0.0.0.0:0"
    with pytest.raises(AssertionError, match="listening on"):
        await program.serve()  # it is running, at an address that is not the usual one
    done = await program.run_aside("wire", "k3s", MIRROR_SERVER__LISTEN="127.0.0.1:5000")
    assert (done.returncode, done.stdout) == (2, "")
    assert "every address of this machine: say how clients reach it" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["k3s"], 2, "server.listen is 127.0.0.1:0, a port that is known only when the server runs: say how clients"),
        (["k3s", "--server", "mirror"], 2, "--server: not the URL of a server; write it like http://mirror.exam"),
        (["k3s", "--server", WIRED, "--config", "none.toml"], 2, "none.toml: No such file or directory"),
        (["k3s", "--server", WIRED, "--write", "--root", "none"], 2, "--root none: there is no such folder"),
        (["k3s", "--server", WIRED, "--write", "--root", "."], 1, "etc/rancher/k3s/registries.yaml: left as it is: "),
        (["docker", "--server", WIRED, "--write", "--root", "/proc"], 1, "/proc/etc/docker/daemon.json: cannot be "),
    ],
)
async def test_wire__refuses_in_one_line(program: Program, arguments: list[str], code: int, message: str) -> None:
    theirs = program.folder / "etc/rancher/k3s/registries.yaml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mirrors: {}\n")
    done = await program.run_aside("wire", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert theirs.read_text() == "mirrors: {}\n"


async def test_wire__unknown_client(program: Program) -> None:
    done = await program.run_aside("wire", "dokcer")
    assert (done.returncode, done.stdout, "'containerd'" in done.stderr) == (2, "", True)


@pytest.mark.parametrize("command", ["check-config", "serve", "migrate"])
async def test_wrong_config__exits_2_with_the_key(program: Program, command: str) -> None:
    done = await program.run_aside(command, MIRROR_SERVER__LISTNE="x", MIRROR_LOG__LEVEL="loud")
    assert (done.returncode, done.stdout) == (2, "")
    assert "server.listne: unknown key" in done.stderr
    assert "log.level: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (program.folder / "store").exists()


async def test_wrong_config__file(program: Program) -> None:
    done = await program.run_aside("serve", "--config", "none.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: none.toml: No such file or directory\n"


async def test_wrong_config__password_file(program: Program) -> None:
    environment = {
        "MIRROR_UPSTREAMS__DOCKERHUB__USERNAME": "operator",
        "MIRROR_UPSTREAMS__DOCKERHUB__PASSWORD_FILE": str(program.folder / "none"),
    }
    for command in ("check-config", "serve"):
        done = await program.run_aside(command, **environment)
        said = f"error: upstreams.dockerhub: password_file {program.folder / 'none'}: No such file or directory\n"
        assert (done.returncode, done.stderr) == (2, said)


REFUSED = [
    ('[upstreams.ghcr]\nca_file = "none.pem"\n', "upstreams.ghcr: ca_file none.pem: No such file or directory"),
    (
        '[upstreams.ghcr]\nca_file = "config.toml"\n',
        "upstreams.ghcr: ca_file config.toml: not certificates in PEM form",
    ),
    (
        '[[warm]]\nimages = ["nginx", "ghcr.io/org/app"]\n',
        "warm: ghcr.io/org/app:latest: no upstream is called 'ghcr.io'; known: docker.io",
    ),
    (
        '[[warm]]\nfile = "config.toml"\n# x\n[[warm]]\nfile="list"\n',
        "warm: file config.toml, line 1: '[[warm]]' is not the name of an image",
    ),
    (
        '[[warm]]\nfile = "images"\n',
        "warm: file images, line 2: localhost:5000/nginx: no upstream is called 'localhost:5000'; known: docker.io; "
        "leave the mirror's own address out: nginx",
    ),
]


@pytest.mark.parametrize(("config", "said"), REFUSED, ids=[said for _, said in REFUSED])
@pytest.mark.parametrize("command", ["check-config", "serve"])
async def test_wrong_config__only_seen_beside_the_file(program: Program, command: str, config: str, said: str) -> None:
    """`check-config` lets nothing through that `serve` refuses, and neither touches the store."""
    (program.folder / "config.toml").write_text(config)
    (program.folder / "images").write_text("nginx\nlocalhost:5000/nginx\n")
    done = await program.run_aside(command, "--config", "config.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said}")
    assert not (program.folder / "store").exists()


async def test_credential_helper_that_is_not_there(program: Program) -> None:
    """It may come later: that is worth a line, not an end."""
    (program.folder / "config.toml").write_text('[upstreams.ghcr]\ncredential_helper = "nobodys"\n')
    done = await program.run_aside("check-config", "--config", "config.toml")
    assert done.returncode == 0
    assert done.stderr == "warning: upstreams.ghcr: docker-credential-nobodys is not on the PATH\n"
    await program.serve(MIRROR_CONFIG="config.toml")
    missing = await program.logged("a credential helper is not on the PATH")
    assert (missing["level"], missing["helper"]) == ("warning", "docker-credential-nobodys")
    told = await program.logged("pulling from these upstreams")
    assert (told["upstreams"], told["default"]) == (["ghcr.io"], None)


async def test_unknown_command(program: Program) -> None:
    done = await program.run_aside("srve")
    assert (done.returncode, "srve" in done.stderr) == (2, True)


async def test_migrate(program: Program) -> None:
    first, second = await program.run_aside("migrate"), await program.run_aside("migrate")
    assert (first.returncode, second.returncode) == (0, 0)
    assert "up to date now" in first.stdout
    assert "was up to date" in second.stdout
    assert (program.folder / "store" / "index.sqlite").exists()
    third = await program.run_aside("migrate", "--json")
    assert json.loads(third.stdout) == {"store": str(program.folder / "store"), "changed": False}


async def test_serve__answers_and_ends(program: Program) -> None:
    process, url = await program.serve()
    async with ClientSession() as session, session.get(f"{url}/v2/") as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    log = (program.folder / "log").read_text()
    assert '"event": "stopped"' in log
    assert "Traceback" not in log
    process, _ = await program.serve()  # and begins again, without anything to repair
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert "not closed properly" not in (program.folder / "log").read_text()


async def test_serve__json(program: Program) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mirror", "serve", "--json"),
        env=program.environment,
        cwd=program.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    url = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))["listening"]
    async with ClientSession() as session, session.get(f"{url}/v2/") as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_second_server_on_a_store(program: Program) -> None:
    process, url = await program.serve()
    for command in ("serve", "migrate"):
        done = await program.run_aside(command)
        assert (done.returncode, done.stdout) == (1, "")
        assert str(process.pid) in done.stderr
        assert str(program.folder / "store") in done.stderr
        assert "Traceback" not in done.stderr
    async with ClientSession() as session, session.get(f"{url}/readyz") as answer:
        assert answer.status == 200
    process.kill()
    await process.wait()
    process, _ = await program.serve()  # the lock went with the process
    await until(lambda: "not closed properly" in (program.folder / "log").read_text())


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def test_port_in_use(program: Program, taken: int) -> None:
    done = await program.run_aside("serve", MIRROR_SERVER__LISTEN=f"127.0.0.1:{taken}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        f"error: cannot listen on 127.0.0.1:{taken}: Address already in use; "
        "set server.listen (or MIRROR_SERVER__LISTEN) to another address"
    )
    assert "Traceback" not in done.stderr
    await program.serve()  # the store was closed properly
    assert "not closed properly" not in (program.folder / "log").read_text()


@pytest.mark.parametrize("host", ["192.0.2.1", "nothing.invalid"])
async def test_address_that_is_not_ours(program: Program, host: str) -> None:
    done = await program.run_aside("serve", MIRROR_SERVER__LISTEN=f"{host}:5000")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"cannot listen on {host}:5000" in done.stderr


async def test_store_that_cannot_be_used(program: Program) -> None:
    (program.folder / "file").write_text("not a folder")
    done = await program.run_aside("serve", MIRROR_STORAGE__ROOT=str(program.folder / "file"))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert str(program.folder / "file") in done.stderr


async def test_store_of_a_newer_version(program: Program) -> None:
    await program.run_aside("migrate")
    connection = sqlite3.connect(program.folder / "store" / "index.sqlite")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    done = await program.run_aside("serve")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "newer" in done.stderr


def upstream_environment(hub: FakeHub) -> dict[str, str]:
    return {
        "MIRROR_UPSTREAMS__DOCKERHUB__URL": hub.url,
        "MIRROR_UPSTREAMS__DOCKERHUB__TOKEN_HOSTS": hub.token_host,
        "MIRROR_UPSTREAMS__DOCKERHUB__REDIRECT_HOSTS": hub.cdn_host,
    }


async def test_sigterm__lets_a_running_download_end(program: Program, hub: FakeHub) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", 1000))
    process, url = await program.serve(**upstream_environment(hub))
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession())
        answer = await stack.enter_async_context(session.get(url + blob(DIGEST)))
        assert await answer.content.readexactly(999) == DATA[:999]
        process.send_signal(signal.SIGTERM)
        await until(lambda: "stopping" in (program.folder / "log").read_text())
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the kernel likes
            await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        assert process.returncode is None
        hub.release()
        assert await answer.content.read() == DATA[999:]
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_sigterm__lets_a_push_finish(program: Program) -> None:
    """The rest of its body is still read; then its connection ends, and so does the server, without waiting longer."""
    process, url = await program.serve(MIRROR_SERVER__DRAIN_TIMEOUT="20s")
    path = f"/v2/team/app/blobs/uploads/?digest={DIGEST}"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(DATA)}\r\n\r\n".encode() + DATA[:1000])
    await writer.drain()
    await asyncio.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    await until(lambda: "stopping" in (program.folder / "log").read_text())
    await asyncio.sleep(0.3)
    writer.write(DATA[1000:])
    answer = (await asyncio.wait_for(reader.read(), 10)).decode()
    assert answer.startswith("HTTP/1.1 201 Created\r\n")
    assert "\r\nConnection: close\r\n" in answer
    assert await asyncio.wait_for(process.wait(), 10) == 0
    writer.close()


async def test_sigterm__waits_no_longer_than_drain_timeout(program: Program, hub: FakeHub) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", 1000))
    process, url = await program.serve(**upstream_environment(hub), MIRROR_SERVER__DRAIN_TIMEOUT="500ms")
    async with ClientSession() as session, session.get(url + blob(DIGEST)) as answer:
        await answer.content.readexactly(999)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
        assert 0.4 < time.monotonic() - began < 5
    log = (program.folder / "log").read_text()
    assert "Traceback" not in log
    (cut,) = [json.loads(line) for line in log.splitlines() if "cut what was still under way" in line]
    assert cut["requests"] == 1


async def test_sigterm__twice_does_not_wait(program: Program, hub: FakeHub) -> None:
    hub.add_blob(NAME, DATA)
    hub.fault("cdn", Hang("body", 1000))
    process, url = await program.serve(**upstream_environment(hub))
    async with ClientSession() as session, session.get(url + blob(DIGEST)) as answer:
        await answer.content.readexactly(999)
        process.send_signal(signal.SIGTERM)
        await until(lambda: "stopping" in (program.folder / "log").read_text())
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 10)
    assert process.returncode == 0


async def test_log_that_nobody_reads(program: Program) -> None:
    """A pipe takes 64 KiB; then whoever writes to it waits. The server must not."""
    nobody_reads, stderr = os.pipe()
    process, url = await program.serve(stderr)
    os.close(stderr)
    async with ClientSession(timeout=ClientTimeout(total=10)) as session:
        for number in range(300):
            async with session.get(f"{url}/v2/{'x' * 900}/{number}") as answer:
                assert answer.status == 404
        async with session.get(f"{url}/healthz") as answer:
            assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    os.close(nobody_reads)


async def test_without_the_c_parser(program: Program) -> None:
    done = await program.run_aside("serve", AIOHTTP_NO_EXTENSIONS="1")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "C parser" in done.stderr
