"""Docker's search answers, read with suspicion."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.errors import RequestInvalid
from ocispec.search import SearchHit, answer, one_line, parse_number, parse_results

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["name", "description", "star_count"]), inner)
    ),
    max_leaves=20,
)


@given(results=st.lists(JSON))
def test_whatever_the_results_are(results: list[object]) -> None:
    for hit in parse_results(json.dumps({"results": results}).encode()):
        assert hit.stars >= 0
        assert hit.description.isprintable() or "\ufffd" in hit.description or " " in hit.description


@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_no_answer(body: bytes) -> None:
    try:
        parse_results(body)
    except ValueError:
        return


@given(text=st.text())
def test_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 400
    assert not any(ord(character) < 32 or character in "\x7f\u2028\u2029" for character in line)
    line.encode()


def test_what_is_written_can_be_read() -> None:
    body = answer("q", 2, 10, 35, [{"name": "a/b", "description": "text", "star_count": 3, "is_official": True}])
    assert parse_results(body) == [SearchHit("a/b", "text", 3, True)]  # type: ignore[arg-type]
    assert json.loads(body)["num_pages"] == 4


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "\u0661", " 1", "1e3", "9" * 50])
def test_numbers(text: str) -> None:
    with pytest.raises(RequestInvalid):
        parse_number(text, "n", 25, 1, 100)


def test_numbers_are_cut() -> None:
    assert [parse_number(text, "n", 25, 1, 100) for text in (None, "7", "5000")] == [25, 7, 100]
