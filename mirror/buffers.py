"""How much of a body waits in memory for the disk: a lot for one, little for each of many."""

# What all bodies of an upstream together may ask for, or all that are pushed; and the least that one gets.
_TOTAL = 4 * 2**20
LEAST = 2**16


def share(under_way: int, most: int) -> int:
    """The read buffer, in bytes, of a body that begins while `under_way` are, itself among them; no more than `most`.

    A large one means few thread hops for a body that comes fast. It is settled when the body begins, and counts four
    times on a slow disk: a reader takes up to twice its buffer (and what one read of the socket brings, 256 KiB), and
    as much is being written meanwhile. So 200 bodies that begin one by one hold 202 MiB at the worst.
    """
    return max(LEAST, min(most, _TOTAL // max(1, under_way)))
