"""A line for each request at its end: what was asked, what was answered, how much of it left, and why."""

import logging
from contextlib import suppress
from typing import Any

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from mirror.http.keys import CUT, OUTCOME, SENT


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

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        facts: dict[str, Any] = {
            "client": request.remote,
            "method": request.method,
            "path": request.path,
            "status": response.status,
            "sent": _sent(request, response),
            "seconds": round(time, 6),
            "agent": request.headers.get("User-Agent", ""),
        }
        if (outcome := request.get(OUTCOME)) is not None:
            facts["cache"] = outcome.value
        if (reason := request.get(CUT)) is not None:
            facts["cut"] = reason
        # Its reader has gone, or its disk is full: that is no reason to break off the client's connection.
        with suppress(OSError, ValueError):
            self.logger.info("request", **facts)


def _sent(request: web.BaseRequest, response: web.StreamResponse) -> int:
    """Bytes of the body that left, without the head."""
    sent: int | None = request.get(SENT)
    if sent is not None:
        return sent
    body = response.body if isinstance(response, web.Response) and request.method != hdrs.METH_HEAD else None
    return len(body) if isinstance(body, bytes) else 0
