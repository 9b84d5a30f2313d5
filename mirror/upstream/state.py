"""How an upstream is doing, as facts to be shown. Times of day are in seconds since 1970."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mirror.upstream.limits import Kind
from ocispec.limits import Budget


class Ending(StrEnum):
    """How a request to an upstream ended."""

    DONE = "done"
    ABSENT = "absent"  # 404
    REFUSED = "refused"  # 401 or 403, of the registry or of its token service
    LIMITED = "limited"  # 429
    UNAVAILABLE = "unavailable"  # no connection, broken off, 5xx
    TIMED_OUT = "timed_out"
    BROKEN = "broken"  # an answer that makes no sense


@dataclass(frozen=True, slots=True)
class AccountState:
    """One account at one endpoint. `limited` are the seconds for which a kind of request may not be sent, as far as
    there are any; `held_back` the same for what is fetched before anybody asks."""

    name: str
    budget: Budget | None
    is_scarce: bool
    limited: Mapping[Kind, float]
    held_back: Mapping[Kind, float]


@dataclass(frozen=True, slots=True)
class EndpointState:
    """`is_open`: nobody asks it, for it does not answer; `since` when it is so, None where it never was otherwise.
    `is_known`: there was an answer since the start. `reason`: why there was none the last time."""

    url: str
    is_open: bool
    is_known: bool
    reason: str | None
    since: float | None
    accounts: tuple[AccountState, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error in plain words, how often it has been met, and when the last time."""

    reason: str
    count: int
    last: float


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """`under_way` and `waiting` are requests now; `requests` and `received` (bytes of bodies) are since the start;
    `troubles` are the last few, latest first."""

    host: str
    is_offline: bool
    endpoints: tuple[EndpointState, ...]
    under_way: int
    waiting: int
    received: int
    requests: Mapping[tuple[Kind, Ending], int]
    troubles: tuple[Trouble, ...]
