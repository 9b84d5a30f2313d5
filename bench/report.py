"""The results as text, as markdown and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bench import figures
from bench.peers import MIRROR, REGISTRY
from bench.results import Bar, Results, Spread
from bench.rows import Row


@dataclass(frozen=True)
class Report:
    """One run: where, when, with what, and all rows."""

    date: str
    commit: str
    machine: str
    load: float  # how many processes wanted a core before the run began
    versions: dict[str, str]
    rounds: int
    rows: list[tuple[Row, Results]]

    @property
    def failed(self) -> bool:
        return any(results.failures for _, results in self.rows)


def as_text(row: Row, results: Results) -> str:
    return "\n".join(
        ["", f"{row.number}  {row.title}", *_indented(_text_table(_peer_table(row, results))), *_notes(row, results)]
    )


def as_markdown(report: Report) -> str:
    return "\n".join([_introduction(report), *_summary(report), *_details(report), ""])


def as_json(report: Report) -> str:
    document = {
        "date": report.date,
        "commit": report.commit,
        "machine": report.machine,
        "load_average_before": report.load,
        "versions": report.versions,
        "rounds": report.rounds,
        "rows": [_row_document(row, results) for row, results in report.rows],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _peer_table(row: Row, results: Results) -> list[list[str]]:
    """A line for each peer: its figures, then its headline against docker-registry's."""
    header = ["", *(metric.title for metric in row.metrics), "against docker-registry"]
    return [header, *(_peer_line(row, results, peer) for peer in row.peers)]


def _peer_line(row: Row, results: Results, peer: str) -> list[str]:
    cells = [figures.spread(results.spread(peer, metric.key), metric.unit) for metric in row.metrics]
    return [row.peers[peer], *cells, figures.ratio(results.ratio(row.metrics[0].key, peer, REGISTRY))]


def _notes(row: Row, results: Results) -> Iterator[str]:
    for bar in row.bars:
        yield f"    {' | '.join(_bar_line(row, results, bar))}"
    for peer, reasons in results.failures.items():
        yield from (f"    FAILED: {row.peers[peer]}: {reason}" for reason in reasons)


def _bar_line(row: Row, results: Results, bar: Bar) -> list[str]:
    metric = row.metric(bar.metric)
    measured = figures.outcome(bar, metric, results.measure(bar, MIRROR))
    return [figures.promise(bar, metric, row.peers), measured, results.judge(bar, MIRROR)]


_INTRODUCTION = """\
# Benchmark

Written by `make bench` on {date}, at commit {commit}. {machine}; load average before the run {load:.2f}. {versions}.

Everything runs on one machine over loopback and plain HTTP, clients and upstream included. Each row gives every server
the same load, in turn, for {rounds} rounds (memory: no more than 3), in an order that changes from one to the next so
that none is always first or always comes after the same other; a ratio is taken within each round. Figures are medians,
with the lowest and the highest round in brackets. CPU is that of the server's whole process tree until it is quiet
again; memory is the sum of its processes' peaks, and not the page cache. Compare ratios, not machines: absolute figures
change with the hour on a shared machine. A promise is judged by the median; "barely" says that some rounds were on the
other side of it. The mirror runs with its defaults: all that is configured is its address, its store and its upstream.

docker-registry is Debian's Distribution 2.8, and beside it stands Distribution 3.1, built from its Go module where
there is Go. Both run with Debian's default configuration, without passwords, and with one log line for each request
(the access log) instead of two; nginx with `sendfile` and its access log. The upstream of the cold rows is that same
nginx, which wants a token and gives one to everybody, as Docker Hub does: of an upstream without, Distribution would
ask for `/v2/` before each object. Whoever pulls from it directly is spared the token. A client of a cold blob has its
last byte from the mirror once it is verified, and before it is synced. As a proxy, 2.8 hands its first client the
upstream's bytes as they come, and downloads the blob a second time to store it: fast for one client on loopback, twice
the traffic anywhere.
"""


def _introduction(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return _INTRODUCTION.format(
        date=report.date,
        commit=report.commit,
        machine=report.machine,
        load=report.load,
        versions=versions,
        rounds=report.rounds,
    )


def _summary(report: Report) -> Iterator[str]:
    yield "## What was promised"
    yield ""
    lines = [["row", "work", "promise", "measured", ""]]
    lines += [
        [row.number, row.title, *_bar_line(row, results, bar)] for row, results in report.rows for bar in row.bars
    ]
    yield from _markdown_table(lines)
    yield ""


def _details(report: Report) -> Iterator[str]:
    for row, results in report.rows:
        yield from (f"## {row.number}: {row.title}", "")
        yield from (f"Load: {row.load}.", f"Caches: {row.state}.", "")
        yield from _markdown_table(_peer_table(row, results))
        yield ""
        for peer, reasons in results.failures.items():
            yield from (f"**{row.peers[peer]} failed**: {reason}" for reason in reasons)
            yield ""


def _markdown_table(lines: list[list[str]]) -> Iterator[str]:
    header, *body = lines
    yield _markdown_line(header)
    yield _markdown_line(["---"] * len(header))
    yield from map(_markdown_line, body)


def _markdown_line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text_table(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _row_document(row: Row, results: Results) -> dict[str, Any]:
    return {
        "key": row.key,
        "bar": row.number,
        "title": row.title,
        "load": row.load,
        "caches": row.state,
        "metrics": [asdict(metric) for metric in row.metrics],
        "peers": {peer: _peer_document(row, results, peer) for peer in row.peers},
        "promises": [_bar_document(row, results, bar) for bar in row.bars],
    }


def _peer_document(row: Row, results: Results, peer: str) -> dict[str, Any]:
    return {
        "name": row.peers[peer],
        "failures": results.failures.get(peer, []),
        "medians": {metric.key: _spread_document(results.spread(peer, metric.key)) for metric in row.metrics},
        "against_docker_registry": _spread_document(results.ratio(row.metrics[0].key, peer, REGISTRY)),
        "samples": list(results.samples.get(peer, {}).values()),
    }


def _bar_document(row: Row, results: Results, bar: Bar) -> dict[str, Any]:
    return {
        "promise": figures.promise(bar, row.metric(bar.metric), row.peers),
        "measured": _spread_document(results.measure(bar, MIRROR)),
        "verdict": results.judge(bar, MIRROR),
    }


def _spread_document(figure: Spread | None) -> dict[str, float] | None:
    return None if figure is None else asdict(figure)
