"""How long a tag's answer is good for. Pure. (A digest's answer is good for ever.)"""


def is_fresh(checked_at: float | None, now: float, ttl: float) -> bool:
    """Whether what was confirmed at `checked_at` may be served without asking; None (a pushed tag) always may.

    A confirmation from the future, after a clock was set back, counts by its distance all the same: it must not stay
    fresh for as long as the clock was wrong.
    """
    return checked_at is None or abs(now - checked_at) < ttl
