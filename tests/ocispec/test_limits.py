from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.limits import Budget, parse_budget, parse_retry_after
from tests.ocispec.samples import law

_NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(("0", 0.0), ("1", 1.0), ("120", 120.0), (" 120 ", 120.0), ("007", 7.0), ("999999999", 999999999.0)),
        ("Thu, 01 Jan 2026 12:02:00 GMT", 120.0),
        ("Thu, 01 Jan 2026 12:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 13:00:00 +0100", 0.0),
        ("Thu, 01 Jan 2026 13:00:30 +0100", 30.0),
        # RFC 5322: -0000 says nothing of the zone; HTTP has one zone only.
        ("Thu, 01 Jan 2026 12:01:00 -0000", 60.0),
        ("Thu, 01 Jan 2026 12:01:00", 60.0),
        # The two obsolete forms of RFC 9110.
        ("Thursday, 01-Jan-26 12:02:00 GMT", 120.0),
        ("Thu Jan  1 12:02:00 2026", 120.0),
        # The past is now.
        ("Thu, 01 Jan 2026 11:59:59 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 11:00:00", 0.0),
    ],
)
def test_retry_after__a_number_or_a_date(header: str, seconds: float) -> None:
    assert parse_retry_after(header, _NOW) == seconds


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", " ", "-1", "+7", "1.5", "1_0", "1e3", "\u0661\u0662", "\u00b2", "\uff15", "0x10", "soon", "120s"),
        "5 5",
        *("1234567890", "9" * 19, "9" * 5000, "9" * 100_000, "5\n5", "\0", "5\0", "\ud800", "NaN", "inf", "Infinity"),
        *("GMT", "Thu", "Thu,", "Thu, ", ", , ,", ":::", "01 Jan", "Thu, 99 Foo 2026", "Thu, 32 Jan 2026 00:00:00 GMT"),
        *("Thu, 01 Jan 2026 25:00:00 GMT", "Thu, 01 Jan 2026 00:61:00 GMT", "Thu, 01 Jan 2026 00:00:00 +9999"),
        # Numbers that no date can hold: they are an OverflowError deep inside.
        *("Thu, 01 Jan 99999999999999999999 00:00:00 GMT", "Thu, 01 Jan 2026 99999999999999999999:00:00 GMT"),
        *("Thu, 99999999999999999999 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:00 +99999999999999999999"),
        *(f"Thu, 01 Jan {'9' * 5000} 00:00:00 GMT", "Thu, 01 Jan 10000 00:00:00 GMT"),
        *("(" * 100_000, "," * 100_000, "Thu " * 25_000, "1:" * 50_000, "- " * 50_000),
    ],
    ids=lambda header: ascii(header)[:50],
)
def test_retry_after__what_says_nothing_is_none(header: str | None) -> None:
    assert parse_retry_after(header, _NOW) is None


# Bounds of local time, as st.datetimes wants them.
_EARLY = datetime(1970, 1, 2)  # noqa: DTZ001
_LATE = datetime(9000, 1, 1)  # noqa: DTZ001
_zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@law
@given(st.datetimes(min_value=_EARLY, max_value=_LATE, timezones=_zones))
def test_retry_after__a_written_date_is_read_back(when: datetime) -> None:
    when = when.replace(microsecond=0)
    assert parse_retry_after(format_datetime(when), _NOW) == max(0.0, (when - _NOW).total_seconds())


@law
@given(st.integers(0, 999_999_999))
def test_retry_after__seconds_do_not_depend_on_the_clock(seconds: int) -> None:
    assert parse_retry_after(str(seconds), _NOW) == parse_retry_after(str(seconds), datetime.max.replace(tzinfo=UTC))
    assert parse_retry_after(str(seconds), _NOW) == seconds


_words = [
    "Thu,",
    "01",
    "99",
    "Jan",
    "jan",
    "2026",
    "0",
    "9" * 20,
    "12:00:00",
    "1:1",
    "::",
    "GMT",
    "+0100",
    "-9999",
    "-",
    "PM",
    "(",
]


@law
@given(st.text() | st.lists(st.sampled_from(_words), max_size=8).map(" ".join))
def test_retry_after__any_text_is_a_wait_or_nothing(header: str) -> None:
    wait = parse_retry_after(header, _NOW)
    assert wait is None or 0 <= wait < float("inf")


@pytest.mark.parametrize(
    ("remaining", "limit", "budget"),
    [
        ("76;w=21600", "100;w=21600", Budget(76, 100, 21600, "192.0.2.1")),
        ("0", "200", Budget(0, 200, 0, "192.0.2.1")),
        (" 5 ; w=60", "10;w=60", Budget(5, 10, 60, "192.0.2.1")),
        ("", "100;w=21600", None),
        ("76;w=21600", "", None),
        ("-1", "100", None),
        ("1e3", "100", None),
        ("9" * 10, "100", None),
        ("76;w=", "100", None),
    ],
)
def test_budget(remaining: str, limit: str, budget: Budget | None) -> None:
    headers = {"ratelimit-remaining": remaining, "ratelimit-limit": limit, "docker-ratelimit-source": "192.0.2.1"}
    assert parse_budget(headers) == budget


@given(
    st.dictionaries(st.sampled_from(["ratelimit-remaining", "ratelimit-limit", "docker-ratelimit-source"]), st.text())
)
def test_budget__of_anything(headers: dict[str, str]) -> None:
    budget = parse_budget(headers)
    assert budget is None or (budget.remaining >= 0 and budget.limit >= 0 and len(budget.source) <= 64)
