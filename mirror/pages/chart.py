"""Drawings, as figures for the templates: bars of traffic, and layers by their share. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirror.pages import words
from mirror.usage import FETCHED, SENT

HOURS = 48
_HOUR = 3600
_WIDTH, _TOP, _HEIGHT, _FOOT = 960.0, 16.0, 140.0, 18.0
_GAP = 3.0
# The least of a layer that can be seen and pointed at, in hundredths of the whole.
_LEAST = 0.6


@dataclass(frozen=True, slots=True)
class Bar:
    """One hour. Lengths and places are in the units of the drawing."""

    label: str
    sent: int
    fetched: int
    x: float
    width: float
    sent_y: float
    sent_height: float
    fetched_y: float
    fetched_height: float


@dataclass(frozen=True, slots=True)
class Chart:
    width: float
    height: float
    base: float
    highest: int
    bars: Sequence[Bar]


def traffic(hours: Mapping[int, Mapping[str, int]], now: float) -> Chart:
    """The last hours, the present one at the right; no bars where nothing moved."""
    last = int(now // _HOUR)
    amounts = [(hour, hours.get(hour, {})) for hour in range(last - HOURS + 1, last + 1)]
    highest = max(max(one.get(SENT, 0), one.get(FETCHED, 0)) for _, one in amounts)
    base, step = _TOP + _HEIGHT, _WIDTH / HOURS
    bars = []
    for place, (hour, amount) in enumerate(amounts if highest else []):
        sent, fetched = amount.get(SENT, 0), amount.get(FETCHED, 0)
        tall, low = (round(_HEIGHT * one / highest, 1) for one in (sent, fetched))
        x, width = round(place * step + _GAP / 2, 1), round(step - _GAP, 1)
        label = words.iso(hour * _HOUR).replace("T", " ").replace(":00Z", " UTC")
        bars.append(Bar(label, sent, fetched, x, width, round(base - tall, 1), tall, round(base - low, 1), low))
    return Chart(_WIDTH, base + _FOOT, base, highest, bars)


@dataclass(frozen=True, slots=True)
class Slice:
    """A layer, in hundredths of the whole."""

    label: str
    x: float
    width: float


def layers(sizes: Sequence[int], labels: Sequence[str]) -> list[Slice]:
    """In their order, each as wide as its share, but none too narrow to be seen."""
    least = max(sum(sizes) * _LEAST / 100, 1)
    shares = [max(size, least) for size in sizes]
    whole = sum(shares)
    slices, x = [], 0.0
    for label, share in zip(labels, shares, strict=True):
        width = 100 * share / whole
        slices.append(Slice(label, round(x, 3), round(width, 3)))
        x += width
    return slices
