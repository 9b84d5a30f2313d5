"""What a server's answers look like, as far as commands rely on it. What stands behind a URL may be anything.

Text is printable from here on: it goes to a terminal. What is not known here is kept, for `--json`.
"""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mirror.printable import printable

T = TypeVar("T")
Said = Annotated[str, AfterValidator(printable)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
# Seconds since 1970 that every calendar has: until the year 2242.
Moment = Annotated[float, Field(ge=0, lt=2**33, allow_inf_nan=False)]
# Nobody reads what is wrong in each place, and it would take a thousand times the memory of the answer.
Many = Annotated[list[T], Field(fail_fast=True)]
Named = Annotated[dict[Said, T], Field(fail_fast=True)]


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    @classmethod
    def read(cls, body: bytes) -> dict[str, Any]:
        """Raises ValueError where it is something else."""
        return cls.model_validate_json(body).model_dump(exclude_unset=True)


class Server(Answer):
    """The port tells none of these."""

    version: Said = ""
    pid: Count = 0
    url: Said = ""


class Failure(Answer):
    image: Said
    reason: Said


class Run(Answer):
    started: Said | None
    seconds: float
    images: Count
    failed: Count
    bytes: Count
    problem: Said | None
    failures: Many[Failure] = []


class Schedule(Answer):
    running: bool
    next: Said | None
    last: Run | None


class Schedules(Answer):
    schedules: Many[Schedule]


class Refreshed(Answer):
    image: Said
    outcome: Said
    before: Said | None
    now: Said | None


class Part(Answer):
    role: Said
    platform: Said | None
    digest: Said | None
    size: Count | None
    present: bool


class Status(Answer):
    image: Said
    repository: Said
    digest: Said | None
    complete: bool
    present: Count
    present_bytes: Count
    missing: Count
    missing_bytes: Count
    referrers: Count
    problems: Many[Said]
    parts: Many[Part]


class Budget(Answer):
    remaining: Count
    limit: Count
    scarce: bool


class Account(Answer):
    name: Said
    budget: Budget | None
    limited: Named[float]


class Endpoint(Answer):
    url: Said
    answers: bool | None
    since: Said | None
    reason: Said | None = None
    accounts: Many[Account]


class Trouble(Answer):
    reason: Said
    count: Count
    last: Said | None


class Upstream(Answer):
    host: Said
    offline: bool
    endpoints: Many[Endpoint]
    under_way: Count
    waiting: Count
    received_bytes: Count
    errors: Many[Trouble]


class Upstreams(Answer):
    upstreams: Many[Upstream]


class Event(Answer):
    """A line of an answer that goes on."""

    event: Said


class Step(Event):
    image: Said
    role: Said
    digest: Said = ""
    bytes: Count = 0
    outcome: Said = ""
    reason: Said = ""


class Found(Answer):
    """Of a list that comes in pages: `next` is the path of the next one."""

    next: Said | None


class Result(Answer):
    name: Said
    here: bool
    description: Said
    stars: Count
    official: bool


class Results(Found):
    results: Many[Result]


class Repository(Answer):
    repository: Said
    description: Said
    tags: Count
    pulls: Count
    last_pulled_at: Moment | None


class Repositories(Found):
    repositories: Many[Repository]


class Tag(Answer):
    name: Said
    digest: Said
    size: Count
    platforms: Many[Said]
    freshness: Said
    pulls: Count
    last_pulled_at: Moment | None


class Tags(Found):
    tags: Many[Tag]


class Move(Answer):
    at: Moment
    tag: Said
    cause: Said
    before: Said | None
    after: Said | None


class Moves(Found):
    moves: Many[Move]


class MadeBy(Answer):
    created_by: Said


class Descriptor(Answer):
    digest: Said
    media_type: Said
    artifact_type: Said | None
    size: Count
    platform: Said | None


class Entry(Descriptor):
    here: bool


class Layer(Descriptor):
    made_by: MadeBy | None
    shared_by: Count


class ImageConfig(Answer):
    platform: Said | None
    created: Said | None
    user: Said
    working_dir: Said
    entrypoint: Many[Said]
    command: Many[Said]
    ports: Many[Said]
    labels: Named[Said]


class Image(Answer):
    repository: Said
    digest: Said
    media_type: Said
    annotations: Named[Said]
    entries: Many[Entry]
    layers: Many[Layer]
    config: ImageConfig | None
    referrers: Many[Descriptor]
