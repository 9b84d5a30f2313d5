"""What the command says: files to be read, a list for programs, and what was done."""

import json
from collections.abc import Sequence
from pathlib import Path

from mirror.wiring.files import File
from mirror.wiring.write import Placed, below


def printed(root: Path, files: Sequence[File]) -> str:
    """Each file behind a comment with its path, and what to do once they are there."""
    blocks = [f"# {below(root, file.path)}\n{file.content}" for file in files]
    return "\n".join([*blocks, *(f"# Then: {then}\n" for then in _once(files))])


def written(files: Sequence[Placed]) -> str:
    """A line for each file, and what to do if anything is new."""
    lines = [f"{file.path}: {'written' if file.changed else 'unchanged, it was like this already'}\n" for file in files]
    remarks = [f"{file.path}: {file.remark}\n" for file in files if file.remark]
    changed = [file for file in files if file.changed]
    return "".join([*lines, *remarks, *(f"Then: {then}\n" for then in _once(changed))])


def listed(root: Path, files: Sequence[File]) -> str:
    found = [{"path": str(below(root, file.path)), "content": file.content, "then": file.then} for file in files]
    return json.dumps(found, indent=2) + "\n"


def listed_written(files: Sequence[Placed]) -> str:
    found = [
        {
            "path": str(file.path),
            "content": file.content,
            "then": file.then,
            "changed": file.changed,
            "remark": file.remark,
        }
        for file in files
    ]
    return json.dumps(found, indent=2) + "\n"


def _once(files: Sequence[File] | Sequence[Placed]) -> list[str]:
    return list(dict.fromkeys(file.then for file in files))
