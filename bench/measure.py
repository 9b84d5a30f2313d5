"""What a server cost: CPU seconds and peak memory of its process tree, read from /proc."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_TICK = os.sysconf("SC_CLK_TCK")
_POLL = 0.05
_QUIET_POLLS = 6
_SETTLE_LIMIT = 60.0


class NeverQuiet(Exception):
    """A server was still busy long after its load: what it costs cannot be said."""


@dataclass(frozen=True)
class Usage:
    """CPU in seconds; memory in bytes, the sum of each process's own peak."""

    cpu: float
    peak: int


def measured(work: Callable[[], T], server: int, others: Sequence[int] = ()) -> tuple[T, Usage]:
    """Run the load and charge the server (a process id) with all it did until it was quiet again.

    The disk is synced first, so that nobody pays for bytes an earlier sample left dirty. Raises NeverQuiet.
    """
    everyone = (server, *others)
    _settle(everyone)
    os.sync()
    _reset_peaks(server)
    before = _cpu_seconds(server)
    result = work()
    _settle(everyone)
    return result, Usage(_cpu_seconds(server) - before, _peak_memory(server))


def _settle(pids: Sequence[int]) -> None:
    """Wait until none of these process trees uses CPU or waits for the disk.

    Background downloads and late writes belong to the sample.
    """
    deadline = time.monotonic() + _SETTLE_LIMIT
    last, quiet = -1, 0
    while quiet < _QUIET_POLLS:
        if time.monotonic() > deadline:
            raise NeverQuiet(f"still busy after {_SETTLE_LIMIT:.0f} s")
        everyone = [pid for root in pids for pid in _tree(root)]
        now = sum(map(_ticks, everyone))
        idle = now == last and not any(map(_waits_for_disk, everyone))
        last, quiet = now, quiet + 1 if idle else 0
        time.sleep(_POLL)


def _cpu_seconds(root: int) -> float:
    return sum(_ticks(pid) for pid in _tree(root)) / _TICK


def _tree(root: int) -> list[int]:
    """The process and all its live descendants; the time of dead ones is already in their parent's account."""
    found = [root]
    for pid in found:
        found.extend(_children(pid))
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children.extend(int(child) for child in (task / "children").read_text().split())
    return children


def _ticks(pid: int) -> int:
    """utime + stime + cutime + cstime: fields 14 to 17 of proc_pid_stat(5), counted after the name."""
    return sum(int(field) for field in _fields(Path(f"/proc/{pid}/stat"))[11:15])


def _waits_for_disk(pid: int) -> bool:
    """Whether a thread is in state D, as in the middle of an fsync."""
    with suppress(OSError):
        return any(_fields(task / "stat")[:1] == ["D"] for task in Path(f"/proc/{pid}/task").iterdir())
    return False


def _fields(stat: Path) -> list[str]:
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _reset_peaks(root: int) -> None:
    for pid in _tree(root):
        with suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_memory(root: int) -> int:
    return sum(_peak(pid) for pid in _tree(root))


def _peak(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
