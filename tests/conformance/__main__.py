"""The official OCI conformance suite against a real server: `python -m tests.conformance` (make conformance).

Twice: as a released 1.1 registry with the suite's defaults, and as its `dev` version with every optional feature on.
Bar: no failure, no error and no skip in either, nothing switched off in the second.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

MODULE = "github.com/opencontainers/distribution-spec/conformance"
VERSION = "v0.0.0-20260831232431-97274622c111"
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".conformance"
_NO_GO = 3


@dataclass(frozen=True)
class Run:
    """One run: the version of the specification, and what it needs of the server and of the suite."""

    version: str
    config: str
    suite: Mapping[str, str]
    may_disable: bool


RUNS = (
    Run("1.1", 'sparse_manifests = "index"', {}, may_disable=True),
    Run("dev", 'sparse_manifests = "all"', {"OCI_DATA_SPARSE": "true"}, may_disable=False),
)


@dataclass(frozen=True)
class Result:
    """Counts of one run, and the names of the cases that did not pass."""

    tests: int
    failures: int
    errors: int
    skipped: int
    disabled: int
    named: list[str]

    def met(self, run: Run) -> bool:
        return self.tests > 0 and not self.named and (run.may_disable or self.disabled == 0)


def build() -> Path:
    """The suite's program, built once for each version of it."""
    binary = FOLDER / VERSION / "conformance"
    if not binary.exists():
        print(f"building {MODULE}@{VERSION}", flush=True)
        binary.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"GOBIN": str(binary.parent)}
        subprocess.run(["go", "install", f"{MODULE}@{VERSION}"], check=True, env=environment)
    return binary


@contextmanager
def server(folder: Path, registry: str) -> Iterator[str]:
    """A server without upstreams on a new store; gives its host and port."""
    config = folder / "mirror.toml"
    root = folder / "data"
    sections = (
        '[server]\nlisten = "127.0.0.1:0"',
        f'[storage]\nroot = "{root}"',
        f"[registry]\n{registry}",
        "[upstreams]",
    )
    config.write_text("\n".join(sections))
    command = [sys.executable, "-m", "mirror", "serve", "--config", str(config)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        match = re.fullmatch(r"listening on http://(\S+)\n", process.stdout.readline())
        if match is None:
            raise SystemExit(f"the server did not start:\n{(folder / 'log').read_text()}")
        yield match[1]
    finally:
        process.terminate()
        process.wait(30)


def run_suite(binary: Path, run: Run) -> Result:
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        with server(folder, run.config) as host:
            environment = os.environ | {
                "OCI_REGISTRY": host,
                "OCI_TLS": "disabled",
                "OCI_REPO1": "conformance/one",
                "OCI_REPO2": "conformance/two",
                "OCI_VERSION": run.version,
                "OCI_RESULTS_DIR": str(folder / "results"),
                **run.suite,
            }
            subprocess.run([binary], check=False, env=environment, stdout=subprocess.DEVNULL, cwd=folder)
        return read_results(folder / "results" / "junit.xml")


def read_results(file: Path) -> Result:
    suites = ElementTree.parse(file).getroot().iter("testsuite")
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped", "disabled"), 0)
    named: list[str] = []
    for suite in suites:
        for key in counts:
            counts[key] += int(suite.get(key, "0"))
        for case in suite.iter("testcase"):
            # "Disabled" cases are not part of the version that is asked for; the counts above have them apart.
            bad = {child.tag for child in case} & {"failure", "error"} or case.get("status") in (
                "Skip",
                "FAIL",
                "Error",
            )
            if bad:
                named.append(case.get("name", "?"))
    if counts["failures"] + counts["errors"] + counts["skipped"] and not named:
        named.append("(the report does not name it)")
    return Result(**counts, named=named)


def main() -> int:
    if shutil.which("go") is None:
        print("conformance cannot run: the official suite is a Go program, and there is no Go here", file=sys.stderr)
        return _NO_GO
    binary, passed, failed = build(), 0, 0
    for run in RUNS:
        result = run_suite(binary, run)
        print(
            f"conformance {run.version}: {result.tests} tests, {result.failures} failures, {result.errors} errors, "
            f"{result.skipped} skipped, {result.disabled} disabled"
        )
        for case in result.named:
            print(f"  not passed: {case}")
        bad = result.failures + result.errors + result.skipped + (0 if run.may_disable else result.disabled)
        failed += bad or (0 if result.met(run) else 1)
        passed += result.tests - result.failures - result.errors - result.skipped - result.disabled
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
