"""An account at one endpoint: how it logs in, and how much it may still ask for. And which of several has its turn.

What an upstream gave to one account (a token, a budget) is never used for another.
"""

from collections.abc import Iterable, Sequence

from yarl import URL

from mirror.config import Account, Upstream
from mirror.upstream.auth import Authenticator, FetchToken
from mirror.upstream.credentials import credentials_of, server_name
from mirror.upstream.errors import UpstreamRateLimited
from mirror.upstream.limits import Kind, Limits
from mirror.upstream.state import AccountState


class Identity:
    """Who asks: an account, or nobody in particular. `name` is for the log."""

    def __init__(self, account: Account, limits: Limits, auth: Authenticator) -> None:
        self.name = account.username or account.credential_helper or "anonymous"
        self.limits, self.auth = limits, auth

    @property
    def state(self) -> AccountState:
        limits = self.limits
        limited = {kind: wait for kind in Kind if (wait := limits.wait(kind))}
        held_back = {kind: wait for kind in Kind if (wait := limits.wait(kind, ahead=True))}
        return AccountState(self.name, limits.budget, limits.is_scarce, limited, held_back)


def identities_of(config: Upstream, endpoint: URL, fetch_token: FetchToken) -> list[Identity]:
    """Every account that there is for an endpoint, in the order of the configuration. Blocking; raises ConfigError."""
    server = server_name(config, endpoint)
    return [
        Identity(
            account,
            Limits(config.rate_limit_reserve),
            Authenticator(endpoint, config.token_hosts, credentials_of(account, server), fetch_token),
        )
        for account in config.identities
    ]


def in_turn(identities: Iterable[Identity], kind: Kind, *, ahead: bool = False) -> Sequence[Identity]:
    """Those that may ask now, best first: the first of the configuration, unless its pulls are nearly spent.

    Raises UpstreamRateLimited where a limit holds for each of them. `ahead`: for what everybody
    would be served without.
    """
    waits = [(identity, identity.limits.wait(kind, ahead=ahead)) for identity in identities]
    free = [identity for identity, wait in waits if not wait]
    if not free:
        soonest = min(wait for _, wait in waits)
        raise UpstreamRateLimited("the upstream limits our requests (429 a while ago)", soonest, is_news=False)
    if kind is not Kind.MANIFEST:  # only these are counted; and asking for others tells what the budget is now
        return free
    return sorted(free, key=lambda identity: identity.limits.is_scarce)
