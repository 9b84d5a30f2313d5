"""What a client's configuration is made of: files, and what becomes of one that is there already."""

from collections.abc import Callable
from typing import NamedTuple

from mirror.wiring.server import Server

# The first line of what may be replaced later: by then another server, or another upstream, may be wanted.
MARK = "# Made by `mirror wire`. Run it again rather than change this file.\n"


class Wanted(NamedTuple):
    """What clients are to pull through this server: every upstream's `host`, and which of them is the default."""

    server: Server
    hosts: tuple[str, ...]
    default: str | None


class Conflict(Exception):
    """A file that is there already has to stay as it is. The text says why, and what to do."""


Update = Callable[[str, str], str]


def nothing(_present: str, _content: str) -> str:
    return ""


class File(NamedTuple):
    """A file of a client. `then` is what to do once it is there; `remark` what to mind about what it has had before."""

    path: str
    content: str
    then: str
    update: Update
    remark: Update = nothing

    def onto(self, present: str) -> str:
        """What the file becomes where this is what it has now. Raises Conflict."""
        return present if present == self.content else self.update(present, self.content)


def replace_ours(present: str, content: str) -> str:
    """For files that nobody else has a reason to write in."""
    if not present.startswith(MARK):
        raise Conflict(
            "it is there already, and not made by `mirror wire`; move it away, or put what is missing into it"
        )
    return content


def never_replace(_present: str, _content: str) -> str:
    """For files that have a client's other settings, too."""
    raise Conflict("it is there already, and different; move it away, or put what `mirror wire` prints into it")
