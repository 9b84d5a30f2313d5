"""The picture for the README: a group of horizontal bars for each row, in two columns, for light and dark pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench import figures
from bench.peers import MIRROR, REGISTRY
from bench.report import Report
from bench.results import Kind, Results
from bench.rows import Row

_WIDTH = 880
_MARGIN = 28
_GUTTER = 32
_COLUMN = (_WIDTH - 2 * _MARGIN - _GUTTER) / 2
_LABEL = 138  # where bars begin
_BAR = 144  # how long the longest is; the rest is for its figures
_BAR_HEIGHT = 14
_LINE = 21
_HEAD = 92  # title of the picture
_GROUP_HEAD = 42
_GROUP_GAP = 22

_STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .page { fill: #ffffff; stroke: #d1d9e0 }
    .title { font-size: 19px; font-weight: 600 }
    .group { font-weight: 600 }
    .muted { font-size: 12px; fill: #59636e }
    .strong { font-weight: 600 }
    .bar { fill: #c2cad3 }
    .mirror { fill: #0969da }
    .failed { fill: #d1242f }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .page { fill: #0d1117; stroke: #3d444d }
      .muted { fill: #9198a1 }
      .bar { fill: #545d68 }
      .mirror { fill: #4493f8 }
      .failed { fill: #f85149 }
    }
"""


@dataclass(frozen=True)
class _Group:
    """One row as it is drawn: the headline metric of every peer."""

    row: Row
    results: Results

    @property
    def height(self) -> int:
        return _GROUP_HEAD + _LINE * len(self.peers) + _GROUP_GAP

    @property
    def peers(self) -> list[str]:
        """Those that took part."""
        known = self.results.samples.keys() | self.results.failures.keys()
        return [peer for peer in self.row.peers if peer in known]


def draw(report: Report) -> str:
    left, right = _columns([_Group(row, results) for row, results in report.rows])
    height = _HEAD + max(_height(left), _height(right))
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-labelledby="title">',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="10"/>',
        *_title(report),
        *_column(left, _MARGIN),
        *_column(right, _MARGIN + _COLUMN + _GUTTER),
        "</svg>",
    ]
    return "\n".join(body) + "\n"


def _title(report: Report) -> Iterator[str]:
    names = "registry-mirror beside Distribution, old and new, and nginx"
    yield f'<title id="title">{escape(names)}: shorter bars are better</title>'
    yield _text(_MARGIN, 40, names, "title")
    explanation = (
        f"Shorter is better; {figures.TIMES} is relative to docker-registry 2.8. "
        f"Same load, one machine, loopback, median of {report.rounds} rounds."
    )
    yield _text(_MARGIN, 62, explanation, "muted")


def _columns(groups: list[_Group]) -> tuple[list[_Group], list[_Group]]:
    """In reading order, cut where the left column is at least half of the height."""
    cut = next((n for n in range(len(groups)) if 2 * _height(groups[:n]) >= _height(groups)), len(groups))
    return groups[:cut], groups[cut:]


def _height(groups: list[_Group]) -> int:
    return sum(group.height for group in groups)


def _column(groups: list[_Group], x: float) -> Iterator[str]:
    y = float(_HEAD)
    for group in groups:
        yield from _group(group, x, y)
        y += group.height


def _group(group: _Group, x: float, y: float) -> Iterator[str]:
    row, results = group.row, group.results
    medians = _medians(row, results)
    yield _text(x, y + 12, row.title, "group")
    yield _text(x, y + 30, _subtitle(row, results), "muted")
    for number, peer in enumerate(group.peers):
        line = y + _GROUP_HEAD + number * _LINE
        yield _text(x, line + 12, _short(row.peers[peer]), "strong" if peer == MIRROR else "")
        if peer in medians:
            yield from _bar(group, peer, x + _LABEL, line)
        else:
            yield _text(x + _LABEL, line + 12, "failed", "failed")


def _bar(group: _Group, peer: str, x: float, y: float) -> Iterator[str]:
    metric, medians = group.row.metrics[0], _medians(group.row, group.results)
    lengths = _lengths(group, medians)
    length = max(_BAR * lengths[peer] / (max(lengths.values()) or 1), 2)
    kind = "mirror" if peer == MIRROR else "bar"
    yield f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{length:.1f}" height="{_BAR_HEIGHT}" rx="2"/>'
    value = figures.amount(medians[peer], metric.unit, like=min(medians.values()))
    ratio = "" if peer == REGISTRY else figures.ratio(group.results.ratio(metric.key, peer, REGISTRY))
    spans = f'{escape(value)}<tspan class="strong" dx="9">{escape(ratio)}</tspan>'
    yield f'<text x="{x + length + 7:.1f}" y="{y + 12:g}">{spans}</text>'


def _lengths(group: _Group, medians: dict[str, float]) -> dict[str, float]:
    """Bars show ratios, as they were taken within each round; where the yardstick is missing, medians."""
    metric = group.row.metrics[0].key
    ratios = {peer: group.results.ratio(metric, peer, REGISTRY) for peer in medians}
    known = {peer: ratio.median for peer, ratio in ratios.items() if ratio is not None}
    return known if known.keys() == medians.keys() else medians


def _medians(row: Row, results: Results) -> dict[str, float]:
    """The headline figure of every peer that has one."""
    metric = row.metrics[0].key
    return {peer: figure.median for peer in row.peers if (figure := results.spread(peer, metric))}


def _subtitle(row: Row, results: Results) -> str:
    """What the bars show, and what must always hold beside it."""
    said = [row.metrics[0].title]
    for bar in row.bars:
        if bar.kind is Kind.ALWAYS:
            known = (results.spread(peer, bar.metric) for peer in row.peers)
            counts = [figures.amount(figure.median, "") for figure in known if figure]
            said.append(f"{row.metric(bar.metric).title}: {', '.join(counts)}")
    return "; ".join(said)


def _short(name: str) -> str:
    return name.partition(" (")[0]


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>'
