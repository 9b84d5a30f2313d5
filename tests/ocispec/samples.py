"""What the tests of the words have in common: spellings that are no word at all, and texts that nearly are one."""

from hypothesis import settings
from hypothesis import strategies as st

# No deadline: a busy machine is not a bug. pytest's own timeout ends what hangs.
law = settings(deadline=None, max_examples=100)

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8

# Neither a repository name, nor a tag, nor a digest. Escapes stand where an editor would hide the character.
HOSTILE = (
    # Nothing, and ways out of a directory.
    *("", ".", "..", "...", "/", "//", "./", "../", "/..", "/../", "../..", "../../etc/passwd", "/etc/passwd"),
    *("a/..", "a/.", "a/./b", "a/../b", "a/../../b", "../a", "./a", "a//b", "/a", "a/", "a/b/", ".a/b", "a/.b", "~/a"),
    *("..;/a", "....//a", "../" * 5000, "..\\", "..\\..\\a", "a\\b", "\\\\host\\share", "C:\\a", "C:/a"),
    # The same, encoded once, twice, and wrongly: whoever decodes has done so before us.
    *("%2e%2e", "%2E%2E%2F", "%2e%2e/a", "..%2fa", "a%2F..%2Fb", "%2F", "%252F", "%252e%252e%252f", "%c0%ae%c0%ae"),
    *("%5c", "..%5ca", "%00", "a%00", "%0a", "a%0d%0a", "%", "%2", "%zz", "%u002e"),
    # Zero bytes, line ends, blanks and control characters: at the end of a word above all.
    *("\0", "a\0", "\0a", "a\0b", "a\n", "\na", "a\nb", "a\r", "a\r\n", "a\r\nSet-Cookie: b", "a\t", "\ta", "a\x0b"),
    *("a\x0c", " ", " a", "a ", "a b", "a\x1b[2J", "a\x07", "a\x7f", "a\x85", "a\u00a0", "a\u2028", "a\u2029"),
    # What looks like ASCII, folds to it, or is counted among the digits and letters by Unicode.
    *("\u0661\u0662", "\u06f1", "\u0966", "\uff11", "\u00b2", "\u2460", "\uff0e\uff0e", "\u2024\u2024", "\u2025"),
    *("a\uff0fb", "a\u2215b", "a\u2044b", "\uff41", "\u0430", "\u00e9", "e\u0301", "\u0131", "\u212a", "\u017f"),
    "\u00df",
    *("\ufb01", "\ufeffa", "a\ufeff", "a\u200b", "a\u200d", "a\u202eb", "\ud800", "a\udc80", "\U0001f600"),
    "\U00010400",
    # What a URL, a shell, a query or a page would make something of.
    *("a?b", "a#b", "a;b", "a&b", "a=b", "a+b", "a,b", "a*", "a|b", "a@b", "a:b", ":", ":a", "a:", "http://a/b"),
    *("//a/b", "file:///etc/passwd", "~", "~root", "$HOME", "$(id)", "`id`", "'", '"', "a' OR '1'='1", "a'--", "!a"),
    *("(a)", "{a}", "[a]", "<a>", "<script>", "{{a}}", "-", "-a", "--a", ".a", ".git", "a^"),
    # Too long for any of them.
    *("a" * 256, "A" * 300, "0" * 100_000, "a/" * 5000 + "a", "a" * 300 + "/a", "a" * 100_000 + "!"),
)

# Inside the limits of length, on which a careless expression would spend for ever.
SLOW = (
    *("a" * 254 + "!", "a_" * 127, "a-" * 127, "a." * 127, "a" + "_" * 254, "a" + "-" * 254, "a" + "-" * 253 + "!"),
    *("a/" * 127 + "!", "a--" * 84 + "!", "a__a" * 63 + "_!", "0" * 127 + "!", "." * 128),
)


def named(values: tuple[str, ...]) -> list[str]:
    """Identifiers that a terminal can show."""
    return [f"{number}-{ascii(value)[1:25]}" for number, value in enumerate(values)]


def near(words: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A word with one character put in, taken out or changed; often still a word, often not."""

    def change(word: str, at: int, character: str, taken: int) -> str:
        at %= len(word) + 1
        return word[:at] + character + word[at + taken :]

    odd = st.sampled_from(["", *"./:_-%\\\0\n\r\t @+aAgG09", "..", "//", "\u0661", "\uff0e", "\u212a", "\ud800"])
    return st.builds(change, words, st.integers(0, 300), odd | st.characters(), st.integers(0, 2))


_ALNUM = st.text("abcxyz0189", min_size=1, max_size=6)
_SEPARATOR = st.sampled_from([".", "_", "__", "-", "--", "---"])
_COMPONENT = st.builds(
    lambda head, tail: head + "".join(separator + word for separator, word in tail),
    _ALNUM,
    st.lists(st.tuples(_SEPARATOR, _ALNUM), max_size=3),
)
name_texts = st.lists(_COMPONENT, min_size=1, max_size=4).map("/".join)
tag_texts = st.builds(
    lambda first, rest: first + rest,
    st.sampled_from("abzABZ019_"),
    st.text("abzABZ019_.-", max_size=127),
)
digest_texts = st.one_of(
    st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__),
    st.text("0123456789abcdef", min_size=128, max_size=128).map("sha512:".__add__),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
