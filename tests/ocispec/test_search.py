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
        assert hit.description.isprintable()


@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_no_answer(body: bytes) -> None:
    try:
        parse_results(body)
    except ValueError:
        return


@given(
    text=st.text(
        st.characters() | st.sampled_from("ab \n\t\x1b\x9b\u00a0\u2028\u200b\u202e\u2066\ufeff\ud800"), max_size=900
    )
)
def test_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 400
    assert line.isprintable()
    assert line == line.strip()
    line.encode()
    assert one_line(line) == line
    if len(line) < 400:
        assert line.replace(" ", "") == "".join(char for char in text if char.isprintable() and char != " ")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("red\r\n blue\u2028green\u00a0", "red blue green"),
        ("\x1b[2Jtext\x07\x9b", "[2Jtext"),
        ("free\u202eexe.cod\u200b\u2066", "freeexe.cod"),
        ("Größe 数 👍", "Größe 数 👍"),
        ("x" * 401, "x" * 399 + "…"),
    ],
)
def test_one_line__of(text: str, line: str) -> None:
    assert one_line(text) == line


def test_no_more_results_than_we_ask_for() -> None:
    entries: list[dict[str, object]] = [{"name": name} for name in ("Not Valid", *(f"a/b{n}" for n in range(500)))]
    body = answer("q", 1, 500, 500, entries)
    assert [hit.name for hit in parse_results(body)] == [f"a/b{n}" for n in range(100)]


@pytest.mark.parametrize("stars", [True, -1, 2**53, 1.5, "7", None])
def test_stars_that_are_none(stars: object) -> None:
    (hit,) = parse_results(answer("q", 1, 1, 1, [{"name": "a/b", "star_count": stars}]))
    assert type(hit.stars) is int
    assert hit.stars == 0


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
