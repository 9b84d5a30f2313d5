"""From samples to statements: medians with their spread, ratios taken within each round, and bars passed or missed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

Sample = dict[str, float]


@dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        known = sorted(values)
        return cls(median(known), known[0], known[-1]) if known else None


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    CLOSE_PASS, CLOSE_FAIL = "pass, barely", "fail, barely"  # by the median; in some rounds it was the other way round
    UNKNOWN = "not measured"


class Kind(StrEnum):
    RATIO_AT_MOST = "ratio at most"
    RATIO_AT_LEAST = "ratio at least"
    DIFFERENCE_AT_MOST = "difference at most"
    AT_MOST = "at most"
    ALWAYS = "always"


@dataclass(frozen=True)
class Bar:
    """What the mirror promises for one metric, against a peer of the same row or (ALWAYS, AT_MOST) as such."""

    metric: str
    kind: Kind
    limit: float
    against: str = ""


@dataclass
class Results:
    """The samples of one row by peer and round, and what went wrong."""

    samples: dict[str, dict[int, Sample]] = field(default_factory=dict)
    failures: dict[str, list[str]] = field(default_factory=dict)

    def add(self, peer: str, number: int, sample: Sample) -> None:
        self.samples.setdefault(peer, {})[number] = sample

    def fail(self, peer: str, reason: str) -> None:
        self.failures.setdefault(peer, []).append(reason)

    def spread(self, peer: str, metric: str) -> Spread | None:
        return Spread.of(self._values(peer, metric).values())

    def ratio(self, metric: str, peer: str, against: str) -> Spread | None:
        pairs = self._pairs(metric, peer, against)
        return Spread.of(mine / theirs for mine, theirs in pairs if theirs)

    def measure(self, bar: Bar, peer: str) -> Spread | None:
        """The figure the bar speaks about."""
        if bar.kind in (Kind.ALWAYS, Kind.AT_MOST):
            return self.spread(peer, bar.metric)
        if bar.kind is Kind.DIFFERENCE_AT_MOST:
            return Spread.of(mine - theirs for mine, theirs in self._pairs(bar.metric, peer, bar.against))
        return self.ratio(bar.metric, peer, bar.against)

    def judge(self, bar: Bar, peer: str) -> Verdict:
        figure = self.measure(bar, peer)
        if figure is None or self.failures.get(peer):
            return Verdict.UNKNOWN if figure is None else Verdict.FAIL
        if bar.kind is not Kind.ALWAYS and figure.low < bar.limit < figure.high:
            return Verdict.CLOSE_PASS if _holds(bar, figure) else Verdict.CLOSE_FAIL
        return Verdict.PASS if _holds(bar, figure) else Verdict.FAIL

    def _pairs(self, metric: str, peer: str, against: str) -> list[tuple[float, float]]:
        """Both figures of every round that has both: the machine's mood is the same within a round only."""
        mine, theirs = self._values(peer, metric), self._values(against, metric)
        return [(mine[number], theirs[number]) for number in mine if number in theirs]

    def _values(self, peer: str, metric: str) -> dict[int, float]:
        return {number: sample[metric] for number, sample in self.samples.get(peer, {}).items()}


def _holds(bar: Bar, figure: Spread) -> bool:
    match bar.kind:
        case Kind.ALWAYS:
            return figure.low == figure.high == bar.limit
        case Kind.RATIO_AT_LEAST:
            return figure.median >= bar.limit
        case Kind.AT_MOST:
            return figure.high <= bar.limit  # a ceiling that is broken once does not hold
        case _:
            return figure.median <= bar.limit
