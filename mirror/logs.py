"""Logs on standard error: for people on a terminal, as JSON lines elsewhere.

The rest of the project uses the standard library's logging with `extra`; only this file knows what a line looks like.
The access log has a shorter way to the same lines: it is written at every request (see docs/decisions/0006).
"""

import asyncio
import io
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from queue import SimpleQueue
from typing import NamedTuple, Protocol, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from mirror.config import Log
from mirror.printable import printable

log = logging.getLogger(__name__)

# So many lines (or, of the access log, moments) may wait for a reader that is slow.
_MAX_WAITING = 10_000
# Not one of these is ever logged on purpose; should one slip in, its value does not get out.
_SECRET = frozenset({"authorization", "password", "token", "secret", "cookie"})
_TIME = structlog.processors.TimeStamper(fmt="iso", utc=True)
# One encoder for all lines. ASCII only: what a client sends must not reach a terminal as control characters.
_ENCODER = json.JSONEncoder(ensure_ascii=True, default=repr)
_ACCESS = "mirror.access"
# How long a line of the access log waits for others; a write for each of them would cost more than all the rest.
_MOMENT_SECONDS = 0.05


class Stream(Protocol):
    """Where log lines go."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...
    def isatty(self) -> bool: ...


class Outlet(threading.Thread):
    """Standard error, behind a thread: whoever reads it may stall, and the server must not.

    What does not fit any more is dropped, and counted.
    """

    def __init__(self, fd: int = 2) -> None:
        super().__init__(name="log", daemon=True)
        # Not sys.stderr: its lock would be held while a write stalls, and Python wants it to end.
        self._fd, self._dropped = fd, 0
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self.start()

    def write(self, text: str) -> None:
        if self._waiting.qsize() < _MAX_WAITING:
            self._waiting.put(text)
        else:
            self._dropped += 1

    def flush(self) -> None:
        """The thread does it."""

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def run(self) -> None:
        while (text := self._waiting.get()) is not None:
            # Its reader has gone, or its disk is full: that is no reason to stop serving.
            with suppress(OSError):
                rest = memoryview(text.encode(errors="backslashreplace"))
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                log.warning("log lines were dropped, for want of a reader", extra={"lines": dropped})

    def close(self) -> None:
        """Let out what waits, if that goes within a second."""
        self._waiting.put(None)
        self.join(1)


def configure(config: Log, stream: Stream) -> None:
    """Send every log line there in the wanted form. Once, at start."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            _TIME,
            _mask,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(config, stream)],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(config.level.upper())
    for chatty in ("asyncio", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class Entry(NamedTuple):
    """One request in the access log; docs/operations.md has what the fields mean. None: there is nothing to say.

    `at` is when it ended, in seconds since 1970.
    """

    at: float
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
    """Lines of the access log. Those of a moment are made at once, which halves their cost, and leave in one write."""

    def __init__(self, config: Log, stream: Stream) -> None:
        self._stream = stream
        self._line = _console_line(stream.isatty()) if _is_console(config, stream) else json_line
        self._waiting: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Call it on the loop."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(_MOMENT_SECONDS, self.flush)
        self._waiting.append(entry)

    def flush(self) -> None:
        entries, self._waiting = self._waiting, []
        lines = "".join(map(self._line, entries))
        with suppress(OSError, ValueError):
            self._stream.write(lines)


def access_log(config: Log, stream: Stream | None = None) -> AccessLog | None:
    """None where it is not wanted."""
    wanted = config.access and config.level not in ("warning", "error")
    return AccessLog(config, stream or sys.stderr) if wanted else None


def _is_console(config: Log, stream: Stream) -> bool:
    return config.format == "console" or (config.format == "auto" and stream.isatty())


def _renderers(config: Log, stream: Stream) -> list[Processor]:
    if _is_console(config, stream):
        return [_console(stream.isatty())]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_encode)]


def json_line(entry: Entry) -> str:
    """One line of JSON, in ASCII. By hand: a general encoder costs a tenth of a whole warm pull."""
    quoted = encode_basestring_ascii
    more = f', "cache": {quoted(entry.cache)}' if entry.cache is not None else ""
    if entry.cut is not None:
        more += f', "cut": {quoted(entry.cut)}'
    return (
        f'{{"timestamp": "{_time(entry.at)}", "level": "info", "logger": "{_ACCESS}", "event": "request", '
        f'"client": {quoted(entry.client or "")}, "method": {quoted(entry.method)}, "path": {quoted(entry.path)}, '
        f'"status": {entry.status}, "sent": {entry.sent}, "seconds": {entry.seconds:.6f}, '
        f'"agent": {quoted(entry.agent)}{more}}}\n'
    )


def _console_line(terminal: bool) -> Callable[[Entry], str]:
    console = _console(terminal)

    def line(entry: Entry) -> str:
        rounded = entry._replace(seconds=round(entry.seconds, 6))
        said = {name: value for name, value in rounded._asdict().items() if value is not None}
        moment = _time(said.pop("at"))
        facts = {"timestamp": moment, "level": "info", "logger": _ACCESS, "event": "request", **said}
        return str(console(None, "info", facts)) + "\n"

    return line


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _console(terminal: bool) -> Processor:
    """Lines for a terminal, which obeys what it is sent: nothing from elsewhere gets there as it came."""
    render = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=_traceback)

    def console(logger: WrappedLogger, method: str, event: EventDict) -> str:
        said = {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}
        return render(logger, method, said)

    return console


def _traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    """Not the pretty one: it prints the values of local variables, and with them whatever is secret."""
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    stream.write("\n".join(map(printable, plain.getvalue().split("\n"))))


def _encode(event: EventDict, **_options: object) -> str:
    return _ENCODER.encode(event)


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in _SECRET & event.keys():
        event[key] = "********"
    return event
