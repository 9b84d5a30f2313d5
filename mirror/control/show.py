"""What commands are answered with, as JSON."""

from mirror.moments import moment
from mirror.pull.refresh import Refreshed
from mirror.pull.schedule import Run, State
from mirror.pull.status import Part, Status
from mirror.pull.warm import Step
from mirror.upstream.state import AccountState, UpstreamState
from ocispec.image import ImageName


def refreshed(image: ImageName, done: Refreshed) -> dict[str, object]:
    return {
        "image": str(image),
        "repository": str(done.repository),
        "outcome": done.change,
        "before": _text(done.before),
        "now": _text(done.now),
    }


def status(image: ImageName, found: Status) -> dict[str, object]:
    here = [part for part in found.parts if part.is_here]
    missing = [part for part in found.parts if not part.is_here]
    return {
        "image": str(image),
        "repository": str(found.repository),
        "digest": _text(found.parts[0].digest),
        "complete": found.is_complete,
        "present": len(here),
        "present_bytes": sum(part.size or 0 for part in here),
        "missing": len(missing),
        "missing_bytes": sum(part.size or 0 for part in missing),
        "referrers": found.referrers,
        "problems": found.problems,
        "parts": [_part(part) for part in found.parts],
    }


def _part(part: Part) -> dict[str, object]:
    return {
        "role": part.role,
        "platform": _text(part.platform),
        "digest": _text(part.digest),
        "size": part.size,
        "present": part.is_here,
    }


def step(step: Step) -> dict[str, object]:
    """A line of progress; what is not known is left out."""
    facts = {
        "event": step.stage,
        "image": str(step.image),
        "role": step.role,
        "digest": _text(step.digest),
        "bytes": step.size,
        "outcome": step.outcome,
        "reason": step.reason,
    }
    return {name: value for name, value in facts.items() if value is not None}


def schedule(state: State, *, with_names: bool) -> dict[str, object]:
    """A `[[warm]]` section; the machine's own paths are left out, and without `with_names` what it wants, too."""
    section, last = state.section, state.last
    names = {"images": [str(image) for image in section.images]} if with_names else {}
    return names | {
        "platforms": [str(platform) for platform in section.platforms],
        "every": section.every,
        "running": state.is_running,
        "next": _moment(state.next_at),
        "last": None if last is None else _run(last, with_names=with_names),
    }


def _run(run: Run, *, with_names: bool) -> dict[str, object]:
    failures = [{"image": image, "reason": reason} for image, reason in run.failed.items()]
    return {
        "started": _moment(run.started_at),
        "seconds": round(run.seconds, 3),
        "images": run.images,
        "failed": len(failures),
        "bytes": run.fetched,
        "problem": run.problem,
    } | ({"failures": failures} if with_names else {})


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else moment(seconds)


def upstream(state: UpstreamState, *, with_names: bool) -> dict[str, object]:
    """Times of day are in UTC; `limited` and `held_back` are seconds from now. `answers` is null until an endpoint has
    been heard from, or is known to be silent."""
    return {
        "host": state.host,
        "offline": state.is_offline,
        "endpoints": [
            {
                "url": endpoint.url,
                "answers": False if endpoint.is_open else endpoint.is_known or None,
                "since": _moment(endpoint.since),
                "reason": endpoint.reason,
                "accounts": [
                    _account(account, number, with_names=with_names)
                    for number, account in enumerate(endpoint.accounts, 1)
                ],
            }
            for endpoint in state.endpoints
        ],
        "under_way": state.under_way,
        "waiting": state.waiting,
        "received_bytes": state.received,
        "requests": [
            {"kind": kind, "outcome": ending, "count": count}
            for (kind, ending), count in sorted(state.requests.items())
        ],
        "errors": [
            {"reason": trouble.reason, "count": trouble.count, "last": _moment(trouble.last)}
            for trouble in state.troubles
        ],
    }


def _account(account: AccountState, number: int, *, with_names: bool) -> dict[str, object]:
    budget = account.budget
    # The source is an address of ours, or what the upstream calls the account.
    source = {"source": budget.source} if budget is not None and with_names else {}
    facts: dict[str, object] | None = None
    if budget is not None:
        facts = {
            "remaining": budget.remaining,
            "limit": budget.limit,
            "window_seconds": budget.window_seconds,
            "scarce": account.is_scarce,
            **source,
        }
    return {
        "name": account.name if with_names else str(number),
        "budget": facts,
        "limited": {kind: round(seconds, 1) for kind, seconds in account.limited.items()},
        "held_back": {kind: round(seconds, 1) for kind, seconds in account.held_back.items()},
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)
