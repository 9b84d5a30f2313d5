"""The configuration: what is understood, what is refused and how that is said, and that no secret is shown."""

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config import Config, load_config, to_toml
from mirror.errors import ConfigError
from mirror.values import Listen, parse_age, parse_duration, parse_listen, parse_size, show_duration

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
SECRET = "canary-secret"
UPSTREAM = '[upstreams.hub]\nhost = "docker.io"\nurl = "https://registry-1.docker.io"\n'


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (1024, 1024),
        ("1024", 1024),
        ("1b", 1),
        ("1kb", 1000),
        ("1KiB", 1024),
        ("1.5 MB", 1_500_000),
        ("100GiB", 100 * 2**30),
        ("2tib", 2 * 2**40),
        (" 5 mb ", 5_000_000),
    ],
)
def test_size(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (0, 0.0),
        (1.5, 1.5),
        ("30", 30.0),
        ("30s", 30.0),
        ("250ms", 0.25),
        ("15m", 900.0),
        ("1.5h", 5400.0),
        ("1w", 604800.0),
    ],
)
def test_duration(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "-1s", "1y", "1 2", "1e3", "1_000", "\u0661", "0x10", "nan", "inf", True, None, [], "1.5.5s"],
)
def test_quantity__refused(text: object) -> None:
    for parse in (parse_size, parse_duration):
        with pytest.raises(ValueError, match="write it like"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:5000", "127.0.0.1", 5000),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("[::]:5000", "::", 5000),
        ("[::1]:65535", "::1", 65535),
        ("localhost:80", "localhost", 80),
    ],
)
def test_listen(text: str, host: str, port: int) -> None:
    assert parse_listen(text) == Listen(host, port)
    assert str(parse_listen(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5000",
        "5000",
        "127.0.0.1",
        "127.0.0.1:",
        "::5000",
        "::1:5000",
        "[::1]",
        "x:65536",
        "x:-1",
        "x:+1",
        "x: 1",
        "x:\u0661",
        "http://x:1",
        "x:1/",
    ],
)
def test_listen__refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        parse_listen(text)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return file


def test_nothing_at_all_is_docker_hub_on_loopback() -> None:
    config = load_config(None, {})
    assert config == load_config(EXAMPLE, {})
    assert str(config.server.listen) == "127.0.0.1:5000"
    (hub,) = config.upstreams.values()
    assert (hub.host, hub.default, hub.token_hosts) == ("docker.io", True, ("auth.docker.io",))


def test_file_with_upstreams_replaces_docker_hub(tmp_path: Path) -> None:
    file = write(tmp_path, '[upstreams.github]\nhost = "GHCR.io"\nurl = "https://ghcr.io/"\ntag_ttl = "1h"\n')
    config = load_config(file, {})
    assert list(config.upstreams) == ["github"]
    github = config.upstreams["github"]
    assert (github.host, github.endpoints) == ("ghcr.io", ("https://ghcr.io",))
    assert (github.tag_ttl, github.default) == (3600.0, False)
    assert load_config(write(tmp_path, "[upstreams]\n"), {}).upstreams == {}


def test_environment_lies_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, f'[server]\nlisten = "127.0.0.1:1"\ndrain_timeout = 5\n{UPSTREAM}')
    environment = {
        "MIRROR_SERVER__LISTEN": "[::]:7000",
        "MIRROR_STORAGE__ROOT": "/srv/store",
        "MIRROR_LOG__ACCESS": "false",
        "MIRROR_UPSTREAMS__HUB__REDIRECT_HOSTS": "a.example, b.example:8443,",
        "MIRROR_UPSTREAMS__HUB__USERNAME": "operator",
        "MIRROR_UPSTREAMS__HUB__PASSWORD": SECRET,
        "MIRROR_UPSTREAMS__OTHER__HOST": "ghcr.io",
        "MIRROR_UPSTREAMS__OTHER__URL": "https://ghcr.io",
        "MIRROR_CONFIG": "/not/a/key",
        "PATH": "/bin",
    }
    config = load_config(file, environment)
    assert config.server.listen == Listen("::", 7000)
    assert config.server.drain_timeout == 5.0
    assert config.storage.root == Path("/srv/store")
    assert config.log.access is False
    assert config.upstreams["hub"].redirect_hosts == ("a.example", "b.example:8443")
    assert config.upstreams["hub"].read_password() == SECRET
    assert config.upstreams["other"].host == "ghcr.io"


BAD: list[tuple[str, str]] = [
    ("[server]\nlisten = 5000\n", "server.listen: "),
    ('[server]\nlistne = "x:1"\n', "server.listne: unknown key"),
    ("[sever]\n", "sever: unknown key"),
    ('[server]\ndrain_timeout = "soon"\n', "server.drain_timeout: 'soon' is not understood"),
    ("[server]\ndrain_timeout = -1\n", "server.drain_timeout: "),
    ('[server]\nexternal_url = "mirror.example.com"\n', "server.external_url: "),
    ('[server]\nexternal_url = "https://mirror.example.com/path"\n', "server.external_url: "),
    ('[storage]\nroot = ""\n', "storage.root: "),
    ('[registry]\nsparse_manifests = "some"\n', "registry.sparse_manifests: "),
    ('[log]\nlevel = "loud"\n', "log.level: "),
    ('[log]\naccess = "perhaps"\n', "log.access: "),
    ("[upstreams.hub]\n", "upstreams.hub.host: missing"),
    ('[upstreams.hub]\nurl = "https://x.example"\n', "upstreams.hub.host: missing"),
    (UPSTREAM.replace("https://registry-1", "ftp://registry-1"), "upstreams.hub.url: "),
    (UPSTREAM.replace("https://registry-1", "https://user:pw@registry-1"), "upstreams.hub.url: "),
    (UPSTREAM.replace('docker.io"\nurl', 'https://docker.io"\nurl'), "upstreams.hub.host: "),
    (UPSTREAM.replace('docker.io"\nurl', 'docker.io/library"\nurl'), "upstreams.hub.host: "),
    (UPSTREAM + 'token_hosts = ["https://auth.docker.io/token"]\n', "upstreams.hub.token_hosts.0: "),
    (UPSTREAM + "redirect_hosts = [1]\n", "upstreams.hub.redirect_hosts.0: "),
    (UPSTREAM + 'username = "operator"\n', "upstreams.hub: username goes with password"),
    (UPSTREAM + 'password = "x"\n', "upstreams.hub: username goes with password"),
    (UPSTREAM + 'username = "o"\npassword = "x"\npassword_file = "/x"\n', "upstreams.hub: give only one of"),
    (UPSTREAM + 'username = "o"\ncredential_helper = "x"\n', "upstreams.hub: username is what credential_helper says"),
    (UPSTREAM + 'password_file = "/x"\ncredential_helper = "x"\n', "upstreams.hub: give only one of"),
    (UPSTREAM + 'credential_helper = "../evil"\n', "upstreams.hub.credential_helper: not the name of"),
    (UPSTREAM + 'credential_helper = "x; id"\n', "upstreams.hub.credential_helper: not the name of"),
    (UPSTREAM + 'credential_helper = "x\\n"\n', "upstreams.hub.credential_helper: not the name of"),
    (UPSTREAM + "[[upstreams.hub.accounts]]\n", "upstreams.hub: each of accounts needs"),
    (UPSTREAM + '[[upstreams.hub.accounts]]\nusername = "o"\n', "upstreams.hub.accounts.0: username goes with"),
    (
        UPSTREAM + '[[upstreams.hub.accounts]]\nuser = "o"\n',
        "upstreams.hub.accounts.0.user: unknown key; there are: user",
    ),
    (UPSTREAM + "accounts = [1]\n", "upstreams.hub.accounts.0: must be a section"),
    (
        UPSTREAM + 'credential_helper = "x"\n[[upstreams.hub.accounts]]\ncredential_helper = "y"\n',
        "upstreams.hub: give either accounts or",
    ),
    (UPSTREAM + UPSTREAM.replace(".hub]", ".two]"), "docker.io is the host of more than one"),
    (
        f"{UPSTREAM}default = true\n"
        + UPSTREAM.replace(".hub]", ".two]").replace('"docker.io"', '"a.example"')
        + "default = true\n",
        "only one can be the default",
    ),
    ("[upstreams]\nhub = 1\n", "upstreams.hub: "),
    ("upstreams = []\n", "upstreams: "),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said for _, said in BAD])
def test_error_names_the_file_and_the_dotted_key(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    message = str(caught.value)
    assert f"{file}: " in message
    assert said in message
    assert "pydantic" not in message.lower()
    assert ":pw@" not in message


def test_errors_are_named_all_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, '[server]\nlisten = "x"\nfoo = 1\n[log]\nlevel = "loud"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "server.listen",
        "server.foo",
        "log.level",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MIRROR_SERVER__LISTEN", "nowhere", "MIRROR_SERVER__LISTEN: server.listen: "),
        ("MIRROR_SERVER__LISTNE", "x:1", "server.listne: unknown key"),
        ("MIRROR_UPSTREAMS__DOCKERHUB__TAG_TTL", "soon", "upstreams.dockerhub.tag_ttl: "),
        ("MIRROR_SERVER__LISTEN__PORT", "1", "server.listen"),
        ("MIRROR_NONE__SUCH", "1", "none: unknown key"),
    ],
)
def test_error_names_the_variable(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {name: value})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MIRROR_UPSTREAMS_DOCKERHUB_PASSWORD", "MIRROR_UPSTREAMS__DOCKERHUB__PASSWORD"),
        ("MIRROR_UPSTREAMS_DOCKERHUB_PASSWORD_FILE", "MIRROR_UPSTREAMS__DOCKERHUB__PASSWORD_FILE"),
        ("MIRROR_UPSTREAMS_DOCKERHUB__PASSWORD", "MIRROR_UPSTREAMS__DOCKERHUB__PASSWORD"),
        ("MIRROR_UPSTREAMS__DOCKERHUB_PASSWORD", "MIRROR_UPSTREAMS__DOCKERHUB__PASSWORD"),
        ("MIRROR_UPSTREAMS__DOCKERHUB_STALE_IF_ERROR", "MIRROR_UPSTREAMS__DOCKERHUB__STALE_IF_ERROR"),
        ("MIRROR_UPSTREAMS_MY_OWN_HOST", "MIRROR_UPSTREAMS__MY_OWN__HOST"),
        ("MIRROR_DOCKERHUB_USERNAME", "MIRROR_UPSTREAMS__DOCKERHUB__USERNAME"),
        ("MIRROR_GHCR_PASSWORD", "MIRROR_UPSTREAMS__GHCR__PASSWORD"),
        ("MIRROR_UPSTREAMS_DOCKERHUB", "MIRROR_UPSTREAMS__<NAME>__<KEY>"),
        ("MIRROR_UPSTREAMS__DOCKERHUB", "MIRROR_UPSTREAMS__<NAME>__<KEY>"),
        ("MIRROR_UPSTREAMS_DOCKERHUB_PASWORD", "MIRROR_UPSTREAMS__<NAME>__<KEY>"),
    ],
)
def test_near_miss_of_an_upstreams_variable(name: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {name: SECRET})
    assert str(caught.value) == f"{name}: not known; did you mean {meant}?"


def test_near_miss__other_programs_may_have_variables_too() -> None:
    environment = {
        "MIRROR_CONFIG": "x",
        "MIRROR_URL": "x",
        "MIRROR_QUAY": "x",
        "MIRROR_GHCR_TOKEN": "x",
        "UPSTREAMS_X": "x",
    }
    assert load_config(None, environment) == load_config(None, {})


HUB_RULES = [
    ("library/*", "library/*"),
    ("alpine", "alpine"),
    ("docker.io/library/alpine", "library/alpine"),
    ("index.docker.io/alpine", "alpine"),
    ("registry-1.docker.io/*", "*"),
    ("docker.io/*", "*"),
    ("*/app-[0-9]", "*/app-[0-9]"),
    ("[!a]*", "[!a]*"),
    ("web-app[a-c]", "web-app[a-c]"),
    ("ghcr.io/org/app", "ghcr.io/org/app"),  # not its own host: a mirror behind it may have such names
]


@pytest.mark.parametrize("key", ["allow", "deny"])
@pytest.mark.parametrize(("written", "meant"), HUB_RULES)
def test_rule__own_host_in_front_is_left_off(key: str, written: str, meant: str) -> None:
    (hub,) = configured(**{key: [written]}).upstreams.values()
    assert getattr(hub, key) == (meant,)


def test_rule__host_with_a_port(tmp_path: Path) -> None:
    text = '[upstreams."registry.example.com:5000"]\ndeny = ["registry.example.com:5000/secret/*"]\n'
    (upstream,) = load_config(write(tmp_path, text), {}).upstreams.values()
    assert upstream.deny == ("secret/*",)


UNFIT = [
    "Library/*",
    "library/Alpine",
    "docker.io/Alpine",
    "DOCKER.IO/alpine/X",
    "[A-Z]*",
    "alpine:3.19",
    "library/*:*",
]
UNFIT += ["https://docker.io/library/alpine", "localhost:5000/alpine", "/library/alpine", "library/", "library//alpine"]
UNFIT += ["[a", "a]", "!alpine", "docker.io/", "/", "[]a]", "[b-a]*", "[!9-0]"]


@pytest.mark.parametrize("pattern", UNFIT)
@pytest.mark.parametrize("key", ["upstreams.hub.allow", "upstreams.hub.deny", "hosted.allow"])
def test_rule__that_can_fit_nothing_is_refused(tmp_path: Path, key: str, pattern: str) -> None:
    """It would be passed over in silence, and what was to be kept away be let through."""
    section, _, name = key.rpartition(".")
    text = f'[{section}]\n{name} = ["x", "{pattern}"]\n'
    text += UPSTREAM if section == "hosted" else 'host = "docker.io"\n'
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), {})
    assert f": {key}: '{pattern}' matches no repository: " in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_rule__from_the_environment_is_read_like_one_in_the_file() -> None:
    config = load_config(None, {"MIRROR_UPSTREAMS__DOCKERHUB__DENY": "docker.io/library/alpine, busybox"})
    assert config.upstreams["dockerhub"].deny == ("library/alpine", "busybox")
    with pytest.raises(ConfigError, match=r"^MIRROR_UPSTREAMS__DOCKERHUB__DENY: upstreams\.dockerhub\.deny: 'Alpine' "):
        load_config(None, {"MIRROR_UPSTREAMS__DOCKERHUB__DENY": "Alpine"})


def test_variable_below_a_value_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, '[server]\nlisten = "127.0.0.1:1"\n')
    with pytest.raises(ConfigError, match="MIRROR_SERVER__LISTEN__PORT"):
        load_config(file, {"MIRROR_SERVER__LISTEN__PORT": "1"})


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    for file, said in (
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "Is a directory"),
        (write(tmp_path, "[server\n"), "not valid TOML"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            load_config(file, {})
        assert str(file) in str(caught.value)
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "config.toml", {})


@pytest.mark.parametrize(
    "broken",
    [
        {"MIRROR_UPSTREAMS__DOCKERHUB__PASSWORD": SECRET},  # without a user
        {"MIRROR_UPSTREAMS__DOCKERHUB__PASSWORD__X": SECRET},
        {"MIRROR_UPSTREAMS__DOCKERHUB__PASWORD": SECRET},
        {"MIRROR_UPSTREAMS__DOCKERHUB__CREDENTIAL_HELPER": SECRET.upper()},
        {"MIRROR_UPSTREAMS__DOCKERHUB__ACCOUNTS": SECRET},
        {"MIRROR_UPSTREAMS__DOCKERHUB__ACCOUNTS__0__PASSWORD": SECRET},
        {"MIRROR_UPSTREAMS__DOCKERHUB__URL": f"https://user:{SECRET}@x.example"},
        {"MIRROR_UPSTREAMS__DOCKERHUB__URL": f"https://user:{SECRET}@[x"},
        {"MIRROR_UPSTREAMS__DOCKERHUB__TOKEN_HOSTS": f"user:{SECRET}@x.example"},
    ],
    ids=str,
)
def test_secret_is_in_no_error(broken: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, broken)
    assert SECRET not in str(caught.value).lower()
    assert caught.value.__cause__ is None or SECRET not in repr(caught.value.__cause__)


def configured(**upstream: Any) -> Config:
    hub = {"host": "docker.io", "url": "https://registry-1.docker.io", **upstream}
    return Config.model_validate({"upstreams": {"hub": hub}})


def test_to_toml__can_be_read_again_and_masks_secrets(tmp_path: Path) -> None:
    config = configured(username="operator", password=SECRET, redirect_hosts=["a.example", "[::1]:1"], tag_ttl="90s")
    text = to_toml(config)
    assert SECRET not in text
    assert SECRET not in repr(config)
    assert tomllib.loads(text)["upstreams"]["hub"]["password"] == "********"
    again = load_config(write(tmp_path, text.replace("********", SECRET)), {})
    assert again == config


def test_to_toml__of_accounts(tmp_path: Path) -> None:
    accounts = [{"username": "a", "password": SECRET}, {"credential_helper": "ecr-login"}]
    config = configured(accounts=accounts, tag_ttls={"*": "1m"})
    text = to_toml(config)
    assert SECRET not in text + repr(config)
    shown = tomllib.loads(text)["upstreams"]["hub"]["accounts"]
    assert [(one["username"], one["password"], one["credential_helper"]) for one in shown] == [
        ("a", "********", ""),
        ("", "", "ecr-login"),
    ]
    assert load_config(write(tmp_path, text.replace("********", SECRET)), {}) == config


def test_to_toml__of_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, to_toml(load_config(None, {}))), {}) == load_config(None, {})


def test_password_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    assert configured(username="o", password_file=str(file)).upstreams["hub"].read_password() == SECRET
    accounts = [{"username": "a", "password": "x"}, {"username": "b", "password_file": str(tmp_path / "none")}]
    with pytest.raises(ConfigError, match="No such file"):
        configured(accounts=accounts).upstreams["hub"].read_password()
    file.write_bytes(b"\xff" + SECRET.encode())
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        configured(username="o", password_file=str(file)).upstreams["hub"].read_password()
    assert caught.value.__cause__ is None
    for missing, said in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=said):
            configured(username="o", password_file=str(missing)).upstreams["hub"].read_password()


@pytest.mark.parametrize(
    ("section", "host", "url"),
    [
        ("dockerhub", "docker.io", "https://registry-1.docker.io"),
        ('"docker.io"', "docker.io", "https://registry-1.docker.io"),
        ("ghcr", "ghcr.io", "https://ghcr.io"),
        ("quay", "quay.io", "https://quay.io"),
        ("k8s", "registry.k8s.io", "https://registry.k8s.io"),
        ("gcr", "gcr.io", "https://gcr.io"),
        ("mcr", "mcr.microsoft.com", "https://mcr.microsoft.com"),
        ("ecr-public", "public.ecr.aws", "https://public.ecr.aws"),
        ("nvcr", "nvcr.io", "https://nvcr.io"),
        ('"registry.example.com:5000"', "registry.example.com:5000", "https://registry.example.com:5000"),
    ],
)
def test_upstream__a_name_is_enough(tmp_path: Path, section: str, host: str, url: str) -> None:
    config = load_config(write(tmp_path, f"[upstreams.{section}]\n"), {})
    (upstream,) = config.upstreams.values()
    assert (upstream.host, upstream.endpoints) == (host, (url,))
    assert upstream.default is (host == "docker.io")
    assert tomllib.loads(to_toml(config))["upstreams"].keys() == config.upstreams.keys()


def test_upstream__docker_hub_is_the_default_unless_another_is(tmp_path: Path) -> None:
    text = '[upstreams.dockerhub]\nusername = "me"\npassword = "x"\n[upstreams.ghcr]\n'
    hub, ghcr = load_config(write(tmp_path, text), {}).upstreams.values()
    assert (hub.default, ghcr.default, hub.token_hosts) == (True, False, ("auth.docker.io",))
    hub, ghcr = load_config(write(tmp_path, text + "default = true\n"), {}).upstreams.values()
    assert (hub.default, ghcr.default) == (False, True)


def test_upstream__urls(tmp_path: Path) -> None:
    text = '[upstreams.x]\nhost = "x.example"\nurls = ["https://a.example", "https://b.example/"]\n'
    (upstream,) = load_config(write(tmp_path, text), {}).upstreams.values()
    assert upstream.endpoints == ("https://a.example", "https://b.example")
    with pytest.raises(ConfigError, match="either url or urls"):
        load_config(write(tmp_path, text + 'url = "https://c.example"\n'), {})
    with pytest.raises(ConfigError, match=r"upstreams\.nobody\.host: missing"):
        load_config(write(tmp_path, "[upstreams.nobody]\n"), {})


@pytest.mark.parametrize(("text", "seconds"), [("forever", math.inf), ("1h", 3600.0), (5, 5.0)])
def test_age(text: object, seconds: float) -> None:
    assert parse_age(text) == seconds


def test_tag_ttls(tmp_path: Path) -> None:
    text = '[upstreams.ghcr.tag_ttls]\n"*:v1.*" = "forever"\n"org/*:latest" = "1m"\n'
    config = load_config(write(tmp_path, text), {})
    assert config.upstreams["ghcr"].tag_ttls == {"*:v1.*": math.inf, "org/*:latest": 60.0}
    assert load_config(write(tmp_path, to_toml(config)), {}) == config
    with pytest.raises(ConfigError, match="is not a pattern"):
        load_config(write(tmp_path, '[upstreams.ghcr.tag_ttls]\n"a b" = "1m"\n'), {})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("docker.io/library/*:V1.*", "library/*:V1.*"),
        ("*:latest", "*:latest"),
        ("library/*", "library/*"),
        ("alpine:3", "alpine:3"),
    ],
)
def test_tag_ttls__own_host_in_front_is_left_off(written: str, meant: str) -> None:
    (hub,) = configured(tag_ttls={written: "1m"}).upstreams.values()
    assert hub.tag_ttls == {meant: 60.0}


@pytest.mark.parametrize("pattern", ["library/alpine", "Library/*:1", "/library/alpine:1", "library/:1", "a:5000/b:1"])
def test_tag_ttls__that_can_fit_nothing_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"upstreams\.ghcr\.tag_ttls: '.*' matches no tag: "):
        load_config(write(tmp_path, f'[upstreams.ghcr.tag_ttls]\n"{pattern}" = "1m"\n'), {})


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:5000", True),
        ("127.8.8.8:5000", True),
        ("[::1]:5000", True),
        ("localhost:5000", True),
        ("0.0.0.0:5000", False),
        ("[::]:5000", False),
        ("10.0.0.5:5000", False),
        ("mirror.example.com:5000", False),
    ],
)
def test_listen__loopback(address: str, loopback: bool) -> None:
    assert parse_listen(address).is_loopback is loopback


WARM = '[[warm]]\nimages = ["nginx:1.27", "ghcr.io/org/app", "localhost:1/a@sha256:' + "0" * 64 + '"]\n'


def test_warm(tmp_path: Path) -> None:
    file = write(tmp_path, f'{WARM}platforms = ["linux/x86_64"]\nevery = "1h"\n[[warm]]\nfile = "images"\n')
    first, second = load_config(file, {}).warm
    assert list(map(str, first.images)) == ["nginx:1.27", "ghcr.io/org/app:latest", f"localhost:1/a@sha256:{'0' * 64}"]
    assert (list(map(str, first.platforms)), first.every, first.file) == (["linux/amd64"], 3600.0, None)
    assert (second.images, second.file, second.every) == ((), Path("images"), 6 * 3600.0)


def test_warm__is_shown_as_it_is_written(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, f'{WARM}platforms = ["linux/arm/v7"]\n'), {})
    shown = to_toml(config)
    assert load_config(write(tmp_path, shown), {}) == config
    assert 'platforms = ["linux/arm/v7"]' in shown


WARM_REFUSED = [
    (
        '[[warm]]\nimages = ["Nginx"]',
        "warm.0.images.0: 'Nginx' is not the name of an image: invalid repo",
    ),
    ('[[warm]]\nimages = ["a", "b:"]', "warm.0.images.1: 'b:' is not the name of an image: invalid tag"),
    ('[[warm]]\nimages = ["a"]\nplatforms = ["linux"]', "warm.0.platforms.0: 'linux' is not a platform; "),
    ('[[warm]]\nimages = ["a"]\nevery = "1s"', "warm.0.every: 1s is too short; at least 1m"),
    ('[[warm]]\nimages = ["a"]\n[[warm]]\nevery = "1h"', "warm.1: name some images, or a file that does"),
    ('[[warm]]\nimage = "a"', "warm.0.image: unknown key; there are: images, file, platforms, every"),
    ('[warm]\nimages = ["a"]', "warm: must be a list of sections: write [[warm]], in double brackets"),
]


def test_warm__not_by_environment() -> None:
    with pytest.raises(ConfigError, match=r"^MIRROR_WARM__0__IMAGES: not by environment; write \[\[warm\]\] into the"):
        load_config(None, {"MIRROR_WARM__0__IMAGES": "nginx"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[upstreams.ghcr.io]\n", 'upstreams.ghcr.io: a host has to be in quotes; write [upstreams."ghcr.io"]'),
        (
            "[upstreams.dockerhub]\n[upstreams.registry.gitlab.com]\ntag_ttl = '1m'\n",
            'upstreams.registry.gitlab.com: a host has to be in quotes; write [upstreams."registry.gitlab.com"]',
        ),
        ("[upstreams.ghcr.io.tag_ttls]\n'*' = '1m'\n", "upstreams.ghcr.io: a host has to be in quotes; write [upstr"),
        ("[upstreams.ghcr.tagttls]\n'*' = '1m'\n", "upstreams.ghcr.tagttls: unknown key; there are: "),
        ("[upstreams.ghcrr]\n", "upstreams.ghcrr.host: missing; did you mean [upstreams.ghcr]?"),
        ("[upstreams.GHCR]\n", "upstreams.GHCR.host: missing; did you mean [upstreams.ghcr]?"),
        ("[upstreams.mine]\n", "upstreams.mine.host: missing; only dockerhub, ghcr, quay, k8s, gcr, mcr, ecr-public, "),
        ('[upstreams.ghcr]\nproxy = "proxy:3128"\n', "is not a base URL; write it like http://proxy.example.com:3128"),
    ],
)
def test_upstream__what_was_meant(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as failure:
        load_config(write(tmp_path, text), {})
    (line,) = str(failure.value).splitlines()
    assert message in line
    assert line.startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(300, "5m"), (86400, "1d"), (5400, "90m"), (0, "0s"), (0.25, "250ms"), (30, "30s"), (1.1, "1100ms")],
)
def test_durations_are_shown_as_they_are_written(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


@given(st.integers(0, 10**7).map(lambda number: number / 1000) | st.integers(0, 10**9))
def test_durations_are_read_as_they_are_shown(seconds: float) -> None:
    assert parse_duration(show_duration(seconds)) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(("text", "message"), WARM_REFUSED)
def test_warm__refused(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as failure:
        load_config(file, {})
    assert f"{file}: {message}" in str(failure.value)
