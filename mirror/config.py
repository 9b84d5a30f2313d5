"""The configuration: a TOML file, every key also by environment, read once and checked whole.

`MIRROR_SERVER__LISTEN` is `listen` of `[server]`; deeper levels are joined by `__` too. Nothing else in the project
reads the environment.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
)
from pydantic import model_validator as whole

from mirror.errors import ConfigError

_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SIZES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_DURATIONS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([a-z]*)", re.ASCII)
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9a-zA-Z.-]+)):([0-9]{1,5})", re.ASCII)
_PREFIX = "MIRROR_"


class Listen(NamedTuple):
    host: str
    port: int

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


def _base_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(f"{_shown(value)} is not a base URL; write it like https://registry.example.com") from None
    extra = parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or extra or not usable:
        raise ValueError(f"{_shown(value)} is not a base URL; write it like https://registry.example.com")
    return value.rstrip("/")


def _listed(value: object) -> object:
    """In the environment a list is written with commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _folder(value: object) -> object:
    if value == "":
        raise ValueError("must not be empty; name a folder")
    if str(value).startswith("~"):
        raise ValueError(f"{str(value)!r}: ~ is not understood here; write the whole path")
    return value


Size = Annotated[int, BeforeValidator(parse_size)]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0)]
Address = Annotated[Listen, BeforeValidator(parse_listen), PlainSerializer(str)]
Host = Annotated[str, AfterValidator(_host)]
Hosts = Annotated[tuple[Host, ...], BeforeValidator(_listed)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
OptionalUrl = Annotated[str, AfterValidator(lambda value: _base_url(value) if value else "")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Section):
    listen: Address = Listen("127.0.0.1", 5000)
    external_url: OptionalUrl = ""
    drain_timeout: Duration = 30.0


class Storage(Section):
    root: Annotated[Path, BeforeValidator(_folder)] = Path("data")


class Registry(Section):
    sparse_manifests: Literal["index", "all", "none"] = "index"
    upload_ttl: Duration = 24 * 3600.0


class Upstream(Section):
    """One registry that is pulled from."""

    host: Host
    url: BaseUrl
    default: bool = False
    token_hosts: Hosts = ()
    redirect_hosts: Hosts = ()
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    tag_ttl: Duration = 300.0
    connect_timeout: Duration = 10.0
    read_timeout: Duration = 30.0
    revalidate_timeout: Duration = 5.0

    @whole(mode="after")
    def _check_credentials(self) -> "Upstream":
        secret = bool(self.password.get_secret_value()) + (self.password_file is not None)
        if secret > 1:
            raise ValueError("give either password or password_file, not both")
        if bool(self.username) != bool(secret):
            raise ValueError("username goes with password or password_file")
        return self

    def read_password(self) -> str:
        """The password, from its file if it is kept in one. Blocking; raises ConfigError."""
        if self.password_file is None:
            return self.password.get_secret_value()
        try:
            return self.password_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(f"password_file {self.password_file}: {reason}") from error


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    access: bool = True


DOCKER_HUB = {
    "host": "docker.io",
    "url": "https://registry-1.docker.io",
    "default": True,
    "token_hosts": ["auth.docker.io"],
}


class Config(Section):
    """The whole configuration, checked."""

    server: Server = Server()
    storage: Storage = Storage()
    registry: Registry = Registry()
    upstreams: dict[str, Upstream] = {}
    log: Log = Log()

    @whole(mode="after")
    def _check_upstreams(self) -> "Config":
        hosts = [upstream.host for upstream in self.upstreams.values()]
        twice = {host for host in hosts if hosts.count(host) > 1}
        if twice:
            raise ValueError(f"upstreams: {', '.join(sorted(twice))} is the host of more than one")
        if sum(upstream.default for upstream in self.upstreams.values()) > 1:
            raise ValueError("upstreams: only one can be the default")
        return self


def load_config(file: Path | None, environment: Mapping[str, str]) -> Config:
    """Read the file (if any), lay the environment over it, check everything. Raises ConfigError."""
    values = _read(file) if file is not None else {}
    values.setdefault("upstreams", {"dockerhub": dict(DOCKER_HUB)})
    _refuse_near_misses(environment)
    laid = {tuple(name.removeprefix(_PREFIX).lower().split("__")): name for name in environment if _is_ours(name)}
    for path, name in laid.items():
        _lay_over(values, path, environment[name])
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, str(file or ""), laid))) from None


def _is_ours(name: str) -> bool:
    return name.startswith(_PREFIX) and "__" in name


def _refuse_near_misses(environment: Mapping[str, str]) -> None:
    """One underscore where two belong would be ignored without a word, and the store be somewhere else."""
    for section, field in Config.model_fields.items():
        for key in _keys(field.annotation):
            meant = f"{_PREFIX}{section}__{key}".upper()
            for name in (f"{_PREFIX}{section}_{key}".upper(), f"{_PREFIX}{key}".upper()):
                if name in environment:
                    raise ConfigError(f"{name}: not known; did you mean {meant}?")


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
                text = "missing"
            case "model_type" | "dict_type":
                text = "must be a section" + (", such as [upstreams.ghcr]" if path[0] == "upstreams" else "")
            case _:
                text = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{source}: {key}: {text}" if source else f"{key}: {text}")
    return lines


def _known_beside(path: Sequence[str]) -> list[str]:
    """The keys that the section of an unknown one has."""
    if path[0] == "upstreams":
        return _keys(Upstream)
    return _keys(Config.model_fields[path[0]].annotation if len(path) > 1 else Config)


def to_toml(config: Config) -> str:
    """The effective configuration, secrets masked."""
    return "\n".join(_section("", config.model_dump())).strip() + "\n"


def _section(name: str, values: Mapping[str, Any]) -> list[str]:
    lines = [f"\n[{name}]"] if name and not all(isinstance(value, dict) for value in values.values()) else []
    plain = {key: value for key, value in values.items() if value is not None and not isinstance(value, dict)}
    lines += [f"{key} = {_value(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _section(f"{name}.{key}".lstrip("."), value)
    return lines


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
