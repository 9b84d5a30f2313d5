"""Build the clients that Debian has no package of: `python -m tests.clients` (make programs)."""

import os
import shutil
import subprocess
import sys

from tests.clients.processes import BUILT, GO_MODULE

_NO_GO = 3


def main() -> int:
    """Go builds what is not built yet, and what another version has been asked for of."""
    if shutil.which("go") is None:
        print(
            "oras, helm, cosign and others cannot be built: they are Go programs, and there is no Go", file=sys.stderr
        )
        return _NO_GO
    BUILT.mkdir(exist_ok=True)
    # Without C: what is built here needs no compiler but Go's, and no library.
    environment = os.environ | {"CGO_ENABLED": "0"}
    command = ["go", "build", "-C", str(GO_MODULE), "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", f"{BUILT}/"]
    return subprocess.run([*command, "tool", "./..."], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
