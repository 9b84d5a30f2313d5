"""A registry like Docker Hub on loopback: three real HTTP servers that record what they were asked and can misbehave.

`FakeHub` is the registry, its token service and the CDN that holds the blobs, each on a port of its own, so that
everything a client must get right between hosts (tokens, redirects, which header goes where) really happens.
`Decoy` is a host that must see nothing, or an internal host that a bad upstream points at.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import secrets
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, Self, get_args
from urllib.parse import quote

from aiohttp import web
from multidict import CIMultiDict

from tests.fakes.faults import Asked, Fault, Reply, Where, error_reply, json_reply
from tests.fakes.images import OCI_INDEX, Image, Index, Repository, digest_of

ServerName = Literal["registry", "token", "cdn", "decoy"]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_SERVICE = "registry.docker.io"
_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>[^/]+)")
_KINDS: Mapping[str, Where] = {"manifests": "manifest", "blobs": "blob", "tags": "tags", "referrers": "referrers"}
_CDN_PATH = re.compile(r"/registry-v2/docker/registry/v2/blobs/sha256/[0-9a-f]{2}/(?P<hex>[0-9a-f]{64})/data")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_NOT_FOUND = Reply(404, CIMultiDict({"Content-Type": "text/plain; charset=utf-8"}), b"404 page not found\n")


@dataclass(frozen=True)
class Seen:
    """One request as it arrived. The status is 0 until the head of the answer goes out."""

    server: ServerName
    method: str
    path: str
    query: dict[str, str]
    headers: CIMultiDict[str]
    status: int = 0


class Recorder:
    """The requests a fake has seen, in the order they arrived."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []

    def log(self) -> list[str]:
        """Short lines such as "registry GET /v2/library/nginx/manifests/latest 200"; "-" while unanswered."""
        return [f"{seen.server} {seen.method} {seen.path} {seen.status or '-'}" for seen in self.requests]

    def count(self, server: str = "", method: str = "", path_contains: str = "") -> int:
        """How many requests match; an empty argument matches all."""
        return sum(
            server in ("", seen.server) and method in ("", seen.method) and path_contains in seen.path
            for seen in self.requests
        )

    def clear(self) -> None:
        """Forget the requests; faults and tokens stay."""
        self.requests.clear()

    def _record(self, server: ServerName, request: web.BaseRequest) -> Seen:
        query = {key: " ".join(request.query.getall(key)) for key in request.query}
        seen = Seen(server, request.method, request.path, query, CIMultiDict(request.headers))
        self.requests.append(seen)
        return seen

    def _settle(self, seen: Seen, status: int) -> None:
        """Note the status, unless the record has been cleared meanwhile."""
        for position, candidate in enumerate(self.requests):
            if candidate is seen:
                self.requests[position] = replace(seen, status=status)
                return


class Load:
    """Requests under way, and the most that there were at a time."""

    def __init__(self) -> None:
        self.now = self.most = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield
        finally:
            self.now -= 1


class Listener:
    """An HTTP server on one loopback port that stays reserved while the server is down."""

    def __init__(self, handler: Handler) -> None:
        self.port = 0
        self.connections = 0
        self._handler = handler
        self._reserved: socket.socket | None = None
        self._site: asyncio.Server | None = None
        self._server: web.Server | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen. The first call picks the port; a call while listening does nothing."""
        if self._site is not None:
            return
        if self._reserved is None:
            # Bound but never listening: refuses connections while we are down, and keeps the port from others.
            self._reserved = _bound_socket(0)
            self.port = self._reserved.getsockname()[1]
        self._server = web.Server(self._handler, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        self._site = await loop.create_server(self._accept, sock=_bound_socket(self.port), backlog=1024)

    async def stop(self) -> None:
        """Refuse new connections and cut the open ones, whatever they are doing."""
        if self._site is None or self._server is None:
            return
        self._site.close()
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)
        await self._server.shutdown(1.0)
        await self._site.wait_closed()
        self._site = self._server = None

    async def close(self) -> None:
        await self.stop()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    def _accept(self) -> asyncio.Protocol:
        assert self._server is not None
        self.connections += 1
        return self._server()


class FakeHub(Recorder):
    """Docker Hub in one process.

    Like Hub it answers blobs with a redirect, hides repositories it does not know behind a 401, has no referrers API
    and counts manifest GETs (not HEADs, not indexes) against a limit, after which they get 429. Every such habit is
    an attribute that may be changed at any time. It does not choose manifests by Accept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.repositories: dict[str, Repository] = {}
        self.accounts = {"operator": "correct-horse"}
        self.identity_tokens: dict[str, str] = {}  # to the accounts they are for
        self.basic = False  # the registry wants the account itself, and no token
        self.private: set[str] = set()
        self.authentication = True
        self.anonymous = True
        self.hides_missing = True
        self.redirects = True
        self.referrers = False
        self.rate_limit = 100
        self.pulls = 0
        self.account_limits: dict[str, int] = {}  # of accounts that have pulls of their own
        self.account_pulls: Counter[str] = Counter()
        self.token_lifetime = 300
        self.url_lifetime = 600
        self.latency = 0.0
        self.bandwidth: float | None = None
        self.load = Load()  # of all three servers together; several hubs may share one
        self.clock: Callable[[], float] = time.time
        self._faults: list[_Armed] = []
        self._tokens: dict[str, _Grant] = {}
        self._url_key = secrets.token_bytes(16)
        self._released = asyncio.Event()
        self._registry = Listener(self._serve_registry)
        self._token = Listener(self._serve_token)
        self._cdn = Listener(self._serve_cdn)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for listener in self._listeners():
            await listener.close()

    # Where it is, and whether it is up

    @property
    def url(self) -> str:
        """The base URL of the registry."""
        return f"http://{self._registry.host}"

    @property
    def host(self) -> str:
        return self._registry.host

    @property
    def token_host(self) -> str:
        return self._token.host

    @property
    def cdn_host(self) -> str:
        return self._cdn.host

    async def start(self, *servers: ServerName) -> None:
        """Bring the named servers (all, if none is named) up, on the ports they always had."""
        for listener in self._listeners(*servers):
            await listener.start()

    async def stop(self, *servers: ServerName) -> None:
        """Take the named servers (all, if none is named) down: open connections are cut, new ones refused."""
        for listener in self._listeners(*servers):
            await listener.stop()

    def _listeners(self, *servers: ServerName) -> list[Listener]:
        listeners: dict[ServerName, Listener] = {"registry": self._registry, "token": self._token, "cdn": self._cdn}
        return [listeners[server] for server in servers] if servers else list(listeners.values())

    # What it holds

    def repository(self, name: str) -> Repository:
        return self.repositories.setdefault(name, Repository())

    def add_image(self, repository: str, tag: str | None, image: Image) -> str:
        """Hold an image, under a tag or by digest only; gives the digest back."""
        return self._add(repository, tag, image)

    def add_index(self, repository: str, tag: str | None, index: Index) -> str:
        """Hold an index and all its images; gives the digest back."""
        return self._add(repository, tag, index)

    def add_blob(self, repository: str, data: bytes) -> str:
        digest = digest_of(data)
        self.repository(repository).blobs[digest] = data
        return digest

    def move_tag(self, repository: str, tag: str, target: Image | Index | str) -> None:
        """Let a tag name other content, added if needed, or a digest."""
        held = self.repository(repository)
        held.tags[tag] = target if isinstance(target, str) else held.add(target)

    def delete_tag(self, repository: str, tag: str) -> None:
        del self.repository(repository).tags[tag]

    def _add(self, repository: str, tag: str | None, content: Image | Index) -> str:
        held = self.repository(repository)
        digest = held.add(content)
        if tag is not None:
            held.tags[tag] = digest
        return digest

    # How it misbehaves

    def fault(self, where: Where, fault: Fault, times: int | None = None, match: str = "") -> None:
        """Let the next `times` (None: all) requests of a kind go wrong, one fault per request, oldest fault first.

        `match` must occur in "METHOD /path?query". A registry request without a valid token is challenged as ever and
        uses up no fault, except those that change the challenge.
        """
        if where not in get_args(Where):
            raise ValueError(f"no such kind of request: {where}")
        self._faults.append(_Armed(where, fault, times, match))

    def clear_faults(self) -> None:
        """Behave well again and let go of every stalled request."""
        self._faults.clear()
        self.release()

    def release(self) -> None:
        """Let the requests that hang now go on."""
        self._released.set()
        self._released = asyncio.Event()

    def revoke_tokens(self) -> None:
        """No token handed out so far is good any more."""
        self._tokens.clear()

    def expire_urls(self) -> None:
        """No signed URL handed out so far is good any more."""
        self._url_key = secrets.token_bytes(16)

    def _spoil(self, asked: Asked, reply: Reply) -> Reply:
        """The one place where faults act."""
        for armed in self._faults:
            if armed.hits(asked):
                if armed.times is not None:
                    armed.times -= 1
                    if armed.times == 0:
                        self._faults.remove(armed)
                return armed.fault.bend(reply, asked)
        return reply

    # The three servers

    async def _serve_registry(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = self._record("registry", request)
        route = _ROUTE.fullmatch(request.path)
        where: Where = _KINDS[route["kind"]] if route else "ping"
        name = route["name"] if route else ""
        token = _credential(request, "bearer")
        allowed = self._account(request) if self.basic else self._may_pull(token, name)
        challenged = self.authentication and not allowed
        asked = replace(_asked(where, request), challenge=self._challenge(name), challenged=challenged)
        reply = self._unauthorized(asked, token) if challenged else self._answer(request, route)
        return await self._finish(seen, request, self._spoil(asked, reply))

    async def _serve_token(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = self._record("token", request)
        form = await request.post()
        reply = self._spoil(_asked("token", request), self._grant(request, form))
        return await self._finish(seen, request, reply)

    async def _serve_cdn(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = self._record("cdn", request)
        reply = self._spoil(_asked("cdn", request), self._signed_object(request))
        return await self._finish(seen, request, reply)

    async def _finish(self, seen: Seen, request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
        released = self._released
        with self.load.one():
            await asyncio.sleep(self.latency)
            if reply.hold == "headers":
                await released.wait()
            if not reply.drop:
                self._settle(seen, reply.status)
            return await _send(request, reply, self.bandwidth, released)

    # The registry

    def _answer(self, request: web.BaseRequest, route: re.Match[str] | None) -> Reply:
        if request.method not in ("GET", "HEAD"):
            return error_reply(405)
        if route is None:
            api = {"Docker-Distribution-Api-Version": "registry/2.0"}
            return json_reply(200, {}, api) if request.path == "/v2/" else _NOT_FOUND
        held = self.repositories.get(route["name"])
        if held is None:
            return error_reply(404, code="NAME_UNKNOWN", message="repository name not known to registry")
        match route["kind"]:
            case "manifests":
                return self._manifest(request, held, route["reference"])
            case "blobs":
                return self._blob(request, held, route["reference"])
            case "tags":
                return _tags(request, route["name"], held)
            case _:
                return self._referrers(request, held, route["reference"])

    def _manifest(self, request: web.BaseRequest, held: Repository, reference: str) -> Reply:
        found = held.find(reference)
        if found is None:
            return error_reply(404)
        media_type, data = found
        counts = request.method == "GET" and b'"layers"' in data
        account = self._puller(request)
        if counts and self._left(account) <= 0:
            return error_reply(429, self._rate_headers(account))
        self.pulls += counts
        self.account_pulls[account] += counts
        digest = digest_of(data)
        headers = {
            "Content-Type": media_type,
            "Docker-Content-Digest": digest,
            "Docker-Distribution-Api-Version": "registry/2.0",
            "Etag": f'"{digest}"',
            **self._rate_headers(account),
        }
        if request.headers.get("If-None-Match") == headers["Etag"]:
            return Reply(304, CIMultiDict(headers))
        return Reply(200, CIMultiDict(headers), data)

    def _puller(self, request: web.BaseRequest) -> str:
        """Whose token a request carries, "" for nobody's."""
        grant = self._tokens.get(_credential(request, "bearer"))
        return grant.account if grant is not None else ""

    def _left(self, account: str) -> int:
        own = self.account_limits.get(account)
        return self.rate_limit - self.pulls if own is None else own - self.account_pulls[account]

    def _rate_headers(self, account: str) -> dict[str, str]:
        limit = self.account_limits.get(account, self.rate_limit)
        return {
            "ratelimit-limit": f"{limit};w=21600",
            "ratelimit-remaining": f"{max(0, self._left(account))};w=21600",
            "docker-ratelimit-source": account or "127.0.0.1",
        }

    def _blob(self, request: web.BaseRequest, held: Repository, digest: str) -> Reply:
        data = held.blobs.get(digest)
        if data is None:
            return error_reply(404, code="BLOB_UNKNOWN", message="blob unknown to registry")
        if self.redirects:
            return Reply(307, CIMultiDict({"Location": self.signed_url(digest)}))
        return _object(request, digest, data).having({"Docker-Content-Digest": digest})

    def _referrers(self, request: web.BaseRequest, held: Repository, subject: str) -> Reply:
        if not self.referrers:
            return _NOT_FOUND
        artifact_type = request.query.get("artifactType", "")
        headers = CIMultiDict({"Content-Type": OCI_INDEX})
        if artifact_type:
            headers["OCI-Filters-Applied"] = "artifactType"
        return Reply(200, headers, held.referrers(subject, artifact_type))

    # Tokens

    def _challenge(self, name: str) -> str:
        """The challenge for a repository, or for the API as a whole."""
        if not self.authentication:
            return ""
        if self.basic:
            return f'Basic realm="{_SERVICE}"'
        scope = f',scope="repository:{name}:pull"' if name else ""
        return f'Bearer realm="http://{self.token_host}/token",service="{_SERVICE}"{scope}'

    def _unauthorized(self, asked: Asked, token: str) -> Reply:
        challenge = asked.challenge
        if token:
            known = token in self._tokens
            challenge += f',error="{"insufficient_scope" if known else "invalid_token"}"'
        return error_reply(401, {"WWW-Authenticate": challenge, "Docker-Distribution-Api-Version": "registry/2.0"})

    def _may_pull(self, token: str, name: str) -> bool:
        grant = self._tokens.get(token)
        return grant is not None and grant.expires > self.clock() and (not name or name in grant.repositories)

    def _grant(self, request: web.BaseRequest, form: Mapping[str, object]) -> Reply:
        """A token, for an account (GET) or for an identity token (POST of a form)."""
        if request.path != "/token":
            return _NOT_FOUND
        if request.method not in ("GET", "POST" if self.identity_tokens else ""):
            return error_reply(405)
        refresh = form.get("grant_type") == "refresh_token" and form.get("client_id")
        posted = self.identity_tokens.get(str(form.get("refresh_token"))) if refresh else None
        account = posted if request.method == "POST" else self._account(request)
        if account is None:
            return json_reply(401, {"details": "incorrect username or password"})
        scopes = [str(form.get("scope"))] if request.method == "POST" else request.query.getall("scope", [])
        names = _pull_scopes(" ".join(scopes))
        granted = frozenset(name for name in names if self._visible(name, account))
        now = self.clock()
        token = secrets.token_urlsafe(32)
        self._tokens[token] = _Grant(granted, now + self.token_lifetime, account)
        issued_at = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
        answer = {"token": token, "access_token": token, "expires_in": self.token_lifetime, "issued_at": issued_at}
        return json_reply(200, answer)

    def _account(self, request: web.BaseRequest) -> str | None:
        """The account's name, "" for nobody in particular, None when refused."""
        if "Authorization" not in request.headers:
            return "" if self.anonymous else None
        try:
            decoded = base64.b64decode(_credential(request, "basic"), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        user, _, password = decoded.partition(":")
        return user if user and self.accounts.get(user) == password else None

    def _visible(self, name: str, account: str) -> bool:
        if name not in self.repositories and self.hides_missing:
            return False
        return bool(account) or name not in self.private

    # The CDN

    def signed_url(self, digest: str) -> str:
        """Where a blob can be had until the URL expires."""
        hexadecimal = digest.removeprefix("sha256:")
        path = f"/registry-v2/docker/registry/v2/blobs/sha256/{hexadecimal[:2]}/{hexadecimal}/data"
        expiry = int(self.clock() + self.url_lifetime)
        return f"http://{self.cdn_host}{path}?verify={expiry}-{self._signature(path, expiry)}"

    def _signature(self, path: str, expiry: int) -> str:
        return hmac.new(self._url_key, f"{path}?{expiry}".encode(), hashlib.sha256).hexdigest()

    def _signed_object(self, request: web.BaseRequest) -> Reply:
        if "Authorization" in request.headers:
            return error_reply(400, message="Only one auth mechanism allowed")
        path = _CDN_PATH.fullmatch(request.path)
        expiry, _, signature = request.query.get("verify", "").partition("-")
        if path is None or not expiry.isdecimal() or int(expiry) <= self.clock():
            return error_reply(403)
        if not hmac.compare_digest(signature.encode(), self._signature(request.path, int(expiry)).encode()):
            return error_reply(403)
        digest = f"sha256:{path['hex']}"
        for held in self.repositories.values():
            if digest in held.blobs:
                return _object(request, digest, held.blobs[digest])
        return error_reply(404, code="BLOB_UNKNOWN")


class Decoy(Recorder):
    """A host that records whatever reaches it and gives every request the same answer.

    `connections` also counts those that never became a request, such as a TLS hello.
    """

    def __init__(self, status: int = 404, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        super().__init__()
        self.reply = Reply(status, CIMultiDict(headers or {}), body)
        self._listener = Listener(self._serve)

    async def __aenter__(self) -> Self:
        await self._listener.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._listener.close()

    @property
    def host(self) -> str:
        return self._listener.host

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def connections(self) -> int:
        return self._listener.connections

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = self._record("decoy", request)
        self._settle(seen, self.reply.status)
        return await _send(request, self.reply, None, asyncio.Event())


@dataclass(frozen=True)
class _Grant:
    """What a token is good for."""

    repositories: frozenset[str]
    expires: float
    account: str


@dataclass
class _Armed:
    """A fault waiting for its requests."""

    where: Where
    fault: Fault
    times: int | None
    match: str

    def hits(self, asked: Asked) -> bool:
        return asked.where == self.where and self.match in f"{asked.method} {asked.url}" and self.fault.applies(asked)


def _asked(where: Where, request: web.BaseRequest) -> Asked:
    return Asked(where, request.method, str(request.rel_url), ranged="Range" in request.headers)


def _credential(request: web.BaseRequest, scheme: str) -> str:
    """What follows the scheme in Authorization, or nothing."""
    given, _, credential = request.headers.get("Authorization", "").partition(" ")
    return credential.strip() if given.lower() == scheme else ""


def _pull_scopes(scope: str) -> list[str]:
    """The repositories a space-separated scope asks to pull from."""
    names = []
    for item in scope.split():
        kind, _, rest = item.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind == "repository" and "pull" in actions.split(","):
            names.append(name)
    return names


def _tags(request: web.BaseRequest, name: str, held: Repository) -> Reply:
    """The tags in order, page by page."""
    last, size = request.query.get("last", ""), request.query.get("n", "")
    tags = [tag for tag in sorted(held.tags) if tag > last]
    page = tags[: int(size)] if size.isdecimal() else tags
    reply = json_reply(200, {"name": name, "tags": page})
    if page and len(page) < len(tags):
        reply.headers["Link"] = f'</v2/{name}/tags/list?n={size}&last={quote(page[-1], safe="")}>; rel="next"'
    return reply


def _object(request: web.BaseRequest, digest: str, data: bytes) -> Reply:
    """A blob, or the range of it that was asked for."""
    etag = f'"{digest.removeprefix("sha256:")[:32]}"'
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "ETag": etag}
    full = Reply(200, CIMultiDict(headers), data, whole=data)
    wanted = _RANGE.fullmatch(request.headers.get("Range", ""))
    if request.method != "GET" or wanted is None or request.headers.get("If-Range", etag) != etag:
        return full
    first, end = _bounds(wanted[1], wanted[2], len(data))
    if first >= end:
        return full.having({"Content-Range": f"bytes */{len(data)}"}, status=416, body=b"")
    return full.having({"Content-Range": f"bytes {first}-{end - 1}/{len(data)}"}, status=206, body=data[first:end])


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """A range as a slice, empty when it cannot be satisfied."""
    if first:
        return int(first), min(int(last) + 1, size) if last else size
    return (max(0, size - int(last)), size) if last else (0, 0)


async def _send(
    request: web.BaseRequest, reply: Reply, bandwidth: float | None, released: asyncio.Event
) -> web.StreamResponse:
    """Carry out the plan of a reply: every departure from decent HTTP happens here."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if reply.drop:
        _hang_up(request, reset=False)
        return response
    if not reply.chunked:
        length = len(reply.body) if reply.declared is None else reply.declared
        response.headers["Content-Length"] = str(length)
    await response.prepare(request)
    if request.method == "HEAD" or reply.status == 304:
        return response
    await _send_body(response, reply, reply.rate or bandwidth, released)
    if reply.declared is not None:
        _send_excess(request, reply.body[reply.declared :])
    if reply.cut is not None or reply.declared is not None:
        _hang_up(request, reply.reset)
    return response


async def _send_body(response: web.StreamResponse, reply: Reply, rate: float | None, released: asyncio.Event) -> None:
    """Write the body up to where it is cut, and wait on the way where it is held."""
    body = memoryview(reply.body)[: reply.cut]
    if reply.hold == "body":
        await _write(response, body[: reply.hold_after], rate)
        await released.wait()
        body = body[reply.hold_after :]
    await _write(response, body, rate)


async def _write(response: web.StreamResponse, body: memoryview, rate: float | None) -> None:
    """Write at full speed, or in steps of a twentieth of a second's bytes."""
    step = max(1, int(rate / 20)) if rate else 256 * 1024
    for start in range(0, len(body), step):
        if rate and start:
            await asyncio.sleep(step / rate)
        await response.write(body[start : start + step])


def _send_excess(request: web.BaseRequest, excess: bytes) -> None:
    """Write past the declared length, which the server library would not do."""
    if excess and request.transport is not None:
        request.transport.write(excess)


def _hang_up(request: web.BaseRequest, reset: bool) -> None:
    """Close the connection once what was written has left the process."""
    transport = request.transport
    if transport is None:
        return
    if reset:
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.close()


def _bound_socket(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)
    return sock
