"""A line for each request at its end: what was asked, what was answered, how much of it left, and why."""

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from mirror.http.keys import CUT, OUTCOME, SENT


class AccessLogger(AbstractAccessLogger):
    """The query is left out: it may hold what is nobody's business, and it is in the client's hand."""

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        facts: dict[str, object] = {
            "client": request.remote,
            "method": request.method,
            "path": request.path,
            "status": response.status,
            "sent": request.get(SENT, response.body_length),
            "seconds": round(time, 6),
            "agent": request.headers.get("User-Agent", ""),
        }
        if (outcome := request.get(OUTCOME)) is not None:
            facts["cache"] = outcome.value
        if (reason := request.get(CUT)) is not None:
            facts["cut"] = reason
        self.logger.info("request", extra=facts)
