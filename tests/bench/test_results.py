"""bench/results.py: what is said about the samples, and when a promise is kept."""

import pytest

from bench.results import Bar, Kind, Results, Spread, Verdict


def _results(**samples: list[float]) -> Results:
    """One metric, `wall`, of each peer in each round."""
    results = Results()
    for peer, values in samples.items():
        for number, value in enumerate(values):
            results.add(peer, number, {"wall": value})
    return results


def test_a_spread_is_the_median_with_lowest_and_highest() -> None:
    assert Spread.of([5.0, 1.0, 3.0]) == Spread(3.0, 1.0, 5.0)
    assert Spread.of([4.0, 1.0, 2.0, 3.0]) == Spread(2.5, 1.0, 4.0)
    assert Spread.of([]) is None


def test_ratios_are_taken_within_each_round() -> None:
    """In a slow hour both are slow. The ratio of the medians, 20 / 2, would say something about the hours."""
    results = _results(mirror=[1.0, 20.0, 30.0], nginx=[2.0, 40.0, 1.0])
    assert results.ratio("wall", "mirror", "nginx") == Spread(0.5, 0.5, 30.0)


def test_a_round_that_one_of_both_did_not_finish_is_left_out() -> None:
    results = _results(mirror=[1.0, 2.0, 3.0], nginx=[2.0])
    results.add("nginx", 2, {"wall": 30.0})
    assert results.ratio("wall", "mirror", "nginx") == Spread(0.3, 0.1, 0.5)


def test_a_ratio_to_nothing_is_none() -> None:
    results = _results(mirror=[1.0, 2.0], nginx=[0.0, 0.0])
    assert results.ratio("wall", "mirror", "nginx") is None
    assert results.ratio("wall", "mirror", "nobody") is None


def test_what_each_kind_of_bar_measures() -> None:
    results = _results(mirror=[1.0, 3.0], nginx=[2.0, 2.0])
    measured = {kind: results.measure(Bar("wall", kind, 1.0, "nginx"), "mirror") for kind in Kind}
    assert measured == {
        Kind.RATIO_AT_MOST: Spread(1.0, 0.5, 1.5),
        Kind.RATIO_AT_LEAST: Spread(1.0, 0.5, 1.5),
        Kind.DIFFERENCE_AT_MOST: Spread(0.0, -1.0, 1.0),
        Kind.AT_MOST: Spread(2.0, 1.0, 3.0),
        Kind.ALWAYS: Spread(2.0, 1.0, 3.0),
    }


@pytest.mark.parametrize(
    ("kind", "limit", "values", "verdict"),
    [
        (Kind.RATIO_AT_MOST, 2.0, [1.0, 2.0, 2.0], Verdict.PASS),
        (Kind.RATIO_AT_MOST, 2.0, [1.0, 1.5, 2.5], Verdict.CLOSE_PASS),
        (Kind.RATIO_AT_MOST, 2.0, [1.0, 2.1, 2.5], Verdict.CLOSE_FAIL),
        (Kind.RATIO_AT_MOST, 2.0, [2.1, 2.2, 2.3], Verdict.FAIL),
        (Kind.RATIO_AT_LEAST, 2.0, [2.0, 2.2, 2.3], Verdict.PASS),
        (Kind.RATIO_AT_LEAST, 2.0, [1.9, 2.2, 2.3], Verdict.CLOSE_PASS),
        (Kind.RATIO_AT_LEAST, 2.0, [1.0, 1.1, 1.2], Verdict.FAIL),
        (Kind.DIFFERENCE_AT_MOST, 0.5, [1.1, 1.2, 1.3], Verdict.PASS),
        (Kind.DIFFERENCE_AT_MOST, 0.5, [1.6, 1.7, 1.8], Verdict.FAIL),
        (Kind.AT_MOST, 2.0, [1.0, 1.0, 1.9], Verdict.PASS),
        (Kind.AT_MOST, 2.0, [2.5, 2.6, 2.7], Verdict.FAIL),
        (Kind.ALWAYS, 1.0, [1.0, 1.0, 1.0], Verdict.PASS),
        (Kind.ALWAYS, 1.0, [1.0, 1.0, 2.0], Verdict.FAIL),
        (Kind.ALWAYS, 1.0, [0.0, 1.0, 1.0], Verdict.FAIL),
    ],
)
def test_the_median_judges_and_the_other_rounds_are_mentioned(
    kind: Kind, limit: float, values: list[float], verdict: Verdict
) -> None:
    results = _results(mirror=values, nginx=[1.0] * len(values))
    assert results.judge(Bar("wall", kind, limit, "nginx"), "mirror") is verdict


def test_a_mirror_that_failed_once_keeps_no_promise() -> None:
    results = _results(mirror=[1.0], nginx=[1.0])
    results.fail("mirror", "round 2: it closed the connection")
    assert results.judge(Bar("wall", Kind.RATIO_AT_MOST, 2.0, "nginx"), "mirror") is Verdict.FAIL


def test_without_the_other_one_nothing_is_claimed() -> None:
    results = _results(mirror=[1.0])
    results.fail("nginx", "it did not start")
    assert results.judge(Bar("wall", Kind.RATIO_AT_MOST, 2.0, "nginx"), "mirror") is Verdict.UNKNOWN
