import json
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from ocispec.errors import PageInvalid
from ocispec.pagination import MAX_PAGE, Page, next_link, parse_next, parse_page
from tests.ocispec.samples import law, name_texts, tag_texts

_BASE = "https://registry.example:5000/v2/a/b/tags/list?n=2"
_ORIGIN = "https://registry.example:5000"


@pytest.mark.parametrize(
    ("n", "limit"),
    [
        *(("0", 0), ("1", 1), ("999", 999), ("1000", 1000), ("1001", MAX_PAGE), ("10000", MAX_PAGE)),
        *(("999999999", MAX_PAGE), ("000000001", 1), ("00", 0), (None, MAX_PAGE)),
    ],
)
def test_page__a_number_is_read_and_a_large_one_cut(n: str | None, limit: int) -> None:
    assert parse_page(n, None) == Page(limit, "")


@pytest.mark.parametrize(
    "n",
    [
        *("", " ", "-1", "-0", "+7", " 5 ", "5 ", " 5", "5\n", "\n5", "5\r\n", "5\0", "\t5", "1_0", "_1", "1_"),
        "1,000",
        *("1.0", "1.", ".5", "1e3", "0x10", "0b1", "0o7", "1L", "NaN", "inf", "null", "all", "n", "1;", "1&n=2", "1 1"),
        *("\u0661\u0662", "\u06f5", "\u0967", "\uff15", "\u00b2", "\u2460", "\u216f", "5\u00a0", "5\u2028", "\ufeff5"),
        *("\U0001d7d7", "\ud800", "1234567890", "0000000001", "9" * 19, "9" * 5000, "9" * 100_000, "1" + "0" * 5000),
        *("' OR 1=1", "%31", "1%00", "5\u200b", "\u0bf0", "\u4e94"),
    ],
    ids=lambda n: ascii(n)[:30],
)
def test_page__what_is_no_plain_number_is_refused(n: str) -> None:
    with pytest.raises(PageInvalid) as refused:
        parse_page(n, None)
    assert refused.value.detail == {"n": n[:20]}
    assert refused.value.status == 400


@pytest.mark.parametrize("last", ["a", "library/nginx", "no such \u00e9ntry", "%", "' OR 1=1", "\0"])
@pytest.mark.parametrize("n", [None, "5"])
def test_page__last_is_any_text_and_only_compared(n: str | None, last: str) -> None:
    assert parse_page(n, last).last == last


def test_page__without_a_query_is_the_first_and_largest() -> None:
    assert parse_page(None, None) == parse_page(None, "") == Page() == Page(MAX_PAGE, "")


@law
@given(st.none() | st.text() | st.text("0123456789 +-_\u0661", max_size=12), st.none() | st.text())
def test_page__any_text_is_a_page_or_invalid(n: str | None, last: str | None) -> None:
    plain = n is None or (0 < len(n) < 10 and set(n) <= set("0123456789"))
    if plain:
        page = parse_page(n, last)
        assert 0 <= page.limit <= MAX_PAGE
        assert page.limit == (MAX_PAGE if n is None else min(MAX_PAGE, int(n)))
        assert page.last == (last or "")
    else:
        with pytest.raises(PageInvalid):
            parse_page(n, last)


def test_next_link__names_the_last_entry_and_the_limit() -> None:
    link = next_link("/v2/a/tags/list", Page(2, ""), ["x", "y"], more=True)
    assert link == '</v2/a/tags/list?n=2&last=y>; rel="next"'


def test_next_link__a_slash_in_the_entry_is_encoded() -> None:
    link = next_link("/v2/_catalog", Page(1, ""), ["library/nginx"], more=True)
    assert link == '</v2/_catalog?n=1&last=library%2Fnginx>; rel="next"'


def test_next_link__none_at_the_end() -> None:
    assert next_link("/v2/a/tags/list", Page(2, ""), ["x", "y"], more=False) is None


def test_next_link__none_where_nothing_was_asked_for() -> None:
    assert next_link("/v2/a/tags/list", Page(0, ""), [], more=True) is None


def _follow(link: str) -> Page:
    url = parse_next(link, _BASE)
    assert url is not None
    query = parse_qs(urlsplit(url).query, strict_parsing=True)
    return parse_page(query["n"][0], query["last"][0])


@law
@given(st.integers(1, MAX_PAGE), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_next_link__is_read_back_by_parse_next_and_parse_page(limit: int, entry: str) -> None:
    link = next_link("/v2/a/b/tags/list", Page(limit, "before"), ["other", entry], more=True)
    assert link is not None
    assert link.isascii()
    assert link.isprintable()
    assert _follow(link) == Page(limit, entry)


@law
@given(st.frozensets(tag_texts | name_texts, max_size=20), st.integers(1, 7))
def test_next_link__the_pages_together_are_the_list(entries: frozenset[str], limit: int) -> None:
    ordered = sorted(entries)
    seen: list[str] = []
    page: Page | None = Page(limit)
    while page is not None:
        rest = [entry for entry in ordered if entry > page.last]
        seen += rest[: page.limit]
        link = next_link("/v2/_catalog", page, rest[: page.limit], more=len(rest) > page.limit)
        page = None if link is None else _follow(link)
    assert seen == ordered


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ('</v2/a/b/tags/list?n=2&last=x>; rel="next"', "/v2/a/b/tags/list?n=2&last=x"),
        ("</v2/x>; rel=next", "/v2/x"),
        ("</v2/x>;rel=next", "/v2/x"),
        ('</v2/x> ; rel="next"', "/v2/x"),
        ('</v2/x>; REL="NEXT"', "/v2/x"),
        ('<https://registry.example:5000/v2/x>; rel="next"', "/v2/x"),
        ('<HTTPS://registry.example:5000/v2/x>; rel="next"', "/v2/x"),
        ('<//registry.example:5000/v2/x>; rel="next"', "/v2/x"),
        ('<?n=2&last=x>; rel="next"', "/v2/a/b/tags/list?n=2&last=x"),
        ('<list?last=x>; rel="next"', "/v2/a/b/tags/list?last=x"),
        ('<../../../x>; rel="next"', "/v2/x"),
        ('</first>; rel="first", </v2/x>; rel="next"', "/v2/x"),
        ('</v2/x>; rel="next", </last>; rel="last"', "/v2/x"),
        ('</v2/x?last=a%2Fb>; rel="next"; title="more"', "/v2/x?last=a%2Fb"),
        ('</v2/x?next=https://evil.example/>; rel="next"', "/v2/x?next=https://evil.example/"),
    ],
)
def test_parse_next__the_same_origin_is_followed(link: str, expected: str) -> None:
    assert parse_next(link, _BASE) == _ORIGIN + expected


@pytest.mark.parametrize(
    "link",
    [
        # Another host, port or scheme.
        *("https://evil.example/", "https://registry.example/", "https://registry.example:5001/", "//evil.example/x"),
        *("http://registry.example:5000/", "https://registry.example:443/"),
        "https://evil.example:5000/v2/a/b/tags/list",
        *("ftp://registry.example:5000/", "file:///etc/passwd", "gopher://registry.example:5000/"),
        "javascript:alert(1)",
        *("data:,x", "unix:///var/run/docker.sock", "https://localhost/", "https://[::1]/", "https://127.0.0.1:5000/"),
        "http://169.254.169.254/latest/meta-data/",
        # Hosts that begin or end with ours.
        *("https://registry.example:5000.evil.example/", "https://evil-registry.example:5000/"),
        "//registry.example:50000/",
        *("https://registry.example.evil.example:5000/", "https://registry.example:5000@evil.example/"),
        *("https://user@registry.example:5000/", "https://user:password@registry.example:5000/"),
        "//@registry.example:5000/",
        *("https://registry.example:5000\\@evil.example/", "https://evil.example\\.registry.example:5000/"),
        *("https://evil.example#registry.example:5000/", "https://evil.example?registry.example:5000/"),
        "https://registry.ex\u0430mple:5000/",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("rel", ['rel="next"', "rel=next"])
def test_parse_next__another_origin_is_refused(link: str, rel: str) -> None:
    assert parse_next(f"<{link}>; {rel}", _BASE) is None


@pytest.mark.parametrize(
    "link",
    [
        *(None, "", "garbage", "/v2/x", '/v2/x; rel="next"', '</v2/x; rel="next"', '/v2/x>; rel="next"', "</v2/x>"),
        *("</v2/x>;", "</v2/x>; next", '</v2/x>; rel="prev"', "</v2/x>; rel=last", '</v2/x>, rel="next"', "<>", "<"),
        *('</v2/x>; rel = "next"', '</v2/x>; ref="next"', '<</v2/x>; rel="prev"', "</v2/x>; rel='next'"),
    ],
)
def test_parse_next__without_a_next_page_is_none(link: str | None) -> None:
    assert parse_next(link, _BASE) is None


@pytest.mark.parametrize("link", ["http://[", "//[::1", "https://a[b/", "https://registry.example\u2100/"], ids=ascii)
def test_parse_next__what_is_no_url_is_an_error(link: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid IPv6|NFKC"):
        parse_next(f'<{link}>; rel="next"', _BASE)


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        ">",
        "<>",
        "<>;",
        "<> ",
        "<a>; ",
        "<a>; rel=",
        '<a>; rel="',
        "<a>; rel=nex",
        ";",
        " ",
        "a",
        "<a",
        "/",
        "../",
        "\0",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("start", ["", "<", "<a>", "<a>;", "<a>; rel="])
def test_parse_next__a_long_adversarial_header_is_read_in_linear_time(start: str, piece: str) -> None:
    for link in (start + piece * 100_000, start + piece * 100_000 + ">; rel=prev"):
        assert parse_next(link, _BASE) is None


def test_parse_next__a_long_address_is_read_in_linear_time() -> None:
    for path in ("/" * 100_000, "../" * 50_000, "a" * 100_000, "%2e/" * 50_000, "?" * 100_000):
        url = parse_next(f"<{path}>; rel=next", _BASE)
        assert url is None or url.startswith(_ORIGIN)


_addresses = st.text("/\\.:@?#%[]hHtps \t\n\u2100evil", max_size=20) | st.text(max_size=20)
_bases = st.sampled_from(
    ["", "https:", "https://", "//", _ORIGIN, "//registry.example:5000", "HTTPS://REGISTRY.EXAMPLE"]
)


@law
@given(st.builds("<{}{}>; rel=next".format, _bases, _addresses) | st.text() | st.text('<>;="relnxt /', max_size=20))
def test_parse_next__any_text_stays_at_the_origin_or_is_none_or_no_url(link: str) -> None:
    try:
        url = parse_next(link, _BASE)
    except ValueError:
        return
    if url is not None:
        parts = urlsplit(url)
        assert (parts.scheme, parts.netloc) == ("https", "registry.example:5000")


@law
@given(_bases, _addresses)
def test_parse_next__the_parser_of_the_client_sees_the_same_origin(start: str, address: str) -> None:
    try:
        url = parse_next(f"<{start}{address}>; rel=next", _BASE)
    except ValueError:
        return
    if url is not None:
        assert URL(url, encoded=True).origin() == URL(_ORIGIN)


def test_page__a_refused_number_is_safe_to_send_back() -> None:
    with pytest.raises(PageInvalid) as refused:
        parse_page("\ud800<script>", None)
    assert json.loads(refused.value.envelope())["errors"][0]["detail"] == {"n": "\ud800<script>"}
