import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocispec.challenge import Challenge, parse_challenges
from tests.ocispec.samples import law

_HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"'
_HUB_READ = Challenge(
    "bearer",
    {
        "realm": "https://auth.docker.io/token",
        "service": "registry.docker.io",
        "scope": "repository:library/nginx:pull",
    },
)

READ = {
    "docker hub": (_HUB, [_HUB_READ]),
    "blanks around commas and equals signs": (
        'Bearer  realm = "https://a/t" , service\t=\t"s"  ,scope="x"',
        [Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "x"})],
    ),
    "case of scheme and names": (
        'BEARER Realm="https://A/T",SERVICE="S"',
        [Challenge("bearer", {"realm": "https://A/T", "service": "S"})],
    ),
    "a comma in quotes": (
        'Bearer realm="https://a/t",scope="repository:a:pull,push"',
        [Challenge("bearer", {"realm": "https://a/t", "scope": "repository:a:pull,push"})],
    ),
    "what looks like a parameter in quotes": (
        "Bearer realm=\"a, realm='b', Basic x=y\"",
        [Challenge("bearer", {"realm": "a, realm='b', Basic x=y"})],
    ),
    "escapes": (r'Bearer realm="a\"b\\c\d"', [Challenge("bearer", {"realm": r'a"b\cd'})]),
    "an escaped quote does not end the value": (
        r'Bearer realm="a\", service=\"b",scope="c"',
        [Challenge("bearer", {"realm": 'a", service="b', "scope": "c"})],
    ),
    "values without quotes": ("Bearer service=s,scope=a.b", [Challenge("bearer", {"service": "s", "scope": "a.b"})]),
    "an empty value": ('Bearer realm="",service=""', [Challenge("bearer", {"realm": "", "service": ""})]),
    "no parameters": ("Negotiate", [Challenge("negotiate")]),
    "a parameter without a comma before it": (
        'Bearer realm="a" service="b"',
        [Challenge("bearer", {"realm": "a", "service": "b"})],
    ),
    "unknown parameters": (
        'Bearer realm="a",error="invalid_token",x=1',
        [Challenge("bearer", {"realm": "a", "error": "invalid_token", "x": "1"})],
    ),
    "a name given twice: the first value": (
        'Bearer realm="https://good/t",realm="https://evil/t",REALM=evil',
        [Challenge("bearer", {"realm": "https://good/t"})],
    ),
    "two in one line": (
        'Basic realm="a b", Bearer realm="https://a/t",service="s"',
        [Challenge("basic", {"realm": "a b"}), Challenge("bearer", {"realm": "https://a/t", "service": "s"})],
    ),
    "three in one line, one of them bare": (
        'Negotiate, Basic realm="a", Digest realm="b", nonce="c,d"',
        [
            Challenge("negotiate"),
            Challenge("basic", {"realm": "a"}),
            Challenge("digest", {"realm": "b", "nonce": "c,d"}),
        ],
    ),
    "the same scheme twice": (
        'Bearer realm="a", Bearer realm="b"',
        [Challenge("bearer", {"realm": "a"}), Challenge("bearer", {"realm": "b"})],
    ),
    "empty list elements": (
        ',, Basic realm="a",, ,Bearer realm="b",',
        [Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b"})],
    ),
    "blanks at both ends": ('  Bearer realm="a"  ', [Challenge("bearer", {"realm": "a"})]),
    "beyond ASCII, in quotes": ('Bearer realm="\u00e9\udcff"', [Challenge("bearer", {"realm": "\u00e9\udcff"})]),
    "the rest of a line that cannot be read is left": (
        'Basic realm="a", Bearer realm="unfinished',
        [Challenge("basic", {"realm": "a"}), Challenge("bearer")],
    ),
    "a credential in place of parameters ends the line": ("Negotiate YWJj==, Basic realm=a", [Challenge("negotiate")]),
}

GARBAGE = (
    *("", " ", ",", ",,,", "=", "==", '"', '""', "\\", '"Bearer realm=a"', 'realm="a"', "realm=a", "realm = a, b = c"),
    *("/", "(", "<html>", "{}", "\0", "\u00e9", "\u0391", "\u212a", "\udcff", "=a", '="a"', "@", ": Bearer"),
    "[Bearer]",
)


@pytest.mark.parametrize(("header", "expected"), READ.values(), ids=READ)
def test_challenge__one_line(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges([header]) == expected


@pytest.mark.parametrize("header", GARBAGE, ids=ascii)
def test_challenge__garbage_holds_none(header: str) -> None:
    assert parse_challenges([header]) == []


def test_challenge__no_header_no_challenge() -> None:
    assert parse_challenges([]) == []


def test_challenge__several_lines_keep_their_order() -> None:
    lines = ['Basic realm="a"', _HUB, 'Bearer realm="b", Negotiate']
    assert parse_challenges(lines) == [
        Challenge("basic", {"realm": "a"}),
        _HUB_READ,
        Challenge("bearer", {"realm": "b"}),
        Challenge("negotiate"),
    ]


def test_challenge__a_line_of_garbage_does_not_hide_the_next() -> None:
    assert parse_challenges(["\0\0", 'x="', "", _HUB]) == [_HUB_READ]


def test_challenge__a_parameter_never_crosses_a_line() -> None:
    first, second = parse_challenges(['Bearer realm="a",', 'service="b"', "Bearer service=c"])
    assert (first.realm, first.service) == ("a", "")
    assert (second.realm, second.service) == ("", "c")


def test_challenge__only_the_beginning_of_an_endless_line_is_read() -> None:
    filler = "x=1," * 2048
    assert len(filler) == 8192
    assert parse_challenges([f'Bearer {filler}realm="a"'])[0] == Challenge("bearer", {"x": "1"})
    assert parse_challenges([" " * 8192 + _HUB]) == []
    assert parse_challenges([" " * (8192 - len(_HUB)) + _HUB]) == [_HUB_READ]


def test_challenge__only_the_first_eight_lines_are_read() -> None:
    lines = ["Basic realm=a"] * 7
    assert parse_challenges([*lines, _HUB])[-1] == _HUB_READ
    assert parse_challenges([*lines, "Basic realm=a", _HUB]) == [Challenge("basic", {"realm": "a"})] * 8


def test_challenge__what_is_not_given_is_empty() -> None:
    (challenge,) = parse_challenges(["Bearer x=y"])
    assert (challenge.realm, challenge.service, challenge.scope) == ("", "", "")


@pytest.mark.parametrize(
    "piece",
    [
        *("a", " ", ",", ", ", "a,", "a ", "a=", "a = ", "a=b", "a=b,", 'a="', 'a="",', '"', "\\", '\\"', 'a="\\'),
        "a  ,",
        *("Bearer ", 'Bearer realm="a",', "\t", "\n", ", ,\t,", "=", "a=b ", 'a="\\"', "\u00e9", "\0", "'"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("start", ["", "Bearer ", 'Bearer realm="', "Bearer realm", "Bearer realm="], ids=ascii)
def test_challenge__a_long_adversarial_line_is_read_in_linear_time(start: str, piece: str) -> None:
    lines = [start + piece * 100_000, start + piece * 8000 + "\0", start + piece * 8000 + '"']
    for challenge in parse_challenges(lines):
        assert challenge.scheme


@law
@given(st.lists(st.text(' \t,="\\abBZ/:\n\0\u00e9', max_size=40) | st.text(), max_size=4))
def test_challenge__any_text_can_be_read(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        assert challenge.scheme
        assert challenge.scheme == challenge.scheme.lower()
        assert challenge.scheme.isascii()
        for name in challenge.parameters:
            assert name == name.lower()
            assert name.isascii()


_words = st.text("abz019!#$%&'*+.^_`|~-", min_size=1, max_size=8)
_values = st.text(st.characters(codec=None, exclude_characters="\n"), max_size=20)
_challenges = st.builds(Challenge, _words, st.dictionaries(_words, _values, max_size=4))


def _written(challenge: Challenge, separator: str) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"{challenge.scheme} " + separator.join(f"{name}={quoted(v)}" for name, v in challenge.parameters.items())


@law
@given(st.lists(_challenges, max_size=4), st.sampled_from([",", ", ", " , ", ",, ", "\t,"]))
def test_challenge__what_is_written_by_the_rules_is_read_back(challenges: list[Challenge], separator: str) -> None:
    lines = [_written(challenge, separator) for challenge in challenges]
    assert parse_challenges(lines) == challenges
    assert parse_challenges([separator.join(lines)]) == challenges
