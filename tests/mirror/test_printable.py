"""What others said, on a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Grüße, 日本語", "plain, Grüße, 日本語"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\nb\t", "a\\r\\nb\\t"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\ud800", "\\ud800"),
        ("\x7f", "\\x7f"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_whatever_comes(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode()  # no surrogates
    assert printable(shown) == shown
