"""A line for each request at its end: what was asked, what was answered, how much of it left, and why."""

import logging
from time import time as clock

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from mirror.http.keys import NOTES, Notes
from mirror.logs import AccessLog, Entry

# Longer than any that means something; what a client sends must not fill the disk with log.
_MAX_PATH, _MAX_AGENT = 1024, 256


class BadRequests(logging.Filter):
    """What is not HTTP at all gets a line, not a traceback: any port scan sends it, and the bytes may hold a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args, record.exc_info = "a request that is not HTTP was refused", (), None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


class AccessLogger(AbstractAccessLogger):
    """The query is left out: it may hold what is nobody's business, and it is in the client's hand."""

    logger: AccessLog  # type: ignore[assignment]  # aiohttp thinks of logging.Logger, and only hands it through

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        notes = request.get(NOTES) or Notes()  # what is not HTTP came by no handler
        self.logger.add(
            Entry(
                at=clock(),
                client=request.remote,
                method=request.method,
                path=request.path[:_MAX_PATH],
                status=response.status,
                sent=_body_length(request, response) if notes.sent is None else notes.sent,
                seconds=time,
                agent=request.headers.get("User-Agent", "")[:_MAX_AGENT],
                cache=notes.cache,
                cut=notes.cut,
            )
        )


def _body_length(request: web.BaseRequest, response: web.StreamResponse) -> int:
    body = response.body if isinstance(response, web.Response) and request.method != hdrs.METH_HEAD else None
    return len(body) if isinstance(body, bytes) else 0
