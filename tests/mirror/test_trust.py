"""The rules of where our requests may go, one by one."""

import socket
from typing import Any

import pytest
from aiohttp import ThreadedResolver
from yarl import URL

from mirror.upstream.errors import UpstreamBroken
from mirror.upstream.resolver import PublicResolver
from mirror.upstream.trust import check_realm, follow, is_named, is_public, same_origin

HUB = URL("https://registry-1.docker.io")
TOKEN_HOSTS = ("auth.docker.io",)

PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "100.63.255.255",
    "100.128.0.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001:830::200e",
    "2606:4700::1111%eth0",
    "::ffff:1.1.1.1",
    "2002:0101:0101::",
    "64:ff9b::1.1.1.1",
]
NOT_PUBLIC = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001:db8::1",
    "2001::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2002:a9fe:a9fe::",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "4000::1",
    "localhost",
    "",
    "1.1.1",
    "1.1.1.1.1",
    "01.1.1.1",
    "0x7f.0.0.1",
    "2130706433",
    "\u0661.1.1.1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_is_public__not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("url", "hosts", "named"),
    [
        ("https://auth.docker.io/token", ["auth.docker.io"], True),
        ("https://auth.docker.io:8443/token", ["auth.docker.io"], True),  # any port of it
        ("https://auth.docker.io/token", ["auth.docker.io:443"], True),
        ("https://auth.docker.io:8443/token", ["auth.docker.io:443"], False),
        ("http://auth.docker.io/token", ["auth.docker.io:443"], False),
        ("https://AUTH.docker.IO/token", ["auth.docker.io"], True),
        ("https://auth.docker.io./token", ["auth.docker.io"], False),
        ("https://evil-auth.docker.io/token", ["auth.docker.io"], False),
        ("https://auth.docker.io.evil.example/token", ["auth.docker.io"], False),
        ("https://docker.io/token", ["auth.docker.io"], False),
        ("http://127.0.0.1:5001/", ["127.0.0.1:5001"], True),
        ("http://127.0.0.1:5001/", ["127.0.0.1:500"], False),
        ("http://[::1]:5001/", ["[::1]:5001"], True),
        ("http://[::1]:5001/", ["[::1]"], True),
        ("http://[0:0:0:0:0:0:0:1]:5001/", ["[::1]"], True),
        ("http://[::1]:5001/", ["[::1]:5002"], False),
        ("https://auth.docker.io/", [], False),
    ],
)
def test_is_named(url: str, hosts: list[str], named: bool) -> None:
    assert is_named(URL(url), hosts) is named


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x", "https://a.example/y?z", True),
        ("https://a.example", "https://a.example:443", True),
        ("https://A.example", "https://a.EXAMPLE", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "https://b.example", False),
        ("https://a.example", "https://a.example.", False),
        ("http://a.example", "http://a.example:443", False),
    ],
)
def test_same_origin(one: str, other: str, same: bool) -> None:
    assert same_origin(URL(one), URL(other)) is same


@pytest.mark.parametrize(
    "realm",
    [
        "https://auth.docker.io/token",
        "https://registry-1.docker.io/token",
        "https://registry-1.docker.io:443/token",
        "https://AUTH.DOCKER.IO/token",
    ],
)
def test_check_realm(realm: str) -> None:
    assert check_realm(realm, HUB, TOKEN_HOSTS) == URL(realm)


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.docker.io/token",  # without TLS
        "http://registry-1.docker.io/token",
        "https://registry-1.docker.io:8443/token",
        "https://docker.io/token",
        "https://auth.docker.io.evil.example/token",
        "https://auth.docker.io@evil.example/token",
        "https://user:password@auth.docker.io/token",
        "https://:password@auth.docker.io/token",
        "https://evil.example\\@auth.docker.io/token",
        "https://evil.example/@auth.docker.io/token",
        "https://evil.example?auth.docker.io",
        "https://evil.example#auth.docker.io",
        "//auth.docker.io/token",
        "auth.docker.io/token",
        "ftp://auth.docker.io/token",
        "https://",
        "https:///token",
        "https://auth.docker.io:99999/token",
        "https://[::1/token",
        "",
        "\x00",
    ],
)
def test_check_realm__refused(realm: str) -> None:
    with pytest.raises(UpstreamBroken) as caught:
        check_realm(realm, HUB, TOKEN_HOSTS)
    assert "evil" not in str(caught.value)
    assert "password" not in str(caught.value)


def test_check_realm__without_tls_where_the_upstream_has_none() -> None:
    local = URL("http://127.0.0.1:5001")
    assert check_realm("http://127.0.0.1:5001/token", local, ()) == URL("http://127.0.0.1:5001/token")
    assert check_realm("http://127.0.0.1:5002/token", local, ("127.0.0.1:5002",)) == URL("http://127.0.0.1:5002/token")
    with pytest.raises(UpstreamBroken):
        check_realm("http://127.0.0.1:5002/token", local, ())


@pytest.mark.parametrize(
    ("current", "location", "leads_to"),
    [
        ("https://a.example/v2/x", "https://cdn.example/y?sig=%2F%2B", "https://cdn.example/y?sig=%2F%2B"),
        ("https://a.example/v2/x", "/y", "https://a.example/y"),
        ("https://a.example/v2/x", "y", "https://a.example/v2/y"),
        ("https://a.example/v2/x", "?y", "https://a.example/v2/x?y"),
        ("https://a.example/v2/x", "//b.example/y", "https://b.example/y"),
        ("http://a.example/x", "https://b.example/y", "https://b.example/y"),
        ("http://a.example/x", "http://b.example/y", "http://b.example/y"),
    ],
)
def test_follow(current: str, location: str, leads_to: str) -> None:
    assert str(follow(URL(current), location)) == leads_to


@pytest.mark.parametrize(
    "location",
    [
        "http://a.example/x",  # from https down to http, be it the same host
        "http://cdn.example/x",
        "file:///etc/passwd",
        "ftp://cdn.example/x",
        "javascript:alert(1)",
        "https://user@cdn.example/x",
        "https://user:password@cdn.example/x",
        "https://:@cdn.example/x",
        "https://cdn.example:99999/",
        "https://[::1",
    ],
)
def test_follow__refused(location: str) -> None:
    with pytest.raises(UpstreamBroken) as caught:
        follow(URL("https://a.example/x"), location)
    assert "cdn" not in str(caught.value)


@pytest.mark.parametrize(
    ("addresses", "allowed"),
    [
        (["93.184.215.14"], True),
        (["93.184.215.14", "2606:4700::1111"], True),
        (["127.0.0.1"], False),
        (["93.184.215.14", "127.0.0.1"], False),  # one bad address is enough
        (["10.0.0.1", "93.184.215.14"], False),
        (["169.254.169.254"], False),
        (["::1"], False),
        (["::ffff:127.0.0.1"], False),
    ],
)
async def test_resolver(monkeypatch: pytest.MonkeyPatch, addresses: list[str], allowed: bool) -> None:
    asked: list[str] = []

    async def resolve(_self: ThreadedResolver, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        asked.append(host)
        return [{"hostname": host, "host": address, "port": port} for address in addresses]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
    if allowed:
        assert [found["host"] for found in await PublicResolver().resolve("cdn.example", 443)] == addresses
    else:
        with pytest.raises(OSError, match="not public"):
            await PublicResolver().resolve("cdn.example", 443, socket.AF_UNSPEC)
    # Asked once: what was looked at is what will be connected to.
    assert asked == ["cdn.example"]
