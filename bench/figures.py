"""Figures as people read them."""

from bench.results import Bar, Kind, Spread
from bench.rows import Metric

TIMES = "\N{MULTIPLICATION SIGN}"
NOTHING = "\N{EN DASH}"

_MIB = 1 << 20


def amount(value: float, unit: str, like: float | None = None) -> str:
    """The value, in the unit that suits it or the value it is like."""
    divisor, name = _scale(value if like is None else like, unit)
    return _digits(value / divisor) + name


def spread(figure: Spread | None, unit: str) -> str:
    """The median, then the lowest and highest in the median's unit."""
    if figure is None:
        return NOTHING
    middle = amount(figure.median, unit)
    if figure.low == figure.high:
        return middle
    divisor, _ = _scale(figure.median, unit)
    return f"{middle} ({_digits(figure.low / divisor)} to {_digits(figure.high / divisor)})"


def ratio(figure: Spread | None) -> str:
    return NOTHING if figure is None else f"{_digits(figure.median)} {TIMES}"


def promise(bar: Bar, metric: Metric, names: dict[str, str]) -> str:
    """The bar in words."""
    against = names.get(bar.against, "")
    match bar.kind:
        case Kind.ALWAYS:
            return f"{metric.title}: exactly {bar.limit:.0f}, always"
        case Kind.AT_MOST:
            return f"{metric.title} ≤ {amount(bar.limit, metric.unit)}"
        case Kind.DIFFERENCE_AT_MOST:
            return f"{metric.title} ≤ {against} + {amount(bar.limit, metric.unit)}"
        case Kind.RATIO_AT_LEAST:
            return f"{metric.title} ≥ {bar.limit:g} {TIMES} {against}"
        case _:
            return f"{metric.title} ≤ {bar.limit:g} {TIMES} {against}"


def outcome(bar: Bar, metric: Metric, figure: Spread | None) -> str:
    """What was measured for the bar."""
    if figure is None:
        return NOTHING
    if bar.kind in (Kind.ALWAYS, Kind.AT_MOST):
        return spread(figure, metric.unit)
    if bar.kind is Kind.DIFFERENCE_AT_MOST:
        return f"+ {spread(figure, metric.unit)}"
    return f"{ratio(figure)} ({_digits(figure.low)} to {_digits(figure.high)})"


def _scale(value: float, unit: str) -> tuple[float, str]:
    """What to divide by, and what to write after it."""
    match unit:
        case "s" if abs(value) >= 1:
            return 1, " s"
        case "s":
            return (1e-3, " ms") if abs(value) >= 1e-3 else (1e-6, " µs")
        case "B":
            return _MIB, " MiB"
        case "" | "1/s":
            return 1, unit[1:]
        case _:
            return 1, f" {unit}"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    decimals = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.2 else 3
    return f"{value:.{decimals}f}"
