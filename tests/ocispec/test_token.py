import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.names import RepositoryName
from ocispec.token import MAX_BYTES, Token, parse_token, pull_scope
from tests.ocispec.samples import json_values, law, name_texts

_MINUTE, _DAY = 60, 24 * 3600


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ({"token": "a"}, "a"),
        ({"access_token": "a"}, "a"),
        ({"token": "a", "access_token": "b"}, "a"),
        ({"token": "", "access_token": "b"}, "b"),
        ({"token": None, "access_token": "b"}, "b"),
        ({"token": "eyJh.eyJz-_.c2ln+/=="}, "eyJh.eyJz-_.c2ln+/=="),
        ({"token": "!~"}, "!~"),
        ({"token": "a", "issued_at": "not a date", "expires_in": None, "refresh_token": 5}, "a"),
    ],
)
def test_token__its_value_is_read(reply: object, value: str) -> None:
    token = parse_token(json.dumps(reply).encode())
    assert token is not None
    assert token.value == value


@pytest.mark.parametrize(
    "body",
    [
        # No JSON, or not an object.
        *(b"", b" ", b"<html>busy</html>", b"token", b'{"token": "a"', b'{"token": "a"}}', b"\xff\xfe", b"\x00"),
        *(b"null", b"true", b"1", b'"a"', b"[]", b'[{"token": "a"}]', b"[" * 200_000, b'{"a":' * 200_000),
        b'{"token": "a", "expires_in": ' + b"9" * 5000 + b"}",
        # No value.
        *(b"{}", b'{"token": ""}', b'{"access_token": ""}', b'{"token": "", "access_token": ""}', b'{"token": null}'),
        *(b'{"Token": "a"}', b'{"TOKEN": "a"}', b'{"id_token": "a"}'),
        # No text.
        *(b'{"token": 1}', b'{"token": true}', b'{"token": ["a"]}', b'{"token": {"a": "b"}}', b'{"access_token": 1.5}'),
        b'{"token": 1, "access_token": "b"}',
        # What must not stand in a header.
        *(b'{"token": "a b"}', b'{"token": " a"}', b'{"token": "a "}', b'{"token": " "}', b'{"token": "a\\n"}'),
        *(b'{"token": "a\\r\\nX-Evil: b"}', b'{"token": "a\\u0000"}', b'{"token": "\\t"}', b'{"token": "a\\u007f"}'),
        *(b'{"token": "\\u00e9"}', b'{"token": "\\u2028"}', b'{"token": "\\ud800"}', b'{"token": "a\\u00a0b"}'),
        *(b'{"token": "\\u0661"}', b'{"token": "\\u001b[2J"}', '{"token": "é"}'.encode()),
    ],
    ids=lambda body: ascii(body)[2:40],
)
def test_token__an_unusable_reply_is_none(body: bytes) -> None:
    assert parse_token(body) is None


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        *(("300", 300), ("60", 60), ("61", 61), ("3600", 3600), ("86399", 86399), ("86400", _DAY)),
        *(("86401", _DAY), ("999999999999999999999", _DAY)),
        *(("59", _MINUTE), ("1", _MINUTE), ("0", _MINUTE), ("-1", _MINUTE), ("-999999999999999999999", _MINUTE)),
        *(("null", _MINUTE), ("true", _MINUTE), ("false", _MINUTE), ('"300"', _MINUTE), ('""', _MINUTE)),
        *(("300.0", _MINUTE), ("1e400", _MINUTE), ("-1e400", _MINUTE), ("NaN", _MINUTE), ("Infinity", _MINUTE)),
        *(("[300]", _MINUTE), ("{}", _MINUTE)),
    ],
)
def test_token__its_lifetime_is_a_minute_to_a_day(expires_in: str, lifetime: int) -> None:
    token = parse_token(f'{{"token": "a", "expires_in": {expires_in}}}'.encode())
    assert token == Token("a", lifetime)


def test_token__without_a_lifetime_lasts_a_minute() -> None:
    assert parse_token(b'{"token": "a"}') == Token("a", _MINUTE)


def test_token__its_value_is_never_printed() -> None:
    token = parse_token(b'{"token": "verysecret"}')
    assert token is not None
    for printed in (repr(token), str(token), f"{token}", f"{[token]}", "%s %r" % (token, token)):  # noqa: UP031
        assert "verysecret" not in printed


def test_token__a_long_value_is_read_in_linear_time() -> None:
    token = parse_token(json.dumps({"token": "a" * 100_000}).encode())
    assert token is not None
    assert len(token.value) == 100_000
    assert parse_token(json.dumps({"token": "a" * 100_000 + "\n"}).encode()) is None


def test_token__the_cap_of_a_reply_is_64_kib() -> None:
    assert MAX_BYTES == 65536


@law
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_token__any_bytes_are_a_token_or_none(body: bytes) -> None:
    token = parse_token(body)
    assert token is None or token.value


@law
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "token": json_values | st.text("ab \n\u00e9", max_size=3),
            "access_token": json_values | st.text("ab \n\u00e9", max_size=3),
            "expires_in": json_values | st.integers(),
        },
    )
)
def test_token__any_reply_gives_a_value_for_a_header_and_a_lifetime_in_bounds(reply: dict[str, object]) -> None:
    token = parse_token(json.dumps(reply).encode())
    if token is not None:
        assert token.value
        assert all("!" <= character <= "~" for character in token.value)
        assert _MINUTE <= token.lifetime <= _DAY
        assert type(token.lifetime) is int


def test_pull_scope__as_the_token_service_expects_it() -> None:
    assert pull_scope("library/nginx") == "repository:library/nginx:pull"


@law
@given(name_texts)
def test_pull_scope__reads_one_repository_and_nothing_else(text: str) -> None:
    kind, name, actions = pull_scope(RepositoryName.parse(text)).split(":")
    assert (kind, name, actions) == ("repository", text, "pull")
