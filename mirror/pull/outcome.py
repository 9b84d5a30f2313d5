"""Why a pull was answered the way it was: for the log, and for whoever wonders."""

from enum import StrEnum


class Outcome(StrEnum):
    HIT = "hit"  # it was here
    REVALIDATED = "revalidated"  # it was here, and the upstream said that it still holds
    STALE = "stale"  # it was here, and the upstream could not say
    MISS = "miss"  # it was fetched for this request
    JOINED = "joined"  # it was being fetched already
