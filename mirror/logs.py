"""Logs on standard error: for people on a terminal, as JSON lines elsewhere.

The rest of the project uses the standard library's logging with `extra`; only this file knows what a line looks like.
The access log has a shorter way to the same lines: it is written at every request (see docs/decisions/0006).
"""

import json
import logging
import sys

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from mirror.config import Log

# Not one of these is ever logged on purpose; should one slip in, its value does not get out.
_SECRET = frozenset({"authorization", "password", "token", "secret", "cookie"})
_TIME = structlog.processors.TimeStamper(fmt="iso", utc=True)
# One encoder for all lines. ASCII only: what a client sends must not reach a terminal as control characters.
_ENCODER = json.JSONEncoder(ensure_ascii=True, default=repr)


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


def access_logger(config: Log) -> FilteringBoundLogger | None:
    """The logger of the access log; None where it is not wanted."""
    if not config.access or config.level in ("warning", "error"):
        return None
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[structlog.processors.add_log_level, _TIME, *_renderers(config)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return logger.bind(logger="mirror.access")


def _renderers(config: Log) -> list[Processor]:
    terminal = sys.stderr.isatty()
    if config.format == "console" or (config.format == "auto" and terminal):
        return [_console(terminal)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_encode)]


def _console(terminal: bool) -> Processor:
    # Not the pretty traceback: it prints the values of local variables, and with them whatever is secret.
    return structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)


def _encode(event: EventDict, **_options: object) -> str:
    return _ENCODER.encode(event)


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in _SECRET & event.keys():
        event[key] = "********"
    return event
