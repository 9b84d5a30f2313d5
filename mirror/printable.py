"""Text from elsewhere as a terminal may have it: nothing in it moves the cursor, sets a title or turns a line round."""


def printable(text: str) -> str:
    """The same text with what cannot be printed written out: ESC becomes `\\x1b`.

    That is what Unicode calls control, format (marks of direction among it), separators other than the space,
    surrogates and what it has no character for.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
