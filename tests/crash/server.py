"""The real server as a process of its own, for being killed."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_NEVER_READY_SECONDS = 30.0


class NotReady(AssertionError):
    """The server ended, or said nothing for very long, instead of listening."""


class Server:
    """One server, or one after the other, on one store. `upstream` are the lines of its configuration for one."""

    def __init__(self, folder: Path, upstream: Sequence[str] = ()) -> None:
        self.store, self.log = folder / "data", folder / "log"
        self.url = ""
        self.killed = False
        self._config = folder / "mirror.toml"
        sections = ('[server]\nlisten = "127.0.0.1:0"', f'[storage]\nroot = "{self.store}"', "[upstreams]", *upstream)
        self._config.write_text("\n".join([*sections, "[log]", "access = false"]))
        self._process: subprocess.Popen[bytes] | None = None

    def spawn(self) -> None:
        """Begin to start. The kernel ends it, too, should this process end without doing so."""
        assert self._process is None, "already running"
        command = [sys.executable, "-m", "mirror", "serve", "--config", str(self._config)]
        if setpriv := shutil.which("setpriv"):
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=log)
        self.killed = False

    async def start(self) -> float:
        """Start, and wait until it listens; the seconds that took. Raises NotReady."""
        began = time.monotonic()
        self.spawn()
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_NEVER_READY_SECONDS):
                line = await asyncio.to_thread(self._process.stdout.readline)
        except TimeoutError:
            self.kill()  # which ends the reading, too
            line = b""
        match = re.fullmatch(rb"listening on (\S+)\n", line)
        if match is None:
            raise NotReady(f"the server does not start: {self.log.read_text(errors='replace')[-3000:]}")
        self.url = match[1].decode()
        return time.monotonic() - began

    def freeze(self) -> None:
        """Stop every thread of it where it is; what is sent to it piles up."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """kill -9. May be called from any thread."""
        assert self._process is not None
        self.killed = True
        self._process.kill()

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        process, self._process = self._process, None
        assert process is not None
        code = await asyncio.to_thread(process.wait)
        if process.stdout is not None:
            process.stdout.close()
        return code

    async def stop(self) -> int:
        """End it politely; the exit code."""
        assert self._process is not None
        self.killed = True
        self._process.terminate()
        return await self.ended()

    async def close(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self.kill()
            await self.ended()

    def errors(self) -> list[str]:
        """What it logged as an error in its last life, or did not log but print (a traceback). Blocking."""
        *lines, _cut = self.log.read_text(errors="replace").split("\n")
        return [line for line in lines if _level(line) not in ("debug", "info", "warning")]

    def has_swept(self) -> bool:
        """Whether it has removed what earlier ones left behind, to the end. Blocking."""
        return '"removed stray files"' in self.log.read_text(errors="replace")


def _level(line: str) -> object:
    try:
        return json.loads(line)["level"]
    except (ValueError, KeyError, TypeError):
        return None
