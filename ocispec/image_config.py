"""Read the config of an image: what it runs on, how it was made, what it says of itself (OCI image-spec, config.md).

Nobody depends on it to be right: whatever in it cannot be understood is left out, and the image is served all the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ocispec.platform import Platform

MEDIA_TYPES = frozenset({"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"})
# Real ones have some ten kilobytes.
MAX_BYTES = 2**19
_MAX_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the history. `is_empty`: it made no layer."""

    created_by: str
    created: str = ""
    comment: str = ""
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says of itself; `created` is as it is written (RFC 3339)."""

    platform: Platform | None = None
    created: str = ""
    author: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Step, ...] = ()
    user: str = ""
    working_dir: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()


def parse_image_config(body: bytes) -> ImageConfig | None:
    """None for what is no such config at all."""
    if len(body) > MAX_BYTES:
        return None
    try:
        value = json.loads(body)
        # What cannot be written again, such as half of a surrogate pair, could be shown to nobody.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    run = _map(value, "config")
    return ImageConfig(
        platform=Platform.from_json(value),
        created=_text(value, "created"),
        author=_text(value, "author"),
        labels={key: text for key, text in _map(run, "Labels").items() if isinstance(text, str)},
        history=_history(value.get("history")),
        user=_text(run, "User"),
        working_dir=_text(run, "WorkingDir"),
        entrypoint=_texts(run.get("Entrypoint")),
        command=_texts(run.get("Cmd")),
        environment=_texts(run.get("Env")),
        ports=tuple(_map(run, "ExposedPorts")),
        volumes=tuple(_map(run, "Volumes")),
    )


def _history(value: object) -> tuple[Step, ...]:
    entries = value[:_MAX_STEPS] if isinstance(value, list) else []
    return tuple(
        Step(
            _text(entry, "created_by"),
            _text(entry, "created"),
            _text(entry, "comment"),
            entry.get("empty_layer") is True,
        )
        for entry in entries
        if isinstance(entry, dict)
    )


def _map(value: Mapping[str, object], key: str) -> dict[str, object]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: Mapping[str, object], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
