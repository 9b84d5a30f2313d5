"""A BuildKit of its own, beside any Docker: buildkitd with runc, and the buildctl that talks to it."""

from pathlib import Path

from tests.clients.processes import CommandFailed, Daemon, fence, find, run, with_own_mounts
from tests.clients.programs import StorageDriver


class BuildKit:
    """`settings` is its buildkitd.toml, which sends it to the mirror."""

    def __init__(self, folder: Path, driver: StorageDriver, settings: Path) -> None:
        find("runc")
        self._env = fence(folder / "home")
        self._socket = f"unix://{folder}/socket"
        options = {
            "--config": str(settings),
            "--root": f"{folder}/root",
            "--addr": self._socket,
            "--otel-socket-path": f"{folder}/otel",
            "--oci-worker": "true",
            "--containerd-worker": "false",
            "--oci-worker-snapshotter": "overlayfs" if driver == "overlay" else "native",
        }
        argv = with_own_mounts("buildkitd", *(f"{name}={value}" for name, value in options.items()))
        self._daemon = Daemon("buildkitd", folder, argv, self._env)

    def start(self) -> None:
        self._daemon.start(self._ready, timeout=40)

    def stop(self) -> None:
        self._daemon.stop()

    def __call__(self, *args: str, timeout: float = 60) -> str:
        return run([find("buildctl"), "--addr", self._socket, *args], self._env, timeout=timeout)

    def build(self, context: Path, *options: str) -> None:
        """By the folder's Dockerfile. What is built is thrown away, unless the options say where to."""
        self(
            "build",
            "--frontend=dockerfile.v0",
            f"--local=context={context}",
            f"--local=dockerfile={context}",
            "--opt=force-network-mode=none",
            "--progress=plain",
            *options,
        )

    def clear(self) -> None:
        """Forget every layer, and every step that was built."""
        self("prune", "--all")

    def _ready(self) -> bool:
        try:
            self("debug", "workers")
        except CommandFailed:
            return False
        return True
