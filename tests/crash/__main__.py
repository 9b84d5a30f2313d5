"""`python -m tests.crash --kills 1000` (make crash N=1000)."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.crash.loop import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        try:
            print(asyncio.run(run(arguments.kills, arguments.seed, Path(folder))))
        except AssertionError as error:
            print(f"seed {arguments.seed}: BROKEN PROMISE: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
