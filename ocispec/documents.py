"""How much there is of a stranger's JSON, before any of it is read."""


def count_parts(body: bytes) -> int:
    """Objects, lists and members, in all no fewer than there are: those inside of strings count, too.

    Nothing else runs while Python's own parser does, and a million of them keep it busy for half a second.
    """
    return sum(map(body.count, (b",", b"[", b"{")))
