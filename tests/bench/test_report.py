"""bench/report.py, figures.py and picture.py: how results read."""

import json
import xml.etree.ElementTree as ElementTree
from typing import NoReturn

import pytest

from bench import figures
from bench.content import MIB
from bench.figures import NOTHING, TIMES
from bench.peers import DISTRIBUTION, MIRROR, NGINX, REGISTRY
from bench.picture import draw
from bench.report import Report, as_json, as_markdown, as_text
from bench.results import Bar, Kind, Results, Spread
from bench.rows import ROWS, Metric, Row

_WALL = Metric("wall", "wall time", "s")
_PEAK = Metric("peak", "peak memory", "B")
_GETS = Metric("gets", "upstream GETs per object", "")


def _never(*_: object) -> NoReturn:
    raise AssertionError("nothing is measured here")


_ROW = Row(
    key="cold",
    number="P3",
    title="Cold blob",
    load="1 client",
    state="nothing stored",
    peers={MIRROR: "mirror", DISTRIBUTION: "Distribution 3.1", REGISTRY: "docker-registry 2.8", NGINX: "upstream"},
    metrics=(_WALL, _PEAK, _GETS),
    bars=(
        Bar("wall", Kind.RATIO_AT_MOST, 0.75, REGISTRY),
        Bar("wall", Kind.DIFFERENCE_AT_MOST, 0.02, NGINX),
        Bar("peak", Kind.AT_MOST, 150 * MIB),
        Bar("gets", Kind.ALWAYS, 1),
    ),
    prepare=_never,
)


def _results() -> Results:
    results = Results()
    for number, wall in enumerate((0.5, 0.25, 0.4)):
        results.add(MIRROR, number, {"wall": wall, "peak": 80 * MIB, "gets": 1})
        results.add(REGISTRY, number, {"wall": 1.0, "peak": 40 * MIB, "gets": 2})
        results.add(NGINX, number, {"wall": wall / 2, "peak": 10 * MIB, "gets": 1})
    results.fail(DISTRIBUTION, "DidNotStart: address in use")
    return results


def _report() -> Report:
    versions = {"mirror": "1.2.3", "nginx": "1.22"}
    return Report("2026-11-24", "abc1234", "2 cores", 0.25, versions, 3, [(_ROW, _results())])


def test_every_promise_is_a_line_of_the_summary() -> None:
    lines = as_markdown(_report()).splitlines()
    assert [line for line in lines if line.startswith("| P3")] == [
        f"| P3 | Cold blob | wall time ≤ 0.75 {TIMES} docker-registry 2.8 | 0.40 {TIMES} (0.25 to 0.50) | pass |",
        "| P3 | Cold blob | wall time ≤ upstream + 20 ms | + 200 ms (125 to 250) | fail |",
        "| P3 | Cold blob | peak memory ≤ 150 MiB | 80 MiB | pass |",
        "| P3 | Cold blob | upstream GETs per object: exactly 1, always | 1 | pass |",
    ]


def test_every_peer_is_a_line_of_the_table_with_its_headline_against_docker_registry() -> None:
    lines = as_markdown(_report()).splitlines()
    assert f"| mirror | 400 ms (250 to 500) | 80 MiB | 1 | 0.40 {TIMES} |" in lines
    assert f"| docker-registry 2.8 | 1 s | 40 MiB | 2 | 1 {TIMES} |" in lines
    assert f"| Distribution 3.1 | {NOTHING} | {NOTHING} | {NOTHING} | {NOTHING} |" in lines
    assert "**Distribution 3.1 failed**: DidNotStart: address in use" in lines


def test_the_report_says_what_was_measured_where_and_when() -> None:
    text = as_markdown(_report())
    assert (
        "on 2026-11-24, at commit abc1234. 2 cores; load average before the run 0.25. mirror 1.2.3, nginx 1.22." in text
    )
    assert "{" not in text


def test_the_same_as_json() -> None:
    document = json.loads(as_json(_report()))
    assert (document["commit"], document["load_average_before"]) == ("abc1234", 0.25)
    (row,) = document["rows"]
    assert row["peers"][MIRROR]["medians"]["wall"] == {"median": 0.4, "low": 0.25, "high": 0.5}
    assert row["promises"][2] == {
        "promise": "peak memory ≤ 150 MiB",
        "measured": {"median": 80 * MIB, "low": 80 * MIB, "high": 80 * MIB},
        "verdict": "pass",
    }


def test_a_failure_is_told_at_once() -> None:
    text = as_text(_ROW, _results())
    assert "FAILED: Distribution 3.1: DidNotStart: address in use" in text
    assert _report().failed


def test_the_picture_is_xml_and_has_a_bar_for_each_peer_that_was_measured() -> None:
    root = ElementTree.fromstring(draw(_report()))
    kinds = [element.get("class") for element in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert (kinds.count("mirror"), kinds.count("bar")) == (1, 2)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "s", "0 µs"),
        (0.0000456, "s", "45.6 µs"),
        (0.0123, "s", "12.3 ms"),
        (12.34, "s", "12.3 s"),
        (84.2 * MIB, "B", "84.2 MiB"),
        (10271.4, "1/s", "10,271/s"),
        (1.5, "GiB/s", "1.50 GiB/s"),
        (2254, "", "2,254"),
    ],
)
def test_figures_have_three_digits_and_the_unit_that_suits_them(value: float, unit: str, text: str) -> None:
    assert figures.amount(value, unit) == text


def test_a_spread_is_told_in_the_unit_of_its_median() -> None:
    assert figures.spread(Spread(0.9, 0.0005, 1.5), "s") == "900 ms (0.50 to 1,500)"
    assert figures.spread(None, "s") == NOTHING


def test_every_row_can_be_judged() -> None:
    """Each bar speaks of a metric and, where it compares, of a peer of its own row."""
    for row in ROWS:
        for bar in row.bars:
            assert figures.promise(bar, row.metric(bar.metric), row.peers)
            assert bar.kind in (Kind.ALWAYS, Kind.AT_MOST) or bar.against in row.peers
    assert len({row.key for row in ROWS}) == len(ROWS)
    assert {row.number for row in ROWS} == {f"P{number}" for number in range(1, 9)}


@pytest.mark.parametrize(("most", "asked", "rounds"), [(None, 5, 5), (3, 5, 3), (3, 2, 2)])
def test_a_row_may_take_fewer_rounds_than_asked_for(most: int | None, asked: int, rounds: int) -> None:
    row = Row("k", "P1", "t", "l", "s", {}, (_WALL,), (), _never, most)
    assert row.rounds_of(asked) == rounds
