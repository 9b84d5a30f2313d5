"""What an upstream can do wrong: every fault is a small value that bends a correct reply into a bad one.

A fault knows nothing of sockets. It changes the reply's status, headers or body, or the plan of how the bytes go out
(held back, trickled, cut, with a false length); the fake server carries that plan out in one place.
"""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from multidict import CIMultiDict

Where = Literal["ping", "manifest", "blob", "tags", "referrers", "token", "cdn"]

_ERRORS = {
    400: ("UNSUPPORTED", "bad request"),
    401: ("UNAUTHORIZED", "authentication required"),
    403: ("DENIED", "requested access to the resource is denied"),
    404: ("MANIFEST_UNKNOWN", "manifest unknown"),
    405: ("UNSUPPORTED", "The operation is unsupported."),
    429: (
        "TOOMANYREQUESTS",
        "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit",
    ),
}


@dataclass(frozen=True)
class Asked:
    """What a fault may know of the request it spoils."""

    where: Where
    method: str
    url: str
    ranged: bool = False
    challenge: str = ""
    challenged: bool = False


@dataclass(frozen=True)
class Reply:
    """A response as data, and the plan of how its bytes go out.

    `whole` is the complete object when `body` is a range of it. `declared` is a Content-Length other than the body's.
    """

    status: int = 200
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    body: bytes = field(default=b"", repr=False)
    whole: bytes | None = field(default=None, repr=False)
    declared: int | None = None
    chunked: bool = False
    hold: Literal["", "headers", "body"] = ""
    hold_after: int = 0
    rate: float | None = None
    cut: int | None = None
    reset: bool = False
    drop: bool = False

    def having(self, headers: Mapping[str, str | None], **changes: Any) -> "Reply":
        """A copy with some headers set (or, for None, removed) and some fields changed."""
        merged = CIMultiDict(self.headers)
        for name, value in headers.items():
            merged.popall(name, None)
            if value is not None:
                merged[name] = value
        return replace(self, headers=merged, **changes)


def json_reply(status: int, document: object, headers: Mapping[str, str] | None = None) -> Reply:
    merged = CIMultiDict({"Content-Type": "application/json", **(headers or {})})
    return Reply(status, merged, json.dumps(document).encode())


def error_reply(status: int, headers: Mapping[str, str] | None = None, code: str = "", message: str = "") -> Reply:
    """An error as the distribution specification words it."""
    known_code, known_message = _ERRORS.get(status, ("UNKNOWN", "unknown error"))
    document = {"errors": [{"code": code or known_code, "message": message or known_message, "detail": None}]}
    return json_reply(status, document, headers)


@dataclass(frozen=True)
class Fault:
    """The base: applies to every request that was not turned away for want of a token."""

    def applies(self, asked: Asked) -> bool:
        return not asked.challenged

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        raise NotImplementedError


# Answers of another status


@dataclass(frozen=True)
class Status(Fault):
    """Another status. A 401 carries the usual challenge, so a repeated one is an authentication loop."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        headers = dict(self.headers)
        if self.code == 401 and asked.challenge:
            headers.setdefault("WWW-Authenticate", asked.challenge)
        answer = error_reply(self.code, headers)
        return answer if self.body is None else replace(answer, body=self.body)


@dataclass(frozen=True)
class Status416(Fault):
    """Says that the range cannot be had, whether or not one was asked for."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        size = len(reply.body if reply.whole is None else reply.whole)
        return Reply(416, CIMultiDict({"Content-Range": f"bytes */{size}"}))


@dataclass(frozen=True)
class Unasked206(Fault):
    """The first half as 206, though nobody asked for a range."""

    def applies(self, asked: Asked) -> bool:
        return super().applies(asked) and not asked.ranged

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        half = max(1, len(reply.body) // 2)
        content_range = f"bytes 0-{half - 1}/{len(reply.body)}"
        return reply.having({"Content-Range": content_range}, status=206, body=reply.body[:half])


@dataclass(frozen=True)
class IgnoreRange(Fault):
    """The whole object with 200, though a range was asked for."""

    def applies(self, asked: Asked) -> bool:
        return super().applies(asked) and asked.ranged

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        body = reply.body if reply.whole is None else reply.whole
        return reply.having({"Content-Range": None, "Accept-Ranges": None}, status=200, body=body, whole=None)


@dataclass(frozen=True)
class RedirectTo(Fault):
    """Sends the client somewhere else: another host, another scheme, a relative path."""

    url: str
    code: int = 307

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return Reply(self.code, CIMultiDict({"Location": self.url}))


@dataclass(frozen=True)
class RedirectLoop(Fault):
    """Redirects to the very same URL: for ever, or as many hops as the fault is armed for."""

    code: int = 307

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return Reply(self.code, CIMultiDict({"Location": asked.url}))


# Silence, slowness and cut connections


@dataclass(frozen=True)
class Hang(Fault):
    """Goes silent before the headers, or after `after_bytes` of the body, until released or cut."""

    before: Literal["headers", "body"] = "headers"
    after_bytes: int = 0

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, hold=self.before, hold_after=self.after_bytes)


@dataclass(frozen=True)
class Trickle(Fault):
    """Sends the body so slowly that no read ever times out; below one byte per second is possible."""

    bytes_per_second: float

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, rate=self.bytes_per_second)


@dataclass(frozen=True)
class CutAt(Fault):
    """Closes the connection after `k` body bytes; a negative `k` counts from the end, so -1 is all but the last.

    The client is sure to receive those bytes. With `reset` the connection is reset instead of closed, and bytes still
    on their way may be lost.
    """

    k: int
    reset: bool = False

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, cut=self.k if self.k >= 0 else max(0, len(reply.body) + self.k), reset=self.reset)


@dataclass(frozen=True)
class Drop(Fault):
    """Closes the connection without one byte of answer."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, drop=True)


# Lengths that lie


@dataclass(frozen=True)
class ShortLength(Fault):
    """Content-Length is smaller than the body that follows."""

    by: int = 1

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, declared=max(0, len(reply.body) - self.by))


@dataclass(frozen=True)
class LongLength(Fault):
    """Content-Length is larger than the body; the connection closes where the body ends."""

    by: int = 1

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, declared=len(reply.body) + self.by)


@dataclass(frozen=True)
class NoLength(Fault):
    """No Content-Length: a chunked body, and a HEAD that says nothing about the size."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, chunked=True)


# Bodies and headers that lie


@dataclass(frozen=True)
class WrongBytes(Fault):
    """The right length with one byte changed, by default the last: all that came before it was right."""

    at: int = -1

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        body = bytearray(reply.body)
        if body:
            body[self.at] ^= 0xFF
        return replace(reply, body=bytes(body))


@dataclass(frozen=True)
class WrongDigestHeader(Fault):
    """Docker-Content-Digest names other bytes than those sent."""

    digest: str = "sha256:" + "0" * 64

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"Docker-Content-Digest": self.digest})


@dataclass(frozen=True)
class NoDigestHeader(Fault):
    """No Docker-Content-Digest at all."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"Docker-Content-Digest": None})


@dataclass(frozen=True)
class HeadGetDisagree(Fault):
    """HEAD names another digest and another length than GET delivers."""

    digest: str = "sha256:" + "1" * 64

    def applies(self, asked: Asked) -> bool:
        return super().applies(asked) and asked.method == "HEAD"

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"Docker-Content-Digest": self.digest}, declared=len(reply.body) + 1)


@dataclass(frozen=True)
class Html200(Fault):
    """A captive portal: a friendly page with status 200."""

    body: bytes = b"<!DOCTYPE html><html><body><h1>Welcome, please sign in</h1></body></html>"

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return Reply(200, CIMultiDict({"Content-Type": "text/html; charset=utf-8"}), self.body)


@dataclass(frozen=True)
class Json200(Fault):
    """An error document with status 200."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(error_reply(404), status=200)


@dataclass(frozen=True)
class Gzip(Fault):
    """The right content under Content-Encoding: gzip, which nobody asked for."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"Content-Encoding": "gzip"}, body=gzip.compress(reply.body, mtime=0))


@dataclass(frozen=True)
class Empty200(Fault):
    """Status 200 and the usual headers over nothing."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"Content-Range": None}, status=200, body=b"")


@dataclass(frozen=True)
class GarbageJson(Fault):
    """The usual headers over something that starts like JSON."""

    body: bytes = b'\xef\xbb\xbf{"token": NaN, "tags": ["a", \xff\xfe'

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, body=self.body)


@dataclass(frozen=True)
class DeepJson(Fault):
    """Valid JSON nested deeper than a recursive parser survives."""

    depth: int = 100_000

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return replace(reply, body=b"[" * self.depth + b"]" * self.depth)


@dataclass(frozen=True)
class HugeTags(Fault):
    """A valid tag list of about `size` bytes."""

    size: int = 100 * 1024 * 1024

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        tag = b'"' + b"t" * 125 + b'",'
        body = b'{"name":"huge","tags":[' + tag * (self.size // len(tag)) + b'"last"]}'
        return replace(reply, body=body)


@dataclass(frozen=True)
class LinkLoop(Fault):
    """The next page is always this page."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"Link": f'<{asked.url}>; rel="next"'})


# Authentication


@dataclass(frozen=True)
class RealmAt(Fault):
    """The challenge names another realm. Applies to requests that get challenged."""

    url: str

    def applies(self, asked: Asked) -> bool:
        return asked.challenged

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return reply.having({"WWW-Authenticate": _at_realm(asked.challenge, self.url)})


@dataclass(frozen=True)
class TwoChallenges(Fault):
    """The right challenge and one of another realm, in either order, in one header or in two."""

    evil: str
    evil_first: bool = True
    joined: bool = False

    def applies(self, asked: Asked) -> bool:
        return asked.challenged

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        challenges = [_at_realm(asked.challenge, self.evil), asked.challenge]
        if not self.evil_first:
            challenges.reverse()
        bent = reply.having({"WWW-Authenticate": None})
        for challenge in [", ".join(challenges)] if self.joined else challenges:
            bent.headers.add("WWW-Authenticate", challenge)
        return bent


@dataclass(frozen=True)
class NoExpiresIn(Fault):
    """A token answer without expires_in."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return _without(reply, "expires_in")


@dataclass(frozen=True)
class NoIssuedAt(Fault):
    """A token answer without issued_at."""

    def bend(self, reply: Reply, asked: Asked) -> Reply:
        return _without(reply, "issued_at")


def _at_realm(challenge: str, realm: str) -> str:
    """The same challenge, service and scope included, with another realm."""
    parameters = challenge.split(",", 1)[1:]
    return ",".join([f'Bearer realm="{realm}"', *parameters])


def _without(reply: Reply, name: str) -> Reply:
    document = json.loads(reply.body)
    document.pop(name, None)
    return replace(reply, body=json.dumps(document).encode())
