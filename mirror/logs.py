"""Logs on standard error: for people on a terminal, as JSON lines elsewhere.

The rest of the project uses the standard library's logging with `extra`; only this file knows what a line looks like.
The access log has a shorter way to the same lines: it is written at every request (see docs/decisions/0006).
"""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mirror.config import Log

# Not one of these is ever logged on purpose; should one slip in, its value does not get out.
_SECRET = frozenset({"authorization", "password", "token", "secret", "cookie"})
_TIME = structlog.processors.TimeStamper(fmt="iso", utc=True)
# One encoder for all lines. ASCII only: what a client sends must not reach a terminal as control characters.
_ENCODER = json.JSONEncoder(ensure_ascii=True, default=repr)
_ACCESS = "mirror.access"
# How long a line of the access log waits for others; a write for each of them would cost more than all the rest.
_MOMENT_SECONDS = 0.05


def configure(config: Log) -> None:
    """Send every log line to standard error in the wanted form. Once, at start."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            _TIME,
            _mask,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(config)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(config.level.upper())
    for chatty in ("asyncio", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class Entry(NamedTuple):
    """One request in the access log; docs/operations.md has what the fields mean. None: there is nothing to say."""

    client: str | None
    method: str
    path: str
    status: int
    sent: int
    seconds: float
    agent: str
    cache: str | None = None
    cut: str | None = None


class AccessLog:
    """Lines of the access log. Those of a moment leave in one write."""

    def __init__(self, config: Log) -> None:
        self._stream = sys.stderr
        self._line = _console_line(self._stream.isatty()) if _is_console(config) else json_line
        self._waiting: list[str] = []

    def add(self, entry: Entry) -> None:
        """Call it on the loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(_MOMENT_SECONDS, self.flush)
        self._waiting.append(self._line(entry, _now()))

    def flush(self) -> None:
        lines, self._waiting = self._waiting, []
        # Its reader has gone, or its disk is full: that is no reason to break off anybody's connection.
        with suppress(OSError, ValueError):
            self._stream.write("".join(lines))
            self._stream.flush()


def access_log(config: Log) -> AccessLog | None:
    """None where it is not wanted."""
    return AccessLog(config) if config.access and config.level not in ("warning", "error") else None


def _is_console(config: Log) -> bool:
    return config.format == "console" or (config.format == "auto" and sys.stderr.isatty())


def _renderers(config: Log) -> list[Processor]:
    if _is_console(config):
        return [_console(sys.stderr.isatty())]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_encode)]


def json_line(entry: Entry, now: str) -> str:
    """One line of JSON, in ASCII. By hand: a general encoder costs a tenth of a whole warm pull."""
    quoted = encode_basestring_ascii
    more = f', "cache": {quoted(entry.cache)}' if entry.cache is not None else ""
    if entry.cut is not None:
        more += f', "cut": {quoted(entry.cut)}'
    return (
        f'{{"timestamp": "{now}", "level": "info", "logger": "{_ACCESS}", "event": "request", '
        f'"client": {quoted(entry.client or "")}, "method": {quoted(entry.method)}, "path": {quoted(entry.path)}, '
        f'"status": {entry.status}, "sent": {entry.sent}, "seconds": {entry.seconds:.6f}, '
        f'"agent": {quoted(entry.agent)}{more}}}\n'
    )


def _console_line(terminal: bool) -> Callable[[Entry, str], str]:
    console = _console(terminal)

    def line(entry: Entry, now: str) -> str:
        rounded = entry._replace(seconds=round(entry.seconds, 6))
        said = {name: value for name, value in rounded._asdict().items() if value is not None}
        facts = {"timestamp": now, "level": "info", "logger": _ACCESS, "event": "request", **said}
        return str(console(None, "info", facts)) + "\n"

    return line


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _console(terminal: bool) -> Processor:
    # Not the pretty traceback: it prints the values of local variables, and with them whatever is secret.
    return structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)


def _encode(event: EventDict, **_options: object) -> str:
    return _ENCODER.encode(event)


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in _SECRET & event.keys():
        event[key] = "********"
    return event
