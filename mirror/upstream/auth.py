"""Logging in to one upstream: from its challenge to an Authorization header, with tokens kept until they expire.

One refresh at a time for each scope: fifty cold pulls of one repository ask for one token.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cachetools import LRUCache
from yarl import URL

from mirror.flights import Flights
from mirror.upstream.credentials import Credentials
from mirror.upstream.errors import UpstreamBroken, UpstreamError, UpstreamLoginRefused, UpstreamRefused
from mirror.upstream.login import Login
from mirror.upstream.trust import check_realm
from ocispec.challenge import Challenge, parse_challenges
from ocispec.token import Token, parse_token

_MAX_TOKENS = 10_000
# A token is renewed this long before it ends, so that none runs out on the way.
_MARGIN_SECONDS = 10.0

_CLIENT_ID = "registry-mirror"

# Fetches a token service's answer: URL, Authorization (or None) and a form to be posted (or None: GET) in, body out.
# Raises UpstreamError.
FetchToken = Callable[[URL, str | None, Mapping[str, str] | None], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class _Kept:
    header: str = field(repr=False)
    until: float  # on the monotonic clock: a wall clock that jumps must not keep a dead token alive


class Authenticator:
    """Answers the challenges of one upstream with one identity: an account, or nobody."""

    def __init__(
        self, upstream: URL, token_hosts: Iterable[str], credentials: Credentials, fetch_token: FetchToken
    ) -> None:
        self._upstream, self._token_hosts, self._fetch_token = upstream, tuple(token_hosts), fetch_token
        self._credentials = credentials
        self._kept: LRUCache[str, _Kept] = LRUCache(_MAX_TOKENS)
        self._service: Challenge | None = None
        self._uses_basic = False
        self._flights = Flights()

    async def header(self, scope: str) -> str | None:
        """The Authorization to send with a request that needs `scope`, as far as is known before it is sent.

        Once the upstream has named its token service, a new scope costs no challenge of its own.
        """
        if self._uses_basic:
            return _basic(await self._credentials.login())
        kept = self._kept.get(scope)
        if kept is not None and time.monotonic() < kept.until:
            return kept.header
        if self._service is None:
            return None
        try:
            return await self._refresh(scope, self._service)
        except UpstreamError:
            self._service = None  # the upstream will say anew where its tokens are to be had
            return None

    async def answer(self, scope: str, challenges: Iterable[str], rejected: str | None) -> str:
        """The Authorization that a 401 asks for; `rejected` is what was sent. Raises UpstreamError."""
        challenge = _choose(parse_challenges(challenges))
        if challenge.scheme == "basic":
            return await self._answer_basic(rejected)
        kept = self._kept.get(scope)
        if kept is not None and kept.header != rejected and time.monotonic() < kept.until:
            return kept.header  # another request has renewed it meanwhile
        self._kept.pop(scope, None)
        header = await self._refresh(scope, challenge)
        self._service = challenge  # only one that gave a token is worth asking first, the next time
        return header

    async def _answer_basic(self, rejected: str | None) -> str:
        login = await self._credentials.login()
        if login is not None and _basic(login) == rejected:
            login = await self._credentials.another(login)
        header = _basic(login)
        self._uses_basic = True
        return header

    async def _refresh(self, scope: str, challenge: Challenge) -> str:
        return await self._flights.join(scope, lambda: self._fetch(scope, challenge))

    async def _fetch(self, scope: str, challenge: Challenge) -> str:
        url = check_realm(challenge.realm, self._upstream, self._token_hosts)
        login = await self._credentials.login()
        try:
            return await self._log_in(url, challenge.service, scope, login)
        except UpstreamLoginRefused:
            login = await self._credentials.another(login) if login is not None else None
            if login is None:
                raise
        return await self._log_in(url, challenge.service, scope, login)

    async def _log_in(self, url: URL, service: str, scope: str, login: Login | None) -> str:
        """A token, in the way that Docker asks for one: by form where there is an identity token, else by query."""
        asked = ({"service": service} if service else {}) | {"scope": scope}
        if login is None:
            body = await self._fetch_token(url.update_query(asked), None, None)
        elif login.is_identity_token:
            form = {"grant_type": "refresh_token", "client_id": _CLIENT_ID, "refresh_token": login.secret, **asked}
            body = await self._fetch_token(url, None, form)
        else:
            query = {"account": login.username, **asked}
            body = await self._fetch_token(url.update_query(query), login.basic, None)
        token = parse_token(body)
        if token is None:
            raise UpstreamBroken("the upstream's token service gave no token")
        return self._keep(scope, token)

    def _keep(self, scope: str, token: Token) -> str:
        header = f"Bearer {token.value}"
        self._kept[scope] = _Kept(header, time.monotonic() + token.lifetime - _MARGIN_SECONDS)
        return header

    async def close(self) -> None:
        await self._flights.close()
        await self._credentials.close()


def _choose(challenges: list[Challenge]) -> Challenge:
    """Bearer before Basic: a token tells the upstream less than the password does."""
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme:
                return challenge
    raise UpstreamRefused("the upstream asks for a login in a way that is not known here")


def _basic(login: Login | None) -> str:
    if login is None or login.is_identity_token:
        raise UpstreamRefused("the upstream wants another login than the configured one")
    return login.basic
