"""Docker's daemon.json. It has everything else of Docker, too, so what is there is added to."""

import json
from typing import Any

from mirror.errors import ConfigError
from mirror.wiring.files import Conflict, File, Wanted

_HUB = "docker.io"
_MIRRORS = "registry-mirrors"
_PATH = "/etc/docker/daemon.json"
_RESTART = "restart Docker: systemctl restart docker"
_NO_DEFAULT = "; with no default upstream only Docker with its containerd store (28 and later) finds anything"


def docker(wanted: Wanted) -> list[File]:
    """Docker has mirrors for Docker Hub alone. Raises ConfigError where they would get something else."""
    if _HUB not in wanted.hosts:
        raise ConfigError(f"docker: it has mirrors for Docker Hub alone, and no upstream has the host {_HUB}")
    if wanted.default not in (_HUB, None):
        # The classic image store asks by name only, and would take the other registry's images for Docker Hub's.
        raise ConfigError(f"docker: it has mirrors for Docker Hub alone, and {wanted.default} is the default upstream")
    settings = {_MIRRORS: [str(wanted.server)]}
    if wanted.server.plain_http and not wanted.server.on_loopback:
        settings["insecure-registries"] = [wanted.server.address]
    then = _RESTART + (_NO_DEFAULT if wanted.default is None else "")
    return [File(_PATH, _dump(settings), then, merge, asked_first)]


def merge(present: str, content: str) -> str:
    """Add the lists of `content` to those of `present`, which stays as it is if they have it all. Raises Conflict."""
    try:
        settings = _settings(present)
        before = _dump(settings)
        for key, values in json.loads(content).items():
            settings[key] = _appended(key, settings.get(key, []), values)
        after = _dump(settings)
    except (ValueError, RecursionError) as error:
        raise Conflict(f"not valid JSON ({error}); put that right first") from None
    return present if after == before else after


def asked_first(present: str, content: str) -> str:
    """Docker asks its mirrors one after the other: which of them come before this server."""
    ours = json.loads(content)[_MIRRORS]
    there = [url.rstrip("/") for url in json.loads(merge(present, content))[_MIRRORS]]
    before = there[: min(there.index(url) for url in ours)]
    return f"before this server Docker still asks {', '.join(before)}; remove what is gone" if before else ""


def _settings(text: str) -> dict[str, Any]:
    settings = json.loads(text) if text.strip() else {}
    if not isinstance(settings, dict):
        raise Conflict("not a JSON object; put that right first")
    return settings


def _appended(key: str, present: object, values: list[str]) -> list[str]:
    if not isinstance(present, list) or not all(isinstance(value, str) for value in present):
        raise Conflict(f"{key} is not a list of strings; put that right first")
    known = {value.rstrip("/") for value in present}
    return present + [value for value in values if value not in known]


def _dump(settings: dict[str, Any]) -> str:
    # Python reads and writes NaN and Infinity; Docker would not start with them.
    return json.dumps(settings, indent=2, allow_nan=False) + "\n"
