"""Where the login of an account comes from, and where another one is to be had when the upstream refuses it.

A secret that is kept outside of the configuration may be replaced while the server runs. Whoever is refused asks once
for `another`; where there is none, the refusal stands.
"""

import asyncio
import logging
import time
from typing import Protocol

from yarl import URL

from mirror.config import Account, Upstream
from mirror.errors import ConfigError
from mirror.flights import Flights
from mirror.upstream.errors import UpstreamNoLogin
from mirror.upstream.helper import ask_helper
from mirror.upstream.login import Login
from mirror.values import DOCKER_HUB

log = logging.getLogger(__name__)

# How long a helper's login is kept in memory.
_KEPT_SECONDS = 600.0
# A helper that has just been asked has nothing new to say: neither a repository that is not ours to read nor a helper
# that fails must start a program for each request.
_PAUSE_SECONDS = 10.0
_HUB_SERVER = "https://index.docker.io/v1/"


class Credentials(Protocol):
    """The login of one account, None for nobody. Both raise UpstreamNoLogin."""

    async def login(self) -> Login | None: ...
    async def another(self, refused: Login) -> Login | None:
        """One that is not the refused one; None where there is none."""

    async def close(self) -> None: ...


def credentials_of(account: Account, server: str) -> Credentials:
    """`server` is what a helper knows the upstream by. Blocking; raises ConfigError."""
    return Helped(account.credential_helper, server) if account.credential_helper else Configured(account)


def server_name(upstream: Upstream, endpoint: URL) -> str:
    """What a credential helper knows an endpoint by: its host, and Docker Hub by what `docker login` calls it."""
    return _HUB_SERVER if upstream.host == DOCKER_HUB else endpoint.authority


class Configured:
    """From the configuration, or from a file that it names."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._login = Login(account.username, account.read_password()) if account.username else None

    async def login(self) -> Login | None:
        return self._login

    async def another(self, refused: Login) -> Login | None:
        if self._login == refused and self._account.password_file is not None:
            self._login = await asyncio.to_thread(self._read) or refused
        return self._login if self._login != refused else None

    def _read(self) -> Login | None:
        """What is in the file now; None where that cannot be a password."""
        try:
            password = self._account.read_password()
        except ConfigError as error:
            log.warning("a password file cannot be read again", extra={"reason": str(error)})
            return None
        return Login(self._account.username, password) if password else None

    async def close(self) -> None:
        """Nothing is under way."""


class Helped:
    """From a credential helper. It is run once at a time, and what it says is kept for some minutes."""

    def __init__(self, name: str, server: str) -> None:
        self._name, self._server = name, server
        self._flights = Flights()
        self._login: Login | None = None  # None where it gave none, the last time
        self._asked = -float("inf")

    async def login(self) -> Login:
        if self._login is not None and self._age < _KEPT_SECONDS:
            return self._login
        if self._login is None and self._age < _PAUSE_SECONDS:
            raise UpstreamNoLogin("the upstream's credential helper gave no login a moment ago")
        return await self._flights.join(self._name, self._ask)

    async def another(self, refused: Login) -> Login | None:
        if self._login != refused:
            login = await self.login()
        elif self._age < _PAUSE_SECONDS:
            return None
        else:
            login = await self._flights.join(self._name, self._ask)
        return login if login != refused else None

    @property
    def _age(self) -> float:
        return time.monotonic() - self._asked

    async def _ask(self) -> Login:
        self._login = None
        try:
            self._login = await ask_helper(self._name, self._server)
        finally:
            self._asked = time.monotonic()
        return self._login

    async def close(self) -> None:
        await self._flights.close()
