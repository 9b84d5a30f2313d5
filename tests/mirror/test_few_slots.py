"""With few requests at once a manifest waits behind whole blobs: the operator is told so."""

from typing import Any

import pytest

from mirror import serving
from mirror.config import Config

LINE = "clients may wait for a manifest behind whole blobs"


async def test_a_start_with_few_requests_at_once(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    limits = {"dockerhub": 0, "ghcr": 1, "quay": 3, "gcr": 4}
    upstreams = {name: {"max_requests_at_once": limit} for name, limit in limits.items()}
    sections = {"server": {"listen": "127.0.0.1:0"}, "storage": {"root": tmp_path / "store"}, "upstreams": upstreams}
    async with serving.serving(Config.model_validate(sections)):
        pass
    lines = [record for record in caplog.records if record.getMessage() == LINE]
    assert [vars(line)["upstreams"] for line in lines] == [["ghcr.io", "quay.io"]]
