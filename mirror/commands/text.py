"""What commands print for people to read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SHORT = len("sha256:") + 12


def amount(size: int | None) -> str:
    """Bytes as people say them: 1536 → `1.5 KiB`."""
    if size is None:
        return ""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def short(digest: str | None) -> str:
    return (digest or "")[:_SHORT]


def refreshed(done: Mapping[str, Any]) -> str:
    """A line about one image."""
    image, outcome = done["image"], done["outcome"]
    match outcome:
        case "failed":
            return f"{image}: failed: {done.get('reason', '')}"
        case "moved":
            return f"{image}: moved from {done['before']} to {done['now']}"
        case "gone" | "refused":
            return f"{image}: {_LOST[outcome]}; {done['before']} stays here"
        case _:
            return f"{image}: {outcome}, {done['now']}"


_LOST = {"gone": "gone, the upstream has it no more", "refused": "refused, the upstream does not let us see it"}


def status(found: Mapping[str, Any]) -> str:
    """A table of the pieces, and a line that sums them up."""
    rows = [
        (
            part["role"],
            part["platform"] or "",
            short(part["digest"]),
            amount(part["size"]),
            "here" if part["present"] else "MISSING",
        )
        for part in found["parts"]
    ]
    missing = f"{found['missing']} missing ({amount(found['missing_bytes'])})"
    lines = [
        f"{found['image']}: {found['repository']} {found['digest'] or ''}".rstrip(),
        *table(("", "platform", "digest", "size", ""), rows),
        *found["problems"],
        f"{'complete' if found['complete'] else 'NOT COMPLETE'}: "
        f"{found['present']} here ({amount(found['present_bytes'])}), {missing}, {found['referrers']} referrers",
    ]
    return "\n".join(lines)


def server(found: Mapping[str, Any]) -> str:
    """Who it is, as far as it says, and its schedules."""
    facts = [("version", "version"), ("process", "pid"), ("url", "url")]
    lines = [f"{name}: {found[key]}" for name, key in facts if key in found]
    for number, schedule in enumerate(found["schedules"], 1):
        lines += _schedule(number, schedule)
    return "\n".join(lines) or "no schedules"


def _schedule(number: int, schedule: Mapping[str, Any]) -> list[str]:
    last = schedule["last"]
    coming = "running now" if schedule["running"] else f"next at {schedule['next']}"
    if last is None:
        return [f"warm {number}: not run yet, {coming}"]
    done = f"{last['images']} images, {last['failed']} failed, {amount(last['bytes'])} fetched"
    head = f"warm {number}: {done}, at {last['started']} in {last['seconds']:.1f} s; {coming}"
    problem = [f"  {last['problem']}"] if last["problem"] else []
    return [head, *problem, *(f"  {one['image']}: {one['reason']}" for one in last.get("failures", []))]


def upstreams(found: Sequence[Mapping[str, Any]]) -> str:
    """A table of accounts at endpoints, and below it what has gone wrong."""
    rows = [
        (
            upstream["host"],
            endpoint["url"],
            _standing(upstream, endpoint),
            account["name"],
            _budget(account["budget"]),
            ", ".join(f"{kind} for {seconds:.0f} s" for kind, seconds in account["limited"].items()) or "-",
        )
        for upstream in found
        for endpoint in upstream["endpoints"]
        for account in endpoint["accounts"]
    ]
    lines = table(("upstream", "endpoint", "", "account", "pulls left", "limited"), rows)
    lines += [
        f"{upstream['host']}: {upstream['under_way']} requests under way, {upstream['waiting']} waiting, "
        f"{amount(upstream['received_bytes'])} received"
        for upstream in found
    ]
    lines += [
        f"{upstream['host']}: {error['reason']} ({error['count']} times, last {error['last']})"
        for upstream in found
        for error in upstream["errors"]
    ]
    return "\n".join(lines)


def _standing(upstream: Mapping[str, Any], endpoint: Mapping[str, Any]) -> str:
    if upstream["offline"]:
        return "offline"
    match endpoint["answers"]:
        case True:
            return "answers"
        case False:
            return f"SILENT since {endpoint['since']}"
        case _:
            return "no answer yet" if endpoint.get("reason") else "not asked yet"


def _budget(budget: Mapping[str, Any] | None) -> str:
    if budget is None:
        return "-"
    return f"{budget['remaining']} of {budget['limit']}{' SCARCE' if budget['scarce'] else ''}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
