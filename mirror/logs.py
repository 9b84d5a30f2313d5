"""Logs on standard error: for people on a terminal, as JSON lines elsewhere.

The rest of the project uses the standard library's logging with `extra`; only this file knows what a line looks like.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mirror.config import Log

# Not one of these is ever logged on purpose; should one slip in, its value does not get out.
_SECRET = ("authorization", "password", "token", "secret", "cookie")


def configure(config: Log) -> None:
    """Send every log line to standard error in the wanted form. Once, at start."""
    as_json = config.format == "json" or (config.format == "auto" and not sys.stderr.isatty())
    renderers: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _mask,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(config.level.upper())
    logging.getLogger("mirror.access").disabled = not config.access
    for chatty in ("asyncio", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key in event:
        if any(secret in key.lower() for secret in _SECRET):
            event[key] = "********"
    return event
