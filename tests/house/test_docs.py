"""The documentation against the code: every key, default, error and log field that is written down is the real one."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from mirror import app  # noqa: F401 - so that every subclass of RegistryError there may be is known
from mirror.__main__ import cli
from mirror.config import Config, Section, Upstream, Warm, load_config
from mirror.control.routes import of_port, of_socket
from mirror.errors import ConfigError, NoServer
from mirror.http.metrics import UpstreamCollector
from mirror.logs import Entry
from mirror.pull.outcome import Outcome
from mirror.pull.refresh import Change
from mirror.pull.warm import Stage
from mirror.upstream.limits import Kind
from mirror.upstream.state import AccountState, Ending, EndpointState, UpstreamState
from mirror.wiring.clients import CLIENTS, files_for
from mirror.wiring.report import printed
from mirror.wiring.server import Server
from ocispec.errors import RegistryError
from ocispec.limits import Budget
from storage.layout import Layout

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ["getting-started.md", "configuration.md", "clients.md", "errors.md", "operations.md", "commands.md"]
REQUIRED, NONE = "required", "none"
# A section that there may be several of, in double brackets.
LIST = "[warm]"

_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^]]*]\(([^)\s]*)\)")
_LOGGED = re.compile(
    r'(?:log\.(?:info|warning|error|exception)\(\s*|log\.log\((?:level|_level\(failure\)), |record\.msg, .*= )"([^"]+)"'
)
_VARIABLE = re.compile(r"MIRROR_[A-Z]\w*__(?:\w|<NAME>)+")


class Key(NamedTuple):
    """A key of the configuration as the documentation has to show it; `value` is its default."""

    section: str
    name: str
    value: object
    required: bool

    @property
    def variable(self) -> str:
        if self.section == LIST:
            return NONE
        return f"MIRROR_{self.section}__{self.name}".upper().replace(".", "__")


class Row(NamedTuple):
    """A key of the configuration as the documentation shows it."""

    section: str
    name: str
    default: str
    variable: str


def page(name: str) -> str:
    return (DOCS / name).read_text()


def part(text: str, heading: str) -> str:
    """What stands under a heading, without deeper headings."""
    _, _, rest = text.partition(f"\n{heading}\n")
    assert rest, f"there is no heading {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without their heads; code marks are left off a cell that is all code."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    heads = {n for n, row in enumerate(rows[1:]) if all(set(cell) <= {"-"} for cell in row)}
    kept = [row for n, row in enumerate(rows) if n not in heads and n - 1 not in heads]
    return [[cell[1:-1] if re.fullmatch(r"`[^`]+`", cell) else cell for cell in row] for row in kept]


def blocks(text: str, language: str) -> list[str]:
    return [match[2] for match in _CODE.finditer(text) if match[1] == language]


def keys(model: type[Section] = Config, path: str = "") -> Iterator[Key]:
    """Every key of the configuration; the sections of upstreams count as one, `upstreams.<name>`; so does a list."""
    for name, field in model.model_fields.items():
        below = f"{path}.{name}".lstrip(".")
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from keys(field.annotation, below)
        elif field.annotation == dict[str, Upstream]:
            yield from keys(Upstream, f"{below}.<name>")
        elif field.annotation == tuple[Warm, ...]:
            yield from keys(Warm, LIST)
        else:
            yield Key(path, name, field.default, field.is_required())


def documented_keys() -> list[Row]:
    text = page("configuration.md")
    sections = re.findall(r"^## `\[(.+)]`$", text, re.MULTILINE)
    return [
        Row(section, row[0], row[2], row[3]) for section in sections for row in table(part(text, f"## `[{section}]`"))
    ]


def with_upstream(**variables: str) -> dict[str, str]:
    """An environment with an upstream called `a` that has what it must have."""
    return {"MIRROR_UPSTREAMS__A__HOST": "a.example", "MIRROR_UPSTREAMS__A__URL": "https://a.example", **variables}


def loaded(toml: str, folder: Path) -> Config:
    file = folder / "config.toml"
    file.write_text(toml)
    return load_config(file, {})


def test_every_key_is_documented_and_no_other() -> None:
    documented = [(row.section, row.name, row.variable) for row in documented_keys()]
    assert sorted(documented) == sorted((key.section, key.name, key.variable) for key in keys())


# What sections must have.
MUST = {"upstreams.a": {"host": '"a.example"', "url": '"https://a.example"'}, LIST: {"file": '"images.txt"'}}


@pytest.mark.parametrize("key", list(keys()), ids=lambda key: f"{key.section}.{key.name}")
def test_default(key: Key, tmp_path: Path) -> None:
    """The default as it is written, put into a file, is the default."""
    (written,) = [row.default for row in documented_keys() if row[:2] == key[:2]]
    if key.required or key.value is None:
        assert written == (REQUIRED if key.required else NONE)
        return
    section = key.section.replace("<name>", "a")
    lines = [f"{name} = {value}" for name, value in {**MUST.get(section, {}), key.name: written}.items()]
    assert value_of(loaded(f"[{section}]\n" + "\n".join(lines), tmp_path), section, key.name) == key.value


BY_ENVIRONMENT = [row for row in documented_keys() if row.variable != NONE]


@pytest.mark.parametrize("row", BY_ENVIRONMENT, ids=lambda row: row.variable)
def test_environment_name(row: Row) -> None:
    """What the variable is set to arrives at this key, and is refused there if it makes no sense."""
    variable = row.variable.replace("<NAME>", "A")
    section = row.section.replace("<name>", "a")
    try:
        found = str(value_of(load_config(None, with_upstream(**{variable: "?"})), section, row.name))
    except ConfigError as error:
        found = str(error)
    # A key that goes with another one is refused together with it, in the name of the section.
    assert found in ("?", "('?',)") or found.startswith((f"{variable}: {section}.{row.name}", f"{section}: "))


def value_of(config: Config, section: str, name: str) -> Any:
    if section == LIST:
        return getattr(config.warm[0], name)
    found: Any = config
    for step in section.split("."):
        found = found[step] if isinstance(found, dict) else getattr(found, step)
    return getattr(found, name)


def test_without_any_configuration(tmp_path: Path) -> None:
    """The upstream that is there by itself is the one that the page shows."""
    (toml,) = blocks(part(page("configuration.md"), "## Without any configuration"), "toml")
    assert loaded(toml, tmp_path) == load_config(None, {})


@pytest.mark.parametrize("toml", blocks(page("configuration.md"), "toml"))
def test_examples_can_be_loaded(toml: str, tmp_path: Path) -> None:
    assert loaded(toml, tmp_path).model_fields_set, "and say something"


@pytest.mark.parametrize(
    ("written", "message"), table(part(page("configuration.md"), "## When something is wrong")), ids=lambda text: text
)
def test_messages_about_the_configuration(written: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as failure:
        loaded(written, tmp_path)
    assert str(failure.value) == f"{tmp_path / 'config.toml'}: {message}"


@pytest.mark.parametrize("name", PAGES)
def test_variables_exist(name: str) -> None:
    """Also in examples, a variable is one of a key."""
    known = {key.variable for key in keys()}
    for variable in _VARIABLE.findall(page(name)):
        generic = re.sub(r"^(MIRROR_UPSTREAMS)__(?:(?!__)\w)+?__", r"\1__<NAME>__", variable)
        assert {variable, generic} & known, variable


def registry_errors(error: type[RegistryError] = RegistryError) -> Iterator[tuple[str, str]]:
    yield error.code, str(error.status)
    for kind in error.__subclasses__():
        yield from registry_errors(kind)


def test_errors() -> None:
    documented = [(row[0], row[1]) for row in table(part(page("errors.md"), "## Codes"))]
    assert sorted(documented) == sorted(set(registry_errors()))


def test_access_log() -> None:
    fields, outcomes = split(table(part(page("operations.md"), "### The access log")), after="cut")
    assert {row[0] for row in fields} == set(Entry._fields) - {"at"} | {"timestamp"}
    assert {row[0] for row in outcomes} == set(Outcome)


def logged_events() -> set[str]:
    """Everything that the server says in its log, up to what varies."""
    files = [path for folder in ("mirror", "storage") for path in (ROOT / folder).rglob("*.py")]
    found = {match[1] for path in files for match in _LOGGED.finditer(path.read_text())}
    return {event.partition(";")[0].partition(":")[0] for event in found}


def test_log_lines() -> None:
    """Every event is explained, and no other."""
    rows = table(part(page("operations.md"), "### Other lines"))
    explained = {event for row in rows for event in re.findall(r"[^`|]{4,}", row[0]) if event != ", "}
    assert {event.partition(";")[0].partition(":")[0] for event in explained} == logged_events()


def test_commands() -> None:
    outcomes = {row[0] for row in table(part(page("commands.md"), "## Refresh"))}
    assert outcomes == set(Change) | {"failed"}
    (events,) = [row[1] for row in table(part(page("commands.md"), "## Warm")) if row[0] == "event"]
    assert set(re.findall(r"`(\w+)`", events)) == set(Stage)


def test_every_command_is_documented() -> None:
    """With what its failure means; and so is the exit code for want of a server."""
    commands, codes = split(table(page("commands.md").partition("\n## ")[0]), after="mirror completion SHELL")
    named = {re.findall(r"mirror ([\w-]+)", row[0])[0] for row in commands}
    assert named == set(get_command(cli).commands)  # type: ignore[attr-defined]
    assert str(NoServer.exit_code) in {row[0] for row in codes}


def test_the_api_is_documented() -> None:
    documented = {
        re.sub(r"\?.*", "", match) for match in re.findall(r"`((?:GET|POST) /api/v1/[^` ]+)", page("commands.md"))
    }
    for routes in (of_socket(), of_port()):
        assert {f"{route.method} {route.path.replace(':.+', '')}" for route in routes} == documented


def test_metrics() -> None:
    """The page has every family with its labels, and every outcome."""
    families, outcomes = split(
        table(part(page("operations.md"), "## Metrics")), after="mirror_upstream_limited_seconds"
    )
    state = EndpointState("u", False, True, None, None, (AccountState("n", Budget(1, 2, 0, ""), False, {}, {}),))
    upstream = UpstreamState("h", False, (state,), 0, 0, 0, {(Kind.TAG, Ending.DONE): 1}, ())
    shown = {
        sample.name: set(sample.labels)
        for family in UpstreamCollector(SimpleNamespace(states=lambda: [upstream])).collect()  # type: ignore[arg-type]
        for sample in family.samples
    }
    documented = {
        name: set(re.findall(r"\w+", row[1])) for row in families for name in re.findall(r"mirror_\w+", row[0])
    }
    assert documented == shown
    assert {row[0] for row in outcomes} == set(Ending)


def split(rows: list[list[str]], after: str) -> tuple[list[list[str]], list[list[str]]]:
    """Two tables that follow each other, the first of which ends with the row `after`."""
    end = [row[0] for row in rows].index(after) + 1
    return rows[:end], rows[end:]


def test_layout() -> None:
    """The page has everything that lies in the root of a store."""
    layout = Layout(Path())
    paths = (layout.format, layout.lock, layout.control, layout.index, layout.uploads, layout.partials, layout.tmp)
    named = " ".join(row[0] for row in table(part(page("operations.md"), "## The store")))
    assert {path.name for path in (*paths, Path("blobs"))} <= set(re.findall(r"[\w.]+", named))


def test_wire() -> None:
    """The page shows what the command prints, and has the file of every client."""
    server, hub = Server("http", "mirror.example.com:5000"), {"docker.io": True}
    assert printed(Path("/"), files_for("containerd", server, hub)) in blocks(page("clients.md"), "")
    documented = {row[0]: row[1].replace("HOST", "docker.io") for row in table(page("clients.md")) if row[0] in CLIENTS}
    assert documented == {client: files_for(client, server, hub)[0].path for client in CLIENTS}


def anchors(text: str) -> set[str]:
    """The names that headings can be linked to by, as GitHub makes them."""
    headings = _HEADING.findall(_CODE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links(name: str) -> None:
    for target in _LINK.findall(_CODE.sub("", page(name))):
        path, _, anchor = target.partition("#")
        file = (DOCS / (path or name)).resolve()
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file.read_text()), target
