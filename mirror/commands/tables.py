"""What is found, as tables for a terminal."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from mirror.commands.text import amount, table

_Entries = Sequence[Mapping[str, Any]]
_SHORT = 19  # `sha256:` and twelve digits


def results(found: _Entries) -> str:
    rows = [
        (
            one["name"],
            "here" if one["here"] else "",
            str(one["stars"] or ""),
            "official" if one["official"] else "",
            _cut(one["description"], 60),
        )
        for one in found
    ]
    return "\n".join(table(("name", "", "stars", "", "description"), rows))


def repositories(found: _Entries) -> str:
    rows = [(one["repository"], str(one["tags"]), str(one["pulls"]), _when(one["last_pulled_at"])) for one in found]
    return "\n".join(table(("repository", "tags", "pulls", "last pulled"), rows))


def tags(found: _Entries) -> str:
    rows = [
        (
            one["name"],
            one["digest"][:_SHORT],
            amount(one["size"]),
            ",".join(one["platforms"]),
            one["freshness"],
            str(one["pulls"]),
            _when(one["last_pulled_at"]),
        )
        for one in found
    ]
    return "\n".join(table(("tag", "digest", "size", "platforms", "state", "pulls", "last pulled"), rows))


def moves(found: _Entries) -> str:
    rows = [
        (
            _when(one["at"]),
            one["tag"],
            one["cause"],
            (one["before"] or "new")[:_SHORT],
            (one["after"] or "gone")[:_SHORT],
        )
        for one in found
    ]
    return "\n".join(table(("when", "tag", "by", "from", "to"), rows))


def image(found: Mapping[str, Any]) -> str:
    lines = [f"{found['repository']}@{found['digest']}", f"type: {found['media_type']}"]
    if found["entries"]:
        entries = [
            (one["platform"] or "-", one["digest"][:_SHORT], "here" if one["here"] else "") for one in found["entries"]
        ]
        lines += ["", *table(("platform", "digest", ""), entries)]
    if found["layers"]:
        lines += ["", *table(("layer", "size", "shared by", "made by"), [_layer(one) for one in found["layers"]])]
    config = found["config"] or {}
    for key in ("platform", "created", "user", "working_dir", "entrypoint", "command", "ports"):
        if config.get(key):
            lines.append(f"{key.replace('_', ' ')}: {_text(config[key])}")
    labels = {**config.get("labels", {}), **found["annotations"]}
    lines += [f"{key}: {value}" for key, value in sorted(labels.items())]
    lines += [f"referrer: {one['digest']} {one['artifact_type'] or one['media_type']}" for one in found["referrers"]]
    return "\n".join(lines)


def _layer(layer: Mapping[str, Any]) -> tuple[str, str, str, str]:
    step = layer["made_by"] or {"created_by": ""}
    return layer["digest"][:_SHORT], amount(layer["size"]), str(layer["shared_by"]), _cut(step["created_by"], 70)


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _cut(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _when(moment: float | None) -> str:
    return "never" if moment is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
