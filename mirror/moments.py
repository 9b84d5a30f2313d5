"""Times of day as they are shown: in UTC, to the second."""

from datetime import UTC, datetime


def moment(seconds: float) -> str:
    """Seconds since 1970 → `2023-11-14T22:13:20Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
