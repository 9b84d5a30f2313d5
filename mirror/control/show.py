"""What commands are answered with, as JSON."""

from datetime import UTC, datetime

from mirror.pull.refresh import Refreshed
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


def upstream(state: UpstreamState) -> dict[str, object]:
    """Times of day are in UTC; `limited` and `held_back` are seconds from now."""
    return {
        "host": state.host,
        "offline": state.is_offline,
        "endpoints": [
            {
                "url": endpoint.url,
                "answers": not endpoint.is_open,
                "since": _time(endpoint.since),
                "accounts": [_account(account) for account in endpoint.accounts],
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
            {"reason": trouble.reason, "count": trouble.count, "last": _time(trouble.last)}
            for trouble in state.troubles
        ],
    }


def _account(account: AccountState) -> dict[str, object]:
    budget = account.budget
    return {
        "name": account.name,
        "budget": None
        if budget is None
        else {
            "remaining": budget.remaining,
            "limit": budget.limit,
            "window_seconds": budget.window_seconds,
            "source": budget.source,
            "scarce": account.is_scarce,
        },
        "limited": {kind: round(seconds, 1) for kind, seconds in account.limited.items()},
        "held_back": {kind: round(seconds, 1) for kind, seconds in account.held_back.items()},
    }


def _time(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
