"""Where clients find the server."""

import pytest

from mirror.errors import ConfigError
from mirror.values import parse_listen
from mirror.wiring.server import Server, find_server

LOOPBACK = parse_listen("127.0.0.1:5000")


@pytest.mark.parametrize(
    ("given", "external_url", "listen", "found"),
    [
        (None, "", "127.0.0.1:5000", "http://127.0.0.1:5000"),
        (None, "", "[::1]:5000", "http://[::1]:5000"),
        (None, "", "mirror.example.com:80", "http://mirror.example.com:80"),
        (None, "https://mirror.example.com", "0.0.0.0:0", "https://mirror.example.com"),
        ("http://a.example:1", "https://b.example", "127.0.0.1:0", "http://a.example:1"),
        ("http://a.example:1/", "", "[::]:5000", "http://a.example:1"),
        ("HTTP://Mirror_1.Example", "", "[::]:5000", "http://mirror_1.example"),
        ("https://[2001:DB8::1]:5000", "", "[::]:5000", "https://[2001:db8::1]:5000"),
    ],
)
def test_found(given: str | None, external_url: str, listen: str, found: str) -> None:
    assert str(find_server(given, external_url, parse_listen(listen))) == found


@pytest.mark.parametrize("listen", ["0.0.0.0:5000", "[::]:5000", "[0:0:0:0:0:0:0:0]:5000", "127.0.0.1:0"])
def test_listen_says_too_little(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"--server URL, or set server\.external_url") as failure:
        find_server(None, "", parse_listen(listen))
    assert str(parse_listen(listen)) in str(failure.value)
    assert failure.value.exit_code == 2


@pytest.mark.parametrize(
    "given",
    [
        *("", "mirror.example.com", "mirror.example.com:5000", "ftp://a", "http://", "http://a:", "http://a:x"),
        *("http://a/path", "http://a?q", "http://a#f", "http://u:p@a", "http://a b", 'http://a"', "http://a\n"),
        *("http://\u0661", "http://[::1", "http:///a", "http://a:5000/v2/"),
    ],
)
def test_not_a_server(given: str) -> None:
    with pytest.raises(ConfigError, match=r"--server: .*write it like"):
        find_server(given, "https://mirror.example.com", LOOPBACK)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:5000", True),
        ("http://127.0.0.1", True),
        ("http://127.9.9.9:5000", True),
        ("http://[::1]:5000", True),
        ("http://localhost.example:5000", False),
        ("http://10.0.0.1:5000", False),
        ("http://[2001:db8::1]:5000", False),
    ],
)
def test_on_loopback(url: str, loopback: bool) -> None:
    assert find_server(url, "", LOOPBACK).on_loopback is loopback


@pytest.mark.parametrize(
    ("address", "addresses"),
    [
        ("127.0.0.1:5000", ("127.0.0.1:5000", "localhost:5000")),
        ("localhost", ("localhost", "127.0.0.1")),
        ("[::1]:80", ("[::1]:80", "localhost:80", "127.0.0.1:80")),
        ("[::1]", ("[::1]", "localhost", "127.0.0.1")),
        ("mirror.example.com:5000", ("mirror.example.com:5000",)),
    ],
)
def test_addresses(address: str, addresses: tuple[str, ...]) -> None:
    assert Server("http", address).addresses == addresses


def test_plain_http() -> None:
    assert Server("http", "a").plain_http
    assert not Server("https", "a").plain_http
