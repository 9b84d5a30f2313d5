"""The figures of a run, and the promises that were broken."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    """`broken` says in words which promises were not kept."""

    seed: int
    kills: int = 0
    idle_kills: int = 0  # nothing was at stake: they do not count
    start_kills: int = 0  # before the server was ready
    acknowledged: int = 0
    in_flight: int = 0
    checked: int = 0
    pulls: int = 0
    resumed: int = 0
    resumed_downloads: int = 0
    slowest_start: float = 0.0
    seconds: float = 0.0
    moments: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def violate(self, what: str) -> None:
        self.broken.append(f"after kill {self.kills}: {what}")

    def __str__(self) -> str:
        moments = ", ".join(f"{count} {name}" for name, count in sorted(self.moments.items()))
        lines = [
            f"seed {self.seed}: {self.kills} kills ({moments}), {self.start_kills} more while starting",
            f"{self.acknowledged} acknowledged writes, {self.in_flight} in flight when killed, {self.pulls} pulls",
            f"{self.checked} checked objects, {self.resumed} resumed uploads and {self.resumed_downloads} downloads",
            f"{self.seconds:.1f} seconds, slowest start {self.slowest_start:.2f} s",
            *(f"BROKEN PROMISE {broken}" for broken in self.broken[:50]),
            f"{len(self.broken)} broken promises",
        ]
        return "\n".join(lines)
