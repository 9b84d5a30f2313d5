"""Round after round, every peer in turn: what the machine does to one it does to all."""

from collections.abc import Callable
from contextlib import ExitStack

from bench.peers import available
from bench.results import Results
from bench.rows import Case, Row
from bench.stage import Stage

Tell = Callable[[str], None]


def run(row: Row, stage: Stage, rounds: int, tell: Tell) -> Results:
    """Measure one row. A peer that fails is in the results with its reason; the others go on."""
    results = Results()
    with ExitStack() as stack:
        cases = _prepare(row, stage, stack, results)
        for number in range(rounds):
            tell(f"{row.number} {row.title}: round {number + 1} of {rounds}")
            for peer in _in_turn(list(cases), number):
                _sample(peer, cases[peer], number, results)
    return results


def _prepare(row: Row, stage: Stage, stack: ExitStack, results: Results) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for peer in (peer for peer in row.peers if peer in available()):
        try:
            cases[peer] = row.prepare(stage, peer, stack)
        except Exception as error:
            results.fail(peer, _reason(error))
    return cases


def _sample(peer: str, case: Case, number: int, results: Results) -> None:
    try:
        results.add(peer, number, case(number))
    except Exception as error:
        results.fail(peer, f"round {number + 1}: {_reason(error)}")


def _in_turn(peers: list[str], number: int) -> list[str]:
    """Each round begins with another peer, so that none always goes first."""
    first = number % len(peers) if peers else 0
    return peers[first:] + peers[:first]


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
