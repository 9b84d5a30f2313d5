"""Thirty kills; `make crash N=1000` for more."""

from pathlib import Path

import pytest

from tests.crash.rounds import run


@pytest.mark.crash
@pytest.mark.timeout(600)
async def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    report = await run(kills=30, seed=2026, folder=tmp_path)
    assert not report.broken, str(report)
    assert report.kills == 30
    assert report.acknowledged > 100, "the kills came in the middle of work"
    assert report.in_flight > 30
    assert report.resumed > 0
    assert report.checked > report.acknowledged
