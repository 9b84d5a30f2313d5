"""How an endpoint of an upstream is doing, and so whether it is worth asking.

The breaker opens when nothing is heard from it several times in a row. From then on nobody waits for it, and a probe of
our own finds out when it is back. An answer is an answer: 404, 401 and 500 do not open it. No I/O.
"""

# So many requests in a row without an answer.
_FAILURES = 3
# Between two probes: the first wait, and the longest.
FIRST_PROBE, _MAX_PROBE = 1.0, 30.0


class Health:
    """Of one endpoint. Whoever sends looks at `is_open` first and tells afterwards how it went."""

    def __init__(self) -> None:
        self._failures = 0
        self._probes = 0
        self.is_open = False

    def answered(self) -> None:
        """Whatever the answer was."""
        self._failures, self._probes, self.is_open = 0, 0, False

    def failed(self) -> bool:
        """No answer; whether that was so often that it is worth finding out why."""
        self._failures += 1
        return not self.is_open and self._failures >= _FAILURES

    def open(self) -> None:
        """A probe had no answer either."""
        self.is_open = True

    def next_probe(self) -> float:
        """Seconds to wait before the next probe."""
        wait = min(_MAX_PROBE, FIRST_PROBE * 2.0**self._probes)
        self._probes += 1
        return wait
