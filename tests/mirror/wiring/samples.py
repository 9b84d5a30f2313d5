"""Servers and upstreams of the tests below."""

from mirror.wiring.clients import files_for
from mirror.wiring.files import File
from mirror.wiring.server import Server

HERE = Server("http", "127.0.0.1:5000")
THERE = Server("http", "mirror.example.com:5000")
SECURE = Server("https", "mirror.example.com")

HUB = {"docker.io": True}
TWO = {"docker.io": True, "ghcr.io": False}


def contents(files: list[File]) -> dict[str, str]:
    return {file.path: file.content for file in files}


def only(client: str, server: Server = THERE, upstreams: dict[str, bool] = TWO) -> File:
    (file,) = files_for(client, server, upstreams)
    return file
