"""The configuration: a TOML file, every key also by environment, read once and checked whole.

`MIRROR_SERVER__LISTEN` is `listen` of `[server]`; deeper levels are joined by `__` too. Nothing else in the project
reads the environment, but that credential helpers are given some of it (mirror/upstream/helper.py).
"""

import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic import model_validator as whole

from mirror.errors import ConfigError
from mirror.values import (
    DOCKER_HUB,
    Address,
    Age,
    BaseUrl,
    Duration,
    Folder,
    Helper,
    Host,
    Hosts,
    Images,
    Interval,
    Listen,
    OptionalUrl,
    Pattern,
    Patterns,
    Platforms,
    ProxyUrl,
    Size,
    listed,
    repository_pattern,
    tag_pattern,
)
from ocispec.image import listed_images

_PREFIX = "MIRROR_"
_UPSTREAMS = f"{_PREFIX}UPSTREAMS_"
_OF_UPSTREAM = re.compile(f"{_UPSTREAMS}_.+?__.")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Section):
    listen: Address = Listen("127.0.0.1", 5000)
    external_url: OptionalUrl = ""
    drain_timeout: Duration = 30.0


class Storage(Section):
    root: Folder = Path("data")


class Registry(Section):
    sparse_manifests: Literal["index", "all", "none"] = "index"
    upload_ttl: Duration = 24 * 3600.0


class Hosted(Section):
    """What may be pushed. Empty: any name that is not an upstream's."""

    allow: Patterns = ()

    @field_validator("allow")
    @classmethod
    def _check_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(repository_pattern(pattern) for pattern in patterns)


class Account(Section):
    """A login at a registry, or nobody's. The secret is kept in one of three places."""

    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    credential_helper: Helper = ""

    @whole(mode="after")
    def _check_login(self) -> "Account":
        secrets = bool(self.password.get_secret_value()) + (self.password_file is not None)
        if secrets + bool(self.credential_helper) > 1:
            raise ValueError("give only one of password, password_file and credential_helper")
        if self.credential_helper and self.username:
            raise ValueError("username is what credential_helper says; leave it out")
        if bool(self.username) != bool(secrets):
            raise ValueError("username goes with password or password_file")
        return self

    @property
    def has_login(self) -> bool:
        return bool(self.username or self.credential_helper)

    def read_password(self) -> str:
        """The password, from its file if it is kept in one. Blocking; raises ConfigError."""
        if self.password_file is None:
            return self.password.get_secret_value()
        try:
            return self.password_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(f"password_file {self.password_file}: {reason}") from None


class Upstream(Account):
    """One registry that is pulled from."""

    host: Host
    url: OptionalUrl = ""
    urls: Annotated[tuple[BaseUrl, ...], BeforeValidator(listed)] = ()
    default: bool = False
    token_hosts: Hosts = ()
    redirect_hosts: Hosts = ()
    accounts: tuple[Account, ...] = ()
    allow: Patterns = ()
    deny: Patterns = ()
    offline: bool = False
    prefetch: Literal["layers", "off"] = "layers"
    connections_per_blob: Annotated[int, Field(ge=1, le=16)] = 1
    abandon_below: Annotated[float, Field(ge=0, le=1)] = 0.0
    tag_ttl: Duration = 300.0
    tag_ttls: dict[Pattern, Age] = {}
    stale_while_revalidate: Duration = 0.0
    stale_if_error: Age = math.inf
    negative_ttl: Duration = 10.0
    rate_limit_reserve: Annotated[int, Field(ge=0)] = 5
    max_requests_at_once: Annotated[int, Field(ge=0)] = 0
    max_requests_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    max_bytes_per_second: Size = 0
    connect_timeout: Duration = 10.0
    read_timeout: Duration = 30.0
    revalidate_timeout: Duration = 5.0
    ca_file: Path | None = None
    proxy: ProxyUrl = ""
    search_url: OptionalUrl = ""

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where it is asked, in this order."""
        return self.urls or (self.url or _URLS.get(self.host, f"https://{self.host}"),)

    @property
    def identities(self) -> tuple[Account, ...]:
        """Who asks there, in this order. An upstream without accounts is one itself, or asks for nobody."""
        return self.accounts or (self,)

    @whole(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        """Docker Hub's tokens come from elsewhere, and so does its search, which belongs to no other place that its
        images are had from; every other registry that is known by name gives its own tokens."""
        if isinstance(values, dict) and str(values.get("host", "")).lower() == DOCKER_HUB:
            search = {} if values.get("url") or values.get("urls") else {"search_url": _HUB_SEARCH}
            return {"token_hosts": _HUB_TOKEN_HOSTS} | search | values
        return values

    @field_validator("allow", "deny")
    @classmethod
    def _check_patterns(cls, patterns: tuple[str, ...], given: ValidationInfo) -> tuple[str, ...]:
        return tuple(repository_pattern(pattern, given.data.get("host", "")) for pattern in patterns)

    @field_validator("tag_ttls")
    @classmethod
    def _check_tag_patterns(cls, ttls: dict[str, float], given: ValidationInfo) -> dict[str, float]:
        return {tag_pattern(pattern, given.data.get("host", "")): ttl for pattern, ttl in ttls.items()}

    @whole(mode="after")
    def _check_urls(self) -> "Upstream":
        if self.url and self.urls:
            raise ValueError("give either url or urls, not both")
        if len({urlsplit(url).scheme for url in self.urls}) > 1:
            raise ValueError("urls: https and http must not be mixed; whoever can break the one could read the other")
        return self

    @whole(mode="after")
    def _check_accounts(self) -> "Upstream":
        if self.accounts and self.has_login:
            raise ValueError("give either accounts or a login beside them, not both")
        if not all(account.has_login for account in self.accounts):
            raise ValueError("each of accounts needs username and password or password_file, or credential_helper")
        return self

    def read_password(self) -> str:
        """Its own; those of its accounts are read, too, so that a file that is missing is found at start."""
        for account in self.accounts:
            account.read_password()
        return super().read_password()


class Warm(Section):
    """Images that are kept fresh before anybody asks for them."""

    images: Images = ()
    file: Path | None = None
    platforms: Platforms = ()
    every: Interval = 6 * 3600.0

    @whole(mode="after")
    def _check_images(self) -> "Warm":
        if not self.images and self.file is None:
            raise ValueError("name some images, or a file that does")
        return self

    def read_file(self) -> list[tuple[int, str]]:
        """What the file names, and in which lines; unchecked. Blocking; raises ConfigError."""
        if self.file is None:
            return []
        try:
            return listed_images(self.file.read_text())
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(f"warm: file {self.file}: {reason}") from None


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    access: bool = True


_HUB_TOKEN_HOSTS = ["auth.docker.io"]
_HUB_SEARCH = "https://index.docker.io"
# Where a registry is that is not where its host says.
_URLS = {DOCKER_HUB: "https://registry-1.docker.io"}
# A section of one of these names, or of a host's, needs no `host`.
_NAMES = {
    "dockerhub": DOCKER_HUB,
    "ghcr": "ghcr.io",
    "quay": "quay.io",
    "k8s": "registry.k8s.io",
    "gcr": "gcr.io",
    "mcr": "mcr.microsoft.com",
    "ecr-public": "public.ecr.aws",
    "nvcr": "nvcr.io",
}


class Config(Section):
    """The whole configuration, checked."""

    server: Server = Server()
    storage: Storage = Storage()
    registry: Registry = Registry()
    hosted: Hosted = Hosted()
    upstreams: dict[str, Upstream] = {}
    warm: tuple[Warm, ...] = ()
    log: Log = Log()

    @whole(mode="before")
    @classmethod
    def _name_upstreams(cls, values: Any) -> Any:
        """A name alone is enough for a registry that everybody knows; Docker Hub is the default unless another is."""
        sections = values.get("upstreams") if isinstance(values, dict) else None
        if not isinstance(sections, dict) or not all(isinstance(section, dict) for section in sections.values()):
            return values
        named = {name: _named(name) | section for name, section in sections.items()}
        if not any("default" in section for section in named.values()):
            for section in named.values():
                section["default"] = str(section.get("host")).lower() == DOCKER_HUB
        return values | {"upstreams": named}

    @whole(mode="after")
    def _check_upstreams(self) -> "Config":
        hosts = [upstream.host for upstream in self.upstreams.values()]
        twice = {host for host in hosts if hosts.count(host) > 1}
        if twice:
            raise ValueError(f"upstreams: {', '.join(sorted(twice))} is the host of more than one")
        if sum(upstream.default for upstream in self.upstreams.values()) > 1:
            raise ValueError("upstreams: only one can be the default")
        return self


def _named(section: str) -> dict[str, Any]:
    host = _NAMES.get(section, section if "." in section else "")
    return {"host": host} if host else {}


def load_config(file: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the file (if any), lay the environment over it, check everything. Raises ConfigError."""
    values = _read(file) if file is not None else {}
    _refuse_hosts_without_quotes(str(file), values.get("upstreams"))
    values.setdefault("upstreams", {"dockerhub": {}})
    _refuse_near_misses(environment, [*_NAMES, *(values["upstreams"] if isinstance(values["upstreams"], dict) else ())])
    laid = {tuple(name.removeprefix(_PREFIX).lower().split("__")): name for name in environment if _is_ours(name)}
    for path, name in laid.items():
        if path[0] == "warm":
            raise ConfigError(f"{name}: not by environment; write [[warm]] into the file")
        _lay_over(values, path, environment[name])
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, str(file or ""), laid))) from None


def _refuse_hosts_without_quotes(file: str, sections: object) -> None:
    """Without quotes TOML reads `[upstreams.ghcr.io]` as a table `io` in one that is called `ghcr`."""
    for name, section in sections.items() if isinstance(sections, dict) else ():
        for key, below in section.items() if isinstance(section, dict) else ():
            if key not in Upstream.model_fields and (rest := _path_to_keys(below)) is not None:
                host = ".".join((name, key, *rest))
                raise ConfigError(f'{file}: upstreams.{host}: a host has to be in quotes; write [upstreams."{host}"]')


def _path_to_keys(table: object) -> list[str] | None:
    """The names on the way down to a table that has the keys of an upstream, or nothing; None where there is none."""
    if not isinstance(table, dict):
        return None
    if table.keys() <= Upstream.model_fields.keys():
        return []
    name, below = next(iter(table.items()))
    rest = _path_to_keys(below)
    return None if rest is None else [name, *rest]


def _is_ours(name: str) -> bool:
    return name.startswith(_PREFIX) and "__" in name


def _refuse_near_misses(environment: Mapping[str, str], upstreams: Iterable[str]) -> None:
    """One underscore where two belong would be ignored without a word, and the store be somewhere else."""
    for section, field in Config.model_fields.items():
        for key in _keys(field.annotation):
            meant = f"{_PREFIX}{section}__{key}".upper()
            for name in (f"{_PREFIX}{section}_{key}".upper(), f"{_PREFIX}{key}".upper()):
                if name in environment:
                    raise ConfigError(f"{name}: not known; did you mean {meant}?")
    short = {f"{_PREFIX}{upstream}_{key}".upper() for upstream in upstreams for key in _keys(Upstream)}
    for name in environment:
        if name in short or (name.startswith(_UPSTREAMS) and not _OF_UPSTREAM.match(name)):
            raise ConfigError(f"{name}: not known; did you mean {_meant_upstream(name)}?")


def _meant_upstream(name: str) -> str:
    """The variable of an upstream that somebody has left underscores out of."""
    rest = name.removeprefix(_PREFIX).removeprefix("UPSTREAMS_")
    fitting = [key.upper() for key in _keys(Upstream) if rest.endswith(f"_{key.upper()}")]
    key = max(fitting, key=len, default="<KEY>")
    upstream = rest.removesuffix(key).strip("_") if fitting else "<NAME>"
    return f"{_UPSTREAMS}_{upstream}__{key}"


def _keys(model: object) -> list[str]:
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, Section) else []


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error


def _lay_over(values: dict[str, Any], path: Sequence[str], text: str) -> None:
    for step in path[:-1]:
        values = values.setdefault(step, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{_PREFIX}{'__'.join(path).upper()}: {step} is a value, not a section")
    values[path[-1]] = text


def _explain(error: ValidationError, file: str, laid: Mapping[tuple[str, ...], str]) -> list[str]:
    """A line for each problem: where it stands, the dotted key, what is wrong, what would be right."""
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        path = tuple(str(step) for step in problem["loc"])
        key = ".".join(path) or "configuration"
        source = next((name for given, name in laid.items() if path[: len(given)] == given), file)
        match problem["type"]:
            case "extra_forbidden":
                text = f"unknown key; there are: {', '.join(_known_beside(path))}"
            case "missing":
                text = "missing" + (_meant_host(path[1]) if path[0] == "upstreams" and path[-1] == "host" else "")
            case "tuple_type" if path == ("warm",):
                text = "must be a list of sections: write [[warm]], in double brackets"
            case "model_type" | "dict_type":
                text = "must be a section" + (", such as [upstreams.ghcr]" if path[0] == "upstreams" else "")
            case _:
                text = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{source}: {key}: {text}" if source else f"{key}: {text}")
    return lines


def _meant_host(section: str) -> str:
    """What the name of a section without a host may have been meant to be."""
    near = get_close_matches(section.lower(), _NAMES, 1)
    if near:
        return f"; did you mean [upstreams.{near[0]}]?"
    return f"; only {', '.join(_NAMES)}, and hosts in quotes, need none"


def _known_beside(path: Sequence[str]) -> list[str]:
    """The keys that the section of an unknown one has."""
    if path[0] == "upstreams":
        return _keys(Account if len(path) > 4 else Upstream)
    if path[0] == "warm":
        return _keys(Warm)
    return _keys(Config.model_fields[path[0]].annotation if len(path) > 1 else Config)


def to_toml(config: Config) -> str:
    """The effective configuration, secrets masked."""
    none = [] if config.upstreams else ["\n[upstreams]"]  # left out, it would mean Docker Hub
    return "\n".join([*_section("", config.model_dump()), *none]).strip() + "\n"


def _section(name: str, values: Mapping[str, Any]) -> list[str]:
    """A table of `name`, which may be dotted, and the tables inside it."""
    inside = {key: value for key, value in values.items() if isinstance(value, dict) or _is_tables(value)}
    plain = {key: value for key, value in values.items() if value is not None and key not in inside}
    lines = [f"\n[{name}]"] if name and plain else []
    lines += _lines(plain)
    for key, value in inside.items():
        below = f"{name}.{_key(key)}".lstrip(".")
        if isinstance(value, dict):
            lines += _section(below, value)
        else:
            lines += [line for table in value for line in (f"\n[[{below}]]", *_lines(table))]
    return lines


def _is_tables(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(item, dict) for item in value)


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in values.items() if value is not None]


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def _value(value: object) -> str:
    match value:
        case bool() | int() | float():
            return json.dumps(value)
        case tuple() | list():
            return "[" + ", ".join(_value(item) for item in value) + "]"
        case SecretStr():
            return '"********"' if value.get_secret_value() else '""'
        case _:
            return json.dumps(str(value))
