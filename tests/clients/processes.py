"""How the tests run other people's programs: found or skipped, fenced in on loopback, and always stopped."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
# Names the programs that are built here, and their versions.
GO_MODULE = Path(__file__).parent / "go"
BUILT = _ROOT / ".clients"

PACKAGES: Mapping[str, str] = {
    "buildah": "buildah",
    "busybox": "busybox-static",
    "containerd": "containerd",
    "ctr": "containerd",
    "debootstrap": "debootstrap",
    "docker": "docker.io",
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "openssl": "openssl",
    "podman": "podman",
    "runc": "runc",
    "setpriv": "util-linux",
    "skopeo": "skopeo",
    "umoci": "umoci",
    "unshare": "util-linux",
}
_GO_PROGRAMS = ("buildctl", "buildkitd", "cosign", "crane", "helm", "k3s-pull", "oras")
_DEBIAN_FIRST = "/usr/sbin:/usr/bin:/sbin:/bin"
SEARCH_PATH = f"{_DEBIAN_FIRST}:{os.environ.get('PATH', '')}"
_NOWHERE = "http://127.0.0.1:9"


class CommandFailed(AssertionError):
    """A program ended with an error, or did not end; `output` is all it printed."""

    def __init__(self, argv: Sequence[str], how: str, output: str) -> None:
        super().__init__(f"{how}: {' '.join(argv)}\n{output}")
        self.output = output


def find(program: str) -> str:
    """The program's path, Debian's own before any other, or the one built; skips the test, saying how to get it."""
    built = program in _GO_PROGRAMS
    path = shutil.which(program, path=str(BUILT) if built else SEARCH_PATH)
    if path is None:
        how = "make programs (needs Go)" if built else f"apt-get install {PACKAGES[program]}"
        pytest.skip(f"{program} is missing: {how}")
    return path


def need_root(program: str) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"{program} mounts file systems: run the tests as root")


def with_own_mounts(*argv: str) -> list[str]:
    """The command in a mount namespace of its own: what it mounts is gone as soon as it ends, however it ends."""
    need_root(argv[0])
    return [find("unshare"), "--mount", find(argv[0]), *argv[1:]]


def fence(home: Path) -> dict[str, str]:
    """An environment for one program: a home of its own, and every way out of loopback closed.

    Go programs never use a proxy for loopback; for everything else they are sent to a port where nothing listens. An
    image that arrives although the mirror did not deliver it can therefore not have come from the real Docker Hub.
    """
    home.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "PATH": _DEBIAN_FIRST,
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "HTTP_PROXY": _NOWHERE,
        "HTTPS_PROXY": _NOWHERE,
    }


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    stdin: str = "",
    timeout: float = 60,
    folder: Path | None = None,
) -> str:
    """What the program printed on stdout; CommandFailed with everything it printed if it did not end well."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv,
        cwd=folder,
        env=env,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
            raise CommandFailed(argv, f"no end after {timeout:.0f} s", "".join(process.communicate())) from None
        except BaseException:
            _kill_group(process.pid)
            raise
    if process.returncode != 0:
        raise CommandFailed(argv, f"exit code {process.returncode}", out + err)
    return out


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], timeout: float = 20) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Daemon:
    """A program in the background, its stdout and stderr in files; it never outlives the tests.

    The kernel kills it if the test process dies without cleaning up.
    """

    def __init__(self, name: str, folder: Path, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._argv = [find("setpriv"), "--pdeathsig", "KILL", *argv]
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._printed_before = 0
        self.stdout = folder / f"{name}.out"
        self.stderr = folder / f"{name}.err"

    def start(self, ready: Callable[[], bool], timeout: float = 20) -> None:
        assert self._process is None, "already running"
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            self._printed_before = out.tell()
            self._process = subprocess.Popen(
                self._argv, env=self._env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        if not wait_for(lambda: self._ended() or ready(), timeout) or self._ended():
            self.kill()
            raise CommandFailed(self._argv, "not ready", self.stderr.read_text(errors="replace")[-4000:])

    def printed(self) -> str:
        """What came on stdout since the last start."""
        return self.stdout.read_bytes()[self._printed_before :].decode(errors="replace")

    def stop(self) -> int:
        """Asks it to end, insists after a while; gives the exit code (0 if it was not running)."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            _kill_group(process.pid)
            process.wait()
