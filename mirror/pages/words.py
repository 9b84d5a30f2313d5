"""Figures, times and digests as people read them. Pure."""

from datetime import UTC, datetime
from urllib.parse import quote

from markupsafe import Markup

from ocispec.descriptor import Descriptor
from ocispec.digest import Digest
from storage.repository import Repository

_UNITS = ("kB", "MB", "GB", "TB", "PB")
_AGES = ((365 * 86400, "year"), (30 * 86400, "month"), (86400, "day"), (3600, "hour"), (60, "minute"))
_NOP = "/bin/sh -c #(nop)"


def size(count: float) -> str:
    """`12.3 MB`, in thousands as clients count them."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in _UNITS:
        count /= 1000
        if count < 999.5:
            return f"{count:.3g} {unit}"
    return f"{count:.0f} {_UNITS[-1]}"


def count(number: int) -> str:
    return f"{number:,}".replace(",", "\u202f")  # a narrow space that does not break


def percent(share: float) -> str:
    """Never rounded up to all of it."""
    return f"{min(share * 100, 99.9) if share < 1 else 100:.3g} %"


def span(seconds: float) -> str:
    """`5 minutes`, of the largest unit that there is one of."""
    for length, name in _AGES:
        if seconds >= length:
            return _number(int(seconds // length), name)
    return _number(max(0, round(seconds)), "second")


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def ago(moment: float, now: float) -> str:
    """`3 hours ago`; a moment to come, by a clock that was set back, is now."""
    passed = now - moment
    return f"{span(passed)} ago" if passed >= _AGES[-1][0] else "just now"


def iso(moment: float) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%-d %B %Y")


def short(digest: Digest) -> str:
    return digest.hex[:12]


def repository_url(repository: Repository) -> str:
    return f"/r/{quote(repository.path)}"


def breakable(path: str) -> Markup:
    """A name that may be broken behind its slashes, and need not be anywhere else."""
    return Markup("/<wbr>").join(path.split("/"))


def entry_name(entry: Descriptor) -> str:
    """What an entry of an index is for."""
    if entry.platform is None or entry.platform.os == "unknown":
        return entry.annotations.get("vnd.docker.reference.type") or entry.artifact_type or "any platform"
    return str(entry.platform)


def instruction(created_by: str) -> str:
    """The line of a Dockerfile, without what the builder put around it."""
    text = created_by.strip()
    if text.startswith(_NOP):
        return text.removeprefix(_NOP).strip()
    return text.replace("/bin/sh -c", "RUN", 1) if text.startswith("/bin/sh -c ") else text.removesuffix(" # buildkit")
