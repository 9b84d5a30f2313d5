"""What commands are answered with, as JSON."""

from mirror.pull.refresh import Refreshed
from mirror.pull.status import Part, Status
from mirror.pull.warm import Step
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


def _text(value: object) -> str | None:
    return None if value is None else str(value)
