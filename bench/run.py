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
        for number in range(row.rounds_of(rounds)):
            tell(f"{row.number} {row.title}: round {number + 1} of {row.rounds_of(rounds)}")
            for peer in in_turn(list(cases), number):
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


def in_turn(peers: list[str], number: int) -> list[str]:
    """The order of one round, from a Williams square: none is always first, none always comes after the same other.

    Balanced after as many rounds as there are peers, or twice as many where their number is odd.
    """
    count = len(peers)
    shift, backwards = divmod(number, 2) if count % 2 else (number, 0)
    zigzag = [(step + 1) // 2 if step % 2 else -step // 2 for step in range(count)]
    order = [peers[(place + shift) % count] for place in zigzag]
    return order[::-1] if backwards else order


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
