"""What `mirror wire` writes for clients, below a folder that stands for the root of a machine."""

import os
import sys
from pathlib import Path

from tests.clients.processes import run
from tests.clients.servers import Mirror


def wire(root: Path, mirror: Mirror, *clients: str) -> Path:
    """The `etc` of a machine whose clients are told about the mirror and its upstreams."""
    root.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    for client in clients:
        options = ["--config", str(mirror.config), "--server", mirror.url, "--write", "--root", str(root)]
        run([sys.executable, "-m", "mirror", "wire", client, *options], environment)
    return root / "etc"
