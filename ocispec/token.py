"""The token service's answer (Docker's token specification, "Requesting a Token")."""

import json
import re
from dataclasses import dataclass

MAX_BYTES = 64 * 1024
# "expires_in … if omitted, this defaults to 60 seconds"; shorter lifetimes are not allowed.
_DEFAULT_LIFETIME = 60
_MAX_LIFETIME = 24 * 3600
# Printable ASCII without spaces: whatever else could end the header that it is sent in.
_VALUE = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A bearer token and how long it may be used, in seconds from its receipt. Its value is never printed."""

    value: str
    lifetime: int


def parse_token(body: bytes) -> Token | None:
    """Read a token reply; None where it holds no usable token. `issued_at` is ignored: clocks differ."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(reply, dict):
        return None
    value = reply.get("token") or reply.get("access_token")
    if not isinstance(value, str) or _VALUE.fullmatch(value) is None:
        return None
    lifetime = reply.get("expires_in")
    if not isinstance(lifetime, int) or isinstance(lifetime, bool):
        lifetime = _DEFAULT_LIFETIME
    return Token(value, min(max(lifetime, _DEFAULT_LIFETIME), _MAX_LIFETIME))


def pull_scope(repository: str) -> str:
    """The scope that reading a repository needs."""
    return f"repository:{repository}:pull"
