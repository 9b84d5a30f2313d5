"""What an upstream gives to our account is not public: whoever opens the server to others is told who gets it."""

from typing import Any

import pytest

from mirror import serving
from mirror.config import Config

LINE = "everyone who reaches this server may pull what its accounts may pull"
LOGIN = {"username": "operator", "password": "canary-secret"}


@pytest.mark.parametrize(
    ("listen", "upstreams", "named"),
    [
        ("0.0.0.0:0", {"dockerhub": LOGIN, "ghcr": {}}, ["docker.io"]),
        ("[::]:0", {"dockerhub": {"accounts": [LOGIN]}, "ghcr": {"credential_helper": "x"}}, ["docker.io", "ghcr.io"]),
        ("0.0.0.0:0", {"dockerhub": {}}, None),
        ("127.0.0.1:0", {"dockerhub": LOGIN}, None),
    ],
)
async def test_a_start_with_an_account(
    tmp_path: Any, caplog: pytest.LogCaptureFixture, listen: str, upstreams: dict[str, Any], named: list[str] | None
) -> None:
    sections = {"server": {"listen": listen}, "storage": {"root": tmp_path / "store"}, "upstreams": upstreams}
    async with serving.serving(Config.model_validate(sections)):
        pass
    lines = [record for record in caplog.records if record.getMessage() == LINE]
    assert [vars(line)["upstreams"] for line in lines] == ([] if named is None else [named])
    assert "canary-secret" not in caplog.text
