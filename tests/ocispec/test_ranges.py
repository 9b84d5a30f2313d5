from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.errors import RangeNotSatisfiable, RequestInvalid
from ocispec.ranges import (
    ByteRange,
    ContentRange,
    parse_chunk_range,
    parse_content_range,
    parse_ranges,
    resolve_ranges,
)
from tests.ocispec.samples import law

_NINES = "9" * 19

UNDERSTOOD = [
    ("bytes=0-", ByteRange(0)),
    ("bytes=0-0", ByteRange(0, 0)),
    ("bytes=5-9", ByteRange(5, 9)),
    ("bytes=-5", ByteRange(suffix=5)),
    ("bytes=-0", ByteRange(suffix=0)),
    ("bytes=007-010", ByteRange(7, 10)),
    ("bytes=9-5", ByteRange(9, 5)),
    ("Bytes=1-2", ByteRange(1, 2)),
    ("BYTES=1-2", ByteRange(1, 2)),
    (" bytes = 1-2 ", ByteRange(1, 2)),
    (f"bytes=0-{_NINES}", ByteRange(0, int(_NINES))),
    (f"bytes={_NINES}-", ByteRange(int(_NINES))),
    (f"bytes=-{_NINES}", ByteRange(suffix=int(_NINES))),
]

SEVERAL = [
    ("bytes=0-1,2-3", [ByteRange(0, 1), ByteRange(2, 3)]),
    ("bytes=5-9, 0-1", [ByteRange(5, 9), ByteRange(0, 1)]),
    ("bytes= 0-1 ,\t2-3 ", [ByteRange(0, 1), ByteRange(2, 3)]),
    ("bytes=0-,-1", [ByteRange(0), ByteRange(suffix=1)]),
    ("bytes=0-0,9-5,-0", [ByteRange(0, 0), ByteRange(9, 5), ByteRange(suffix=0)]),
    ("bytes=" + ",".join(["0-1"] * 1024), [ByteRange(0, 1)] * 1024),
]

IGNORED = [
    *(None, "", "bytes", "bytes=", "bytes=-", "=0-1", "0-1", "bytes 0-1", "bytes:0-1", "bytes=a-b", "bytes=0x0-0x1"),
    *("bytes=0", "bytes=0-1-2", "bytes=--1", "bytes=1--2", "bytes==0-1", "bytes=0-1;", "bytes=0-1/2", "bytes=0-*"),
    # One that cannot be understood spoils all.
    *(
        "bytes=0-1,",
        "bytes=,0-1",
        "bytes=0-1,,2-3",
        "bytes=0-1,a",
        "bytes=0-1;2-3",
        "bytes=0-1,bytes=2-3",
        "bytes=0-,-",
    ),
    # More than anybody needs.
    "bytes=" + ",".join(["0-1"] * 1025),
    # Other units.
    *("items=0-1", "octets=0-1", "byte=0-1", "bytess=0-1", "bytes\u00e9=0-1", "none=0-1"),
    # int() reads these; nobody else does.
    *("bytes=+0-1", "bytes=0-+1", "bytes=1_0-2_0", "bytes=0 -1", "bytes=0- 1", "bytes=\u0661-\u0662", "bytes=-\u0665"),
    *("bytes=\u00b2-", "bytes=\uff11-", "bytes=1.0-2.0", "bytes=1e1-", "bytes=0-1\0", "bytes=0-\n1"),
    # More digits than an offset can have, and more than int() takes.
    *(f"bytes=0-1{_NINES}", f"bytes=1{_NINES}-", f"bytes=-1{_NINES}", f"bytes={'9' * 5000}-", f"bytes=-{'1' * 5000}"),
    *("bytes=" + "0" * 100_000 + "-", "bytes=" + "-" * 100_000, "bytes" + "=" * 100_000, "bytes=" + "0-1," * 25_000),
]


@pytest.mark.parametrize(("header", "expected"), UNDERSTOOD)
def test_range__is_understood(header: str, expected: ByteRange) -> None:
    assert parse_ranges(header) == (expected,)


@pytest.mark.parametrize(("header", "expected"), SEVERAL, ids=lambda value: ascii(value)[:40])
def test_range__several_are_understood_in_their_order(header: str, expected: list[ByteRange]) -> None:
    assert parse_ranges(header) == tuple(expected)


@pytest.mark.parametrize("header", IGNORED, ids=lambda header: ascii(header)[:40])
def test_range__what_cannot_be_understood_is_ignored(header: str | None) -> None:
    assert parse_ranges(header) == ()


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-", 10, ContentRange(0, 9, 10)),
        ("bytes=0-0", 10, ContentRange(0, 0, 10)),
        ("bytes=0-0", 1, ContentRange(0, 0, 1)),
        ("bytes=3-5", 10, ContentRange(3, 5, 10)),
        ("bytes=9-", 10, ContentRange(9, 9, 10)),
        ("bytes=9-9", 10, ContentRange(9, 9, 10)),
        ("bytes=0-9", 10, ContentRange(0, 9, 10)),
        ("bytes=0-10", 10, ContentRange(0, 9, 10)),
        (f"bytes=0-{_NINES}", 10, ContentRange(0, 9, 10)),
        ("bytes=-1", 10, ContentRange(9, 9, 10)),
        ("bytes=-10", 10, ContentRange(0, 9, 10)),
        ("bytes=-11", 10, ContentRange(0, 9, 10)),
        (f"bytes=-{_NINES}", 10, ContentRange(0, 9, 10)),
    ],
)
def test_range__resolves_to_a_part_of_the_blob(header: str, size: int, expected: ContentRange) -> None:
    (asked,) = parse_ranges(header)
    assert asked.resolve(size) == expected


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=10-", 10),
        ("bytes=10-10", 10),
        ("bytes=11-20", 10),
        (f"bytes={_NINES}-", 10),
        ("bytes=-0", 10),
        ("bytes=5-3", 10),
        ("bytes=20-3", 10),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-1", 0),
        ("bytes=-0", 0),
    ],
)
def test_range__outside_the_blob_is_416_and_tells_the_size(header: str, size: int) -> None:
    (asked,) = parse_ranges(header)
    with pytest.raises(RangeNotSatisfiable) as refused:
        asked.resolve(size)
    assert refused.value.headers == {"Content-Range": f"bytes */{size}"}
    assert refused.value.status == 416


_numbers = st.integers(0, 30) | st.integers(0, 10**19 - 1)
_optional = st.none() | _numbers


@law
@given(first=_optional, last=_optional, suffix=_optional, size=_numbers)
def test_range__a_resolved_one_is_never_empty_and_never_past_the_end(
    first: int | None, last: int | None, suffix: int | None, size: int
) -> None:
    try:
        found = ByteRange(first, last, suffix).resolve(size)
    except RangeNotSatisfiable:
        return
    assert 0 <= found.first <= found.last < found.size == size
    assert 0 < found.length <= size


@law
@given(first=st.integers(0, 20), last=st.none() | st.integers(0, 20), data=st.binary(max_size=16))
def test_range__from_the_start_is_what_slicing_gives(first: int, last: int | None, data: bytes) -> None:
    expected = data[first : None if last is None else last + 1]
    (asked,) = parse_ranges(f"bytes={first}-{'' if last is None else last}")
    try:
        found = asked.resolve(len(data))
    except RangeNotSatisfiable:
        assert expected == b""
        return
    assert data[found.first : found.last + 1] == expected
    assert found.length == len(expected)


@law
@given(suffix=st.integers(0, 20), data=st.binary(max_size=16))
def test_range__from_the_end_is_what_slicing_gives(suffix: int, data: bytes) -> None:
    expected = data[max(0, len(data) - suffix) :]
    (asked,) = parse_ranges(f"bytes=-{suffix}")
    try:
        found = asked.resolve(len(data))
    except RangeNotSatisfiable:
        assert expected == b""
        return
    assert data[found.first : found.last + 1] == expected


_header_texts = st.one_of(
    st.text("bytes=-0129, \u0661/*", max_size=20).map("bytes=".__add__),
    st.text("bytes=-0129, \u0661/*", max_size=20).map("bytes ".__add__),
    st.text(),
)


@law
@given(header=_header_texts, size=_numbers)
def test_range__any_text_is_ignored_or_resolved_or_416(header: str, size: int) -> None:
    ranges = parse_ranges(header)
    for asked in ranges:
        assert (asked.first is None) != (asked.suffix is None)
    with suppress(RangeNotSatisfiable):
        assert all(part.last < size for part in resolve_ranges(ranges, size))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-1,5-9", [(0, 1), (5, 9)]),
        ("bytes=5-9,0-1", [(5, 9), (0, 1)]),  # in the order asked
        ("bytes=0-1,2-3", [(0, 1), (2, 3)]),  # side by side, and not put together: podman counts them
        ("bytes=0-0,-1", [(0, 0), (9, 9)]),
        ("bytes=0-0,10-20,-1", [(0, 0), (9, 9)]),
        ("bytes=10-,9-5,3-4", [(3, 4)]),
        ("bytes=0-4,4-5", []),
        ("bytes=4-5,0-4", []),
        ("bytes=0-9,-1", []),
        ("bytes=1-1,2-2,1-1", []),
        ("bytes=0-9,10-", [(0, 9)]),
        ("", []),
    ],
)
def test_ranges__become_parts_or_the_whole(header: str, expected: list[tuple[int, int]]) -> None:
    assert resolve_ranges(parse_ranges(header), 10) == tuple(ContentRange(*part, 10) for part in expected)


def test_ranges__all_of_them_outside_is_416() -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        resolve_ranges(parse_ranges("bytes=10-,-0,20-30"), 10)
    assert refused.value.headers == {"Content-Range": "bytes */10"}


_small = st.integers(0, 20)
_asked = st.one_of(
    st.builds(ByteRange, first=_small, last=st.none() | _small),
    st.builds(ByteRange, suffix=_small),
)


def _written(asked: ByteRange) -> str:
    """As a client writes it."""
    if asked.suffix is not None:
        return f"-{asked.suffix}"
    return f"{asked.first}-{'' if asked.last is None else asked.last}"


@law
@given(ranges=st.lists(_asked, min_size=1, max_size=6), comma=st.sampled_from([",", ", ", " ,", "\t,\t"]))
def test_ranges__parse_is_the_inverse_of_writing(ranges: list[ByteRange], comma: str) -> None:
    assert parse_ranges("bytes=" + comma.join(map(_written, ranges))) == tuple(ranges)


@law
@given(ranges=st.lists(_asked, min_size=1, max_size=6), size=st.integers(0, 16))
def test_ranges__are_what_each_means_unless_a_byte_is_asked_for_twice(ranges: list[ByteRange], size: int) -> None:
    meant = []
    for asked in ranges:
        with suppress(RangeNotSatisfiable):
            meant.append(asked.resolve(size))
    if not meant:
        with pytest.raises(RangeNotSatisfiable):
            resolve_ranges(ranges, size)
        return
    positions = [position for part in meant for position in range(part.first, part.last + 1)]
    twice = len(positions) != len(set(positions))
    assert resolve_ranges(ranges, size) == (() if twice else tuple(meant))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0-0", (0, 0)),
        ("0-1023", (0, 1023)),
        ("1024-2047", (1024, 2047)),
        (" 5-9 ", (5, 9)),
        ("005-009", (5, 9)),
        ("bytes 0-9", (0, 9)),
        ("bytes=0-9", (0, 9)),
        ("bytes 0-9/10", (0, 9)),
        ("bytes 0-9/*", (0, 9)),
        (f"{_NINES}-{_NINES}", (int(_NINES), int(_NINES))),
    ],
)
def test_chunk_range__is_read(header: str, expected: tuple[int, int]) -> None:
    assert parse_chunk_range(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        *("", "-", "0", "0-", "-9", "9-0", "1-0", "a-b", "0-9-9", "--", "0--9", "0- 9", "0 -9", "0-9,10-19"),
        *("bytes", "bytes 0", "bytes  0-9", "bytes:0-9", "bytes-0-9", "bytes 0-9/", "bytes 0-9/x", "bytes */10"),
        *("items 0-9", "bytes 9-0/10", "+0-9", "0-+9", "0-1_0", "\u0661-\u0662", "0-\u00b2", "0-9\0", "0-9\n1"),
        *(f"0-1{_NINES}", "0-" + "9" * 5000, "9" * 100_000, "9" * 100_000 + "-", "-" * 100_000, "0-0/" + "0" * 100_000),
    ],
    ids=lambda header: ascii(header)[:40],
)
def test_chunk_range__what_is_none_is_refused(header: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        parse_chunk_range(header)
    assert refused.value.detail == {"content-range": header[:100]}


@law
@given(_header_texts | st.text("0129-/* ", max_size=12))
def test_chunk_range__any_text_is_read_or_invalid(header: str) -> None:
    try:
        first, last = parse_chunk_range(header)
    except RequestInvalid:
        return
    assert 0 <= first <= last < 10**19


@law
@given(first=st.integers(0, 10**18), length=st.integers(1, 10**18))
def test_chunk_range__all_four_forms_of_a_chunk_are_read(first: int, length: int) -> None:
    last = first + length - 1
    for form in (
        f"{first}-{last}",
        f"bytes {first}-{last}/{last + 1}",
        f"bytes {first}-{last}/*",
        f"bytes={first}-{last}",
    ):
        assert parse_chunk_range(form) == (first, last)


@law
@given(st.integers(1, 10**19 - 1).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))), st.data())
def test_content_range__parse_is_the_inverse_of_str(part: tuple[int, int], data: st.DataObject) -> None:
    first, size = part
    written = ContentRange(first, data.draw(st.integers(first, size - 1)), size)
    assert parse_content_range(str(written)) == written


@pytest.mark.parametrize(
    "header",
    [
        *("", "bytes", "bytes 0-9", "bytes 0-9/*", "bytes */10", "bytes */*", "0-9/10", "bytes=0-9/10"),
        "bytes: 0-9/10",
        # What contradicts itself: past the end, backwards, of nothing.
        *("bytes 0-10/10", "bytes 10-10/10", "bytes 9-5/10", "bytes 0-0/0", "bytes 5-9/3"),
        *("bytes 0-9/10,", "bytes 0-9/10/11", "bytes  0-9/10", "bytes 0 - 9/10", "bytes 0-9 / 10", "items 0-9/10"),
        *("bytes -1-9/10", "bytes +0-9/10", "bytes 0-9/1_0", "bytes \u0660-\u0669/10", "bytes 0-9/10\0"),
        "bytes 0-9/\n10",
        *("bytes 0-9/1" + _NINES, "bytes 0-0/" + "9" * 5000, "bytes " + "0" * 100_000, "bytes 0-0/" + "1" * 100_000),
    ],
    ids=lambda header: ascii(header)[:40],
)
def test_content_range__what_names_no_part_is_none(header: str) -> None:
    assert parse_content_range(header) is None


@law
@given(_header_texts | st.from_regex(r"\Abytes [0-9]{1,2}-[0-9]{1,2}/[0-9]{1,2}\Z"))
def test_content_range__any_text_is_a_part_of_something_or_none(header: str) -> None:
    found = parse_content_range(header)
    if found is not None:
        assert 0 <= found.first <= found.last < found.size
        assert found.length == len(range(found.first, found.last + 1))


def test_content_range__length_counts_both_ends() -> None:
    assert ContentRange(0, 0, 1).length == 1
    assert ContentRange(5, 9, 10).length == 5
    assert str(ContentRange(5, 9, 10)) == "bytes 5-9/10"
