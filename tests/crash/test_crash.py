"""Twenty-five kills; `make crash N=1000` for more."""

from pathlib import Path

import pytest

from tests.crash.loop import run


@pytest.mark.crash
@pytest.mark.timeout(600)
async def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    report = await run(kills=25, seed=2026, folder=tmp_path)
    assert report.kills == 25
    assert report.acknowledged > 25, "the kills came in the middle of work"
    assert report.checked > report.acknowledged
