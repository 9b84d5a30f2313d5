"""bench/client.py and load.py: what is not as expected is an error, never a figure."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from bench.client import Refused, connect
from bench.load import crowd

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


@contextmanager
def _says(*answers: bytes) -> Iterator[int]:
    """The port of a server that gives each connection one of these answers, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(len(answers)) as pool:
        done = [pool.submit(_answer, listener, answer) for answer in answers]
        yield listener.getsockname()[1]
        for one in done:
            one.result()


def _answer(listener: socket.socket, answer: bytes) -> None:
    connection, _ = listener.accept()
    with closing(connection):
        while connection.recv(65536)[-4:] != b"\r\n\r\n":
            pass
        connection.sendall(answer)


def test_a_body_is_taken_to_its_last_byte() -> None:
    with _says(_HEAD % 5 + b"hello") as port, connect("127.0.0.1", port) as connection:
        download = connection.download("/blob", 5)
        assert download.first_byte <= download.end


def test_a_body_may_be_left_in_the_middle() -> None:
    with _says(_HEAD % 5 + b"hel") as port, connect("127.0.0.1", port) as connection:
        connection.begin("/blob", 5)
        connection.discard(2)


def test_a_body_that_ends_early_is_an_error() -> None:
    with _says(_HEAD % 5 + b"hell") as port, connect("127.0.0.1", port) as connection, pytest.raises(Refused):
        connection.download("/blob", 5)


@pytest.mark.parametrize("answer", [_HEAD % 4 + b"hell", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"])
def test_another_answer_is_an_error(answer: bytes) -> None:
    with _says(answer) as port, connect("127.0.0.1", port) as connection, pytest.raises(Refused):
        connection.download("/blob", 5)


def test_a_crowd_takes_its_share_of_each_blob() -> None:
    with _says(*[_HEAD % 9 + b"hello"] * 3) as port:
        assert crowd(port, "team/app", [("sha256:a", 9), ("sha256:b", 9), ("sha256:c", 9)], 5)["wall"] > 0


def test_a_crowd_that_is_not_served_whole_is_an_error() -> None:
    with _says(_HEAD % 9 + b"hello", _HEAD % 9 + b"hell") as port, pytest.raises(Refused):
        crowd(port, "team/app", [("sha256:a", 9), ("sha256:b", 9)], 5)
