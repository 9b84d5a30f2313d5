"""Build the clients that Debian has no package of: `python -m tests.clients` (make programs)."""

import os
import shutil
import subprocess
import sys

from tests.clients.processes import BUILT, GO_MODULE

_NO_GO = 3
_FLAGS = ("-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags=-s -w")


def main() -> int:
    """Go builds what is not built yet, and what another version has been asked for of."""
    if shutil.which("go") is None:
        print("oras, helm, cosign and others are Go programs, and there is no Go to build them", file=sys.stderr)
        return _NO_GO
    BUILT.mkdir(exist_ok=True)
    command = ["go", "build", "-C", str(GO_MODULE), *_FLAGS, "-o", f"{BUILT}/", "tool", "./..."]
    # Without C, all that it takes is Go.
    return subprocess.run(command, env=os.environ | {"CGO_ENABLED": "0"}).returncode


if __name__ == "__main__":
    sys.exit(main())
