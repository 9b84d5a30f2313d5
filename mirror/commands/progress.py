"""Progress of what takes long: lines, or a bar on a terminal, or JSON."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

from mirror.commands.text import amount, short

# Tells of a step, and gives it back.
Report = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def reporter(*, as_json: bool, live: bool) -> Iterator[Report]:
    if as_json:
        yield _printing(json.dumps)
    elif live:
        with _bar() as report:
            yield report
    else:
        yield _printing(_line)


def _printing(write: Callable[[dict[str, Any]], str]) -> Report:
    def report(step: dict[str, Any]) -> dict[str, Any]:
        if line := write(step):
            typer.echo(line)
        return step

    return report


def _line(step: Mapping[str, Any]) -> str:
    """What is worth a line: what was fetched or could not be, and how each image ended. Not what was here."""
    if (step["event"], step["role"]) == ("failed", "image"):
        return ""
    if step["role"] == "image":
        return f"{step['image']}: complete, {amount(step.get('bytes'))}"
    if step["event"] == "finished" and step.get("outcome") == "hit":
        return ""
    said = (step["event"], step["role"], short(step.get("digest")), amount(step.get("bytes")), step.get("reason", ""))
    return f"{step['image']}: {' '.join(filter(None, said))}"


@contextmanager
def _bar() -> Iterator[Report]:
    """A bar of the bytes that are fetched; it grows as more turn out to be missing."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeElapsedColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("fetching", total=0)
        known = 0

        def report(step: dict[str, Any]) -> dict[str, Any]:
            nonlocal known
            size = step.get("bytes", 0)
            if step["event"] == "started":
                known += size
                progress.update(task, total=known)
            elif step["role"] == "image" and step["event"] == "finished":
                progress.console.print(_line(step), markup=False, highlight=False)
            elif step["role"] != "image" and step.get("outcome") != "hit":
                progress.update(task, advance=size)
            return step

        yield report
