"""Where clients find this server: as it was said, as it is configured, or as it listens."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from mirror.errors import ConfigError
from mirror.values import Listen

_URL = re.compile(r"(https?)://((?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)/?", re.ASCII)


class Server(NamedTuple):
    """This server as its clients reach it. `address` is what stands before the repository in an image's name."""

    scheme: str
    address: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"

    @property
    def plain_http(self) -> bool:
        return self.scheme == "http"

    @property
    def on_loopback(self) -> bool:
        host = urlsplit(str(self)).hostname or ""
        ip = _ip(host)
        return host == "localhost" or (ip is not None and ip.is_loopback)

    @property
    def addresses(self) -> tuple[str, ...]:
        """What people may write before a repository: on loopback there are two names for the same, and clients that
        are told about one do not know the other."""
        if not self.on_loopback:
            return (self.address,)
        port = self.address.rpartition("]")[2].partition(":")[2]
        usual = (f"{host}:{port}" if port else host for host in ("localhost", "127.0.0.1"))
        return tuple(dict.fromkeys((self.address, *usual)))


def find_server(given: str | None, external_url: str, listen: Listen) -> Server:
    """What was given wins over `server.external_url`, and that over the address listened on. Raises ConfigError."""
    if given is not None:
        return _parse(given, "--server")
    if external_url:
        return _parse(external_url, "server.external_url")
    ip = _ip(listen.host)
    if ip is not None and ip.is_unspecified:
        raise ConfigError(f"server.listen is {listen}, every address of this machine: {_HOW}")
    if listen.port == 0:
        raise ConfigError(f"server.listen is {listen}, a port that is known only when the server runs: {_HOW}")
    return Server("http", str(listen))


_HOW = "say how clients reach it with --server URL, or set server.external_url"


def _parse(text: str, source: str) -> Server:
    match = _URL.fullmatch(text.lower())
    if match is None:
        raise ConfigError(f"{source}: not the URL of a server; write it like http://mirror.example.com:5000")
    return Server(match[1], match[2])


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
