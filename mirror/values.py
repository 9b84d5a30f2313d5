"""How values of the configuration are written, and what they are read as: sizes, durations, addresses, patterns."""

import math
import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, InstanceOf, PlainSerializer

from ocispec.errors import RegistryError
from ocispec.image import ImageName
from ocispec.platform import Platform

DOCKER_HUB = "docker.io"
# Docker Hub answers to all of these; clients send whichever they were configured with.
_ALIASES = {"index.docker.io": DOCKER_HUB, "registry-1.docker.io": DOCKER_HUB}

_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_DURATIONS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([a-z]*)", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_CLASS = re.compile(r"\[!?([^\[\]!]+)\]")
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9a-zA-Z.-]+)):([0-9]{1,5})", re.ASCII)


class Listen(NamedTuple):
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _quantity(value: object, units: Mapping[str, float], example: str) -> float:
    match = _QUANTITY.fullmatch(str(value).strip().lower())
    if isinstance(value, bool) or match is None or match[2] not in units:
        raise ValueError(f"{value!r} is not understood; write it like {example}")
    return float(match[1]) * units[match[2]]


def parse_size(value: object) -> int:
    """`100GiB`, `1.5 MB` or a number → bytes; raises ValueError."""
    return int(_quantity(value, _SIZES, "100GiB or 500MB"))


def parse_duration(value: object) -> float:
    """`15m`, `1.5h` or a number → seconds; raises ValueError."""
    return _quantity(value, _DURATIONS, "30s, 15m or 24h")


def show_duration(seconds: float) -> str:
    """300 → `5m`: the largest unit that leaves no fraction; what needs one is in seconds."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = round(seconds / _DURATIONS[unit])
        if count and math.isclose(count * _DURATIONS[unit], seconds):
            return f"{count}{unit}"
    return f"{seconds:.6f}s" if seconds else "0s"


def show_age(seconds: float) -> str:
    return "forever" if math.isinf(seconds) else show_duration(seconds)


def parse_listen(value: object) -> Listen:
    """`127.0.0.1:5000`, `[::]:5000` → host and port; raises ValueError. The host is never left out: every address
    of a machine is too much to be listened on by omission."""
    if isinstance(value, Listen):
        return value
    match = _LISTEN.fullmatch(str(value))
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"{value!r} is not an address; write it like 127.0.0.1:5000 or [::]:5000")
    return Listen(match[1] or match[2], int(match[3]))


def _shown(value: str) -> str:
    """The value for an error's text, without a password that somebody put before an @, or a token in the query."""
    kept, query, _ = (value if "@" not in value else f"********@{value.rpartition('@')[2]}").partition("?")
    return repr(f"{kept}?********" if query else kept)


def _host(value: str) -> str:
    if _HOST.fullmatch(value.lower()) is None:
        raise ValueError(
            f"{_shown(value)} is not a host; write it like ghcr.io or 127.0.0.1:5001, without scheme or path"
        )
    return value.lower()


def _base_url(value: str, example: str = "https://registry.example.com") -> str:
    wrong = f"{_shown(value)} is not a base URL; write it like {example}"
    try:
        parts = urlsplit(value)
        usable = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(wrong) from None
    extra = parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or extra or not usable:
        raise ValueError(wrong)
    return value.rstrip("/")


def _proxy_url(value: str) -> str:
    return _base_url(value, "http://proxy.example.com:3128") if value else ""


def _helper(value: str) -> str:
    if value and re.fullmatch(r"[a-z0-9-]+", value, re.ASCII) is None:
        raise ValueError("not the name of a credential helper; write it like ecr-login, without docker-credential-")
    return value


def listed(value: object) -> object:
    """In the environment a list is written with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _folder(value: object) -> object:
    if value == "":
        raise ValueError("must not be empty; name a folder")
    if str(value).startswith("~"):
        raise ValueError(f"{str(value)!r}: ~ is not understood here; write the whole path")
    return value


def parse_age(value: object) -> float:
    """A duration, or `forever`."""
    return math.inf if value in ("forever", math.inf) else parse_duration(value)


def _at_least_a_minute(seconds: float) -> float:
    if seconds < 60:
        raise ValueError(f"{show_duration(seconds)} is too short; at least 1m")
    return seconds


def _pattern(value: str) -> str:
    if not value or re.search(r"[^a-z0-9A-Z._/:*?\[\]!-]", value):
        raise ValueError(f"{value!r} is not a pattern; write it like library/* or *:v1.*")
    return value


def repository_pattern(value: str, host: str = "") -> str:
    """A pattern of repositories as it is matched: without the upstream's own host in front. Raises ValueError for one
    that fits no name there can be: a rule that matches nothing would let everything through without a word."""
    front, _, rest = value.partition("/")
    pattern = rest if host and rest and known_host(front) == host else value
    if reason := _unfit(pattern):
        raise ValueError(f"{value!r} matches no repository: {reason}; write it like library/* or org/app")
    return pattern


def tag_pattern(value: str, host: str) -> str:
    """The same of a pattern that has to fit `repository:tag`."""
    front, _, rest = value.partition("/")
    pattern = rest if rest and known_host(front) == host else value
    repository, colon, _ = pattern.rpartition(":")
    if not colon and "*" not in pattern:
        raise ValueError(f"{value!r} matches no tag: it has none; write it like {value}:* or *:v1.*")
    if reason := _unfit(repository or "*"):
        raise ValueError(f"{value!r} matches no tag: {reason}; write it like library/*:1.* or *:v1.*")
    return pattern


def _unfit(pattern: str) -> str:
    """What of a pattern no repository's name has; nothing where it can fit one."""
    literal = _CLASS.sub("x", pattern)
    if re.search(r"[A-Z]", pattern):
        return "names of repositories are in lower case"
    if ":" in literal:
        return "the name of a repository has no tag, port or scheme"
    if re.search(r"^/|//|/$", literal):
        return "names begin and end without a slash, and have no two in a row"
    if re.search(r"[\[\]!]", literal):
        return "the brackets do not match"
    if any(first > last for inside in _CLASS.findall(pattern) for first, last in re.findall(r"(.)-(.)", inside)):
        return "a range in brackets runs backwards"
    return ""


def known_host(host: str) -> str:
    """The one name that an upstream has here, for whatever clients call it."""
    return _ALIASES.get(host.lower(), host.lower())


def names_of_host(host: str) -> tuple[str, ...]:
    """Everything that clients call an upstream."""
    return (host, *(alias for alias, known in _ALIASES.items() if known == host))


def spelled(pattern: str, host: str) -> tuple[str, ...]:
    """A pattern, and what it may have been meant as: Docker Hub's official images also go without their `library/`."""
    return (pattern, f"library/{pattern}") if host == DOCKER_HUB else (pattern,)


def parse_image(value: object) -> ImageName:
    """`nginx:1.27`, `ghcr.io/org/app:tag` → what is meant; raises ValueError."""
    try:
        return value if isinstance(value, ImageName) else ImageName.parse(str(value))
    except RegistryError as error:
        raise ValueError(f"{str(value)[:300]!r} is not the name of an image: {error}") from None


def _platform(value: object) -> Platform:
    try:
        return value if isinstance(value, Platform) else Platform.parse(str(value))
    except RegistryError as error:
        raise ValueError(str(error)) from None


Image = Annotated[InstanceOf[ImageName], BeforeValidator(parse_image), PlainSerializer(str)]
Images = Annotated[tuple[Image, ...], BeforeValidator(listed)]
Platforms = Annotated[
    tuple[Annotated[InstanceOf[Platform], BeforeValidator(_platform), PlainSerializer(str)], ...],
    BeforeValidator(listed),
]
Folder = Annotated[Path, BeforeValidator(_folder)]
Size = Annotated[int, BeforeValidator(parse_size)]
Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(show_duration)]
Interval = Annotated[Duration, AfterValidator(_at_least_a_minute)]
Age = Annotated[float, BeforeValidator(parse_age), PlainSerializer(show_age)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(listed)]
Address = Annotated[Listen, BeforeValidator(parse_listen), PlainSerializer(str)]
Host = Annotated[str, AfterValidator(_host)]
Hosts = Annotated[tuple[Host, ...], BeforeValidator(listed)]
Helper = Annotated[str, AfterValidator(_helper)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
ProxyUrl = Annotated[str, AfterValidator(_proxy_url)]
OptionalUrl = Annotated[str, AfterValidator(lambda value: _base_url(value) if value else "")]
