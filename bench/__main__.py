"""`python -m bench`: start the servers, measure them side by side, write docs/benchmark.*."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench import peers
from bench.content import Sizes
from bench.picture import draw
from bench.report import Report, as_json, as_markdown, as_text
from bench.rows import ROWS, Row
from bench.run import run
from bench.stage import Stage, open_stage

_CHECKOUT = Path(__file__).resolve().parent.parent
_SCRATCH = _CHECKOUT / ".bench"
_ROUNDS = 5  # what is published has at least as many


def main() -> int:
    options = _options()
    if missing := peers.missing_programs():
        print(f"please install what is compared and what drives it: apt-get install {' '.join(missing)}")
        return 2
    peers.build_distribution()
    load = os.getloadavg()[0]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _scratch_folder() as folder:
        print(f"writing {options.rounds} rounds of random content ...", flush=True)
        with open_stage(folder, options.rounds, Sizes(), options.wrk_seconds) as stage:
            report = _report(options.rounds, load)
            _measure(_chosen_rows(options.only), stage, report)
    _write(report, options.output)
    return 1 if report.failed else 0


def _report(rounds: int, load: float) -> Report:
    """With everything but its rows."""
    return Report(f"{datetime.now(UTC):%Y-%m-%d}", _commit(), _machine(), load, peers.versions(), rounds, [])


def _measure(rows: list[Row], stage: Stage, report: Report) -> None:
    for row in rows:
        start = time.monotonic()
        results = run(row, stage, report.rounds, lambda line: print(line, flush=True))
        print(as_text(row, results), f"\n    took {time.monotonic() - start:.0f} s\n", flush=True)
        report.rows.append((row, results))


def _write(report: Report, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in (("json", as_json(report)), ("md", as_markdown(report)), ("svg", draw(report))):
        path = folder / f"benchmark.{ending}"
        path.write_text(text)
        print(f"wrote {os.path.relpath(path)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=_ROUNDS, help=f"how often each peer takes its turn (default {_ROUNDS})"
    )
    parser.add_argument("--quick", action="store_true", help="2 short rounds; not for docs/")
    parser.add_argument("--only", nargs="+", metavar="ROW", default=[], help="rows by number (P3) or key (cold-blob)")
    parser.add_argument(
        "--output",
        type=Path,
        help=f"where to write (docs/; .bench/ for a partial run or one of less than {_ROUNDS} rounds)",
    )
    options = parser.parse_args()
    options.rounds = 2 if options.quick else max(1, options.rounds)
    options.wrk_seconds = 2 if options.quick else 4
    options.output = options.output or (_SCRATCH if options.rounds < _ROUNDS or options.only else _CHECKOUT / "docs")
    if unknown := set(options.only) - {name for row in ROWS for name in (row.number, row.key)}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    return options


def _chosen_rows(only: list[str]) -> list[Row]:
    return [row for row in ROWS if not only or row.number in only or row.key in only]


def _commit() -> str:
    """What is measured; files that are changed and not committed are a `+`, but for what this command writes itself."""
    described = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/benchmark*")
    return f"{described}+" if changed else described or "unknown"


def _git(*command: str) -> str:
    if not shutil.which("git"):
        return ""
    return subprocess.run(["git", *command], cwd=_CHECKOUT, capture_output=True, text=True).stdout.strip()


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    kernel = f"{os.uname().sysname} {'.'.join(os.uname().release.split('.')[:2])}"
    return f"{os.cpu_count()} cores ({_cpu_model()}), {memory:.0f} GiB of memory, {kernel}"


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), os.uname().machine)


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    _SCRATCH.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=_SCRATCH))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
