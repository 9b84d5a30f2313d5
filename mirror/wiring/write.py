"""Files of clients on the disk: looked at all together, then written one by one, each of them whole or not at all."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mirror.errors import ConfigError, StartError
from mirror.wiring.files import Conflict, File

_MODE = 0o644


class NotWritten(StartError):
    """A file cannot be written, or must not be: which one, and why."""


class Placed(NamedTuple):
    """A file below a root, as it is to be there."""

    path: Path
    content: str
    then: str
    mode: int
    changed: bool
    remark: str = ""


def below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def place(root: Path, files: Iterable[File]) -> list[Placed]:
    """What each file becomes, given what is there. Writes nothing. Raises NotWritten, or ConfigError."""
    if not root.is_dir():
        raise ConfigError(f"--root {root}: there is no such folder")
    return [_placed(_inside(root, file.path), file) for file in files]


def _inside(root: Path, path: str) -> Path:
    """A root may be another system's: a link in it means a folder of that system, and would lead into one of ours."""
    found = below(root, path)
    if not Path(os.path.realpath(found.parent)).is_relative_to(os.path.realpath(root)):
        raise NotWritten(f"{found}: left as it is: a symbolic link on the way to it leads out of {root}")
    return found


def write_all(placed: Iterable[Placed]) -> None:
    """Write what changes. Raises NotWritten."""
    for file in placed:
        if file.changed:
            try:
                _write(file.path, file.content.encode(), file.mode)
            except OSError as error:
                raise NotWritten(f"{file.path}: cannot be written: {error.strerror}") from error


def _placed(path: Path, file: File) -> Placed:
    try:
        if path.is_symlink():
            # A rename would put a file in its place, and what it leads to may not be below this root.
            raise Conflict("it is a symbolic link; put what `mirror wire` prints into the file it leads to")
        mode = stat.S_IMODE(path.stat().st_mode)
        present = path.read_bytes().decode()
        content, remark = file.onto(present), file.remark(present, file.content)
    except FileNotFoundError:
        return Placed(path, file.content, file.then, _MODE, changed=True)
    except OSError as error:
        raise NotWritten(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise NotWritten(f"{path}: left as it is: not UTF-8 text") from None
    except Conflict as conflict:
        raise NotWritten(f"{path}: left as it is: {conflict}") from None
    return Placed(path, content, file.then, mode, content != present, remark)


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # No client reads a file with such a name.
    fd, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
