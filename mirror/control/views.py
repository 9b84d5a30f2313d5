"""What there is to see, as JSON. Times are seconds since the epoch, sizes bytes."""

from mirror.discovery.browse import Image, Layer, TagState
from mirror.discovery.search import Found, Result
from ocispec.descriptor import Descriptor
from ocispec.image_config import ImageConfig, Step
from storage.repository import Repository
from storage.views import Hit, Move, RepositoryFacts, Sharing, TagFacts

JSON = dict[str, object]


def hit(found: Hit) -> JSON:
    used = {"tags": found.tags, "pulls": found.pulls, "last_pulled_at": found.last_pulled_at}
    return {**_name(found.repository), "description": found.description, **used}


def found(page: Found) -> JSON:
    return {
        "total": page.total,
        "results": [result(one) for one in page.results],
        "not_searched": list(page.not_searched),
    }


def result(found: Result) -> JSON:
    return {
        **_name(found.repository),
        "name": found.name,
        "here": found.is_here,
        "description": found.description,
        "stars": found.stars,
        "official": found.is_official,
        "pulls": found.pulls,
    }


def repository(facts: RepositoryFacts) -> JSON:
    return {
        **_name(facts.repository),
        "tags": facts.tags,
        "size": facts.size,
        "created_at": facts.created_at,
        "pulls": facts.pulls,
        "last_pulled_at": facts.last_pulled_at,
    }


def tag(facts: TagFacts, state: TagState) -> JSON:
    return {
        "name": facts.name,
        "digest": str(facts.digest),
        "media_type": facts.media_type,
        "artifact_type": facts.artifact_type,
        "size": facts.size,
        "platforms": list(facts.platforms),
        "updated_at": facts.updated_at,
        "checked_at": facts.checked_at,
        "freshness": state.freshness,
        "fresh_for": state.fresh_for,
        "pulls": facts.pulls,
        "last_pulled_at": facts.last_pulled_at,
    }


def move(one: Move) -> JSON:
    return {
        "id": one.id,
        "tag": one.tag,
        "at": one.at,
        "before": _text(one.before),
        "after": _text(one.after),
        "cause": one.cause,
    }


def image(found: Image) -> JSON:
    manifest = found.manifest
    return {
        **_name(found.repository),
        "digest": str(found.stored.digest),
        "media_type": manifest.media_type,
        "artifact_type": manifest.artifact_type,
        "size": found.size,
        "annotations": dict(manifest.annotations),
        "subject": None if manifest.subject is None else str(manifest.subject.digest),
        "entries": [{**_descriptor(entry.descriptor), "here": entry.is_here} for entry in found.entries],
        "layers": [_layer(layer) for layer in found.layers],
        "config": None if found.config is None else _config(found.config),
        "referrers": [_descriptor(referrer) for referrer in found.referrers],
    }


def _layer(layer: Layer) -> JSON:
    step = None if layer.step is None else _step(layer.step)
    return {**_descriptor(layer.descriptor), "made_by": step, **_sharing(layer.sharing)}


def _sharing(sharing: Sharing) -> JSON:
    return {"shared_by": sharing.count, "repositories": [one.path for one in sharing.repositories]}


def _descriptor(one: Descriptor) -> JSON:
    return {
        "digest": str(one.digest),
        "media_type": one.media_type,
        "artifact_type": one.artifact_type,
        "size": one.size,
        "platform": _text(one.platform),
        "annotations": dict(one.annotations),
    }


def _config(config: ImageConfig) -> JSON:
    return {
        "platform": _text(config.platform),
        "created": config.created or None,
        "author": config.author or None,
        "labels": dict(config.labels),
        "user": config.user,
        "working_dir": config.working_dir,
        "entrypoint": list(config.entrypoint),
        "command": list(config.command),
        "environment": list(config.environment),
        "ports": list(config.ports),
        "volumes": list(config.volumes),
        "history": [_step(step) for step in config.history],
    }


def _step(step: Step) -> JSON:
    return {
        "created_by": step.created_by,
        "created": step.created or None,
        "comment": step.comment or None,
        "empty": step.is_empty,
    }


def _name(repository: Repository) -> JSON:
    return {"repository": repository.path, "upstream": repository.upstream or None}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
