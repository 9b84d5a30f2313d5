"""Kill the server in the middle of its work, over and over: `python -m tests.crash --kills 1000 --seed 7`."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.crash.rounds import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=25, help="how many kills in the middle of work (default 25)")
    parser.add_argument("--seed", type=int, default=None, help="of everything that is chosen; timing is not")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    report = asyncio.run(run(arguments.kills, seed, folder))
    print(report)
    if report.broken:
        print(f"the store is kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
