"""What was asked of the server and what it answered, and from that: what may be there after it was killed.

Every blob of a repository, every manifest of it and every tag is a register that holds a digest or nothing. A write has
a begin and, once it is answered, an end. It may be the last one unless another, answered one began after its end. That
holds for any number of clients at once, and a write that was never answered may or may not have happened, at any time.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from tests.crash.content import Blob

# Seconds, from the beginning of a session until its server's death has been noticed.
_JUST = 1.0

Kind = Literal["blob", "manifest", "tag"]


class Key(NamedTuple):
    """A place that a digest can be at: by its own digest, or by a tag."""

    kind: Kind
    repository: str
    reference: str

    @property
    def path(self) -> str:
        kind = "blobs" if self.kind == "blob" else "manifests"
        return f"/v2/{self.repository}/{kind}/{self.reference}"


@dataclass(eq=False)
class Operation:
    """One request that changes something. `end` is infinite while nothing has been heard of it."""

    start: int
    end: float = math.inf


@dataclass(frozen=True)
class Effect:
    """What an operation does to one register: put `value` there; with `only_from`, only where that was there."""

    operation: Operation
    value: str | None
    only_from: str | None = None

    def certainly_after(self, other: "Effect") -> bool:
        """Whether it was done, all of it later than the other, and so that nothing of the other is left."""
        later = self.operation.end < math.inf and self.operation.start > other.operation.end
        return later and self.only_from in (None, other.value)


class Register:
    """All that may have been done to one key since it was last looked at."""

    def __init__(self, value: str | None = None) -> None:
        self._effects = [Effect(Operation(-1, -1), value)]

    def add(self, effect: Effect) -> None:
        self._effects.append(effect)

    def remove(self, operation: Operation) -> None:
        self._effects = [effect for effect in self._effects if effect.operation is not operation]

    @property
    def version(self) -> tuple[int, int]:
        """Changes with every operation that begins or ends."""
        ended = sum(effect.operation.end < math.inf for effect in self._effects)
        return len(self._effects), ended

    @property
    def touched(self) -> bool:
        return len(self._effects) > 1

    def possible(self) -> set[str | None]:
        """What may be there now."""
        return {effect.value for effect in self._effects if self._may_be_last(effect)}

    def _may_be_last(self, effect: Effect) -> bool:
        if any(other.certainly_after(effect) for other in self._effects):
            return False
        return effect.only_from is None or self._may_have_found(effect)

    def _may_have_found(self, effect: Effect) -> bool:
        """Whether what a conditional effect looked for may have been there at its time."""
        before = [other for other in self._effects if other.operation.end < effect.operation.start]
        return any(
            other.value == effect.only_from
            and other.operation.start < effect.operation.end
            and not any(between.certainly_after(other) for between in before)
            for other in self._effects
            if other.only_from is None
        )


@dataclass(eq=False)
class Session:
    """An upload that has been begun. `acknowledged` bytes are there for certain, more than `sent` cannot be."""

    path: str
    repository: str
    blob: Blob
    acknowledged: int = 0
    sent: int = 0
    ending: Operation | None = None  # the request that would end it has been sent
    cancelled: bool = False  # and it is a DELETE
    owned: bool = True  # somebody goes on with it
    survived: bool = False  # begun before the last kill
    begun: float = field(default_factory=time.monotonic)
    may_be_forgotten: bool = False  # it was empty, and had just begun: the server need not have written it down


@dataclass
class History:
    """Everything that was written, in one order: `begin`, then `acknowledge` or `refuse`, or neither."""

    registers: dict[Key, Register] = field(default_factory=dict)
    gone: set[Key] = field(default_factory=set)  # were there once, and must never come back
    contents: dict[str, bytes] = field(default_factory=dict, repr=False)
    sessions: list[Session] = field(default_factory=list)
    acknowledged: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    _moment: int = 0
    _unanswered: set[Operation] = field(default_factory=set)

    @property
    def in_flight(self) -> int:
        return len(self._unanswered)

    def begin(self, values: Mapping[Key, str | None]) -> Operation:
        """A request that sets these keys is about to be sent."""
        operation = self._operation()
        for key, value in values.items():
            self._register(key).add(Effect(operation, value))
        return operation

    def begin_removal(self, manifest: Key) -> Operation:
        """The same for a manifest that takes the tags that point at it with it."""
        operation = self.begin({manifest: None})
        for key, register in self.registers.items():
            if key.kind == "tag" and key.repository == manifest.repository:
                register.add(Effect(operation, None, only_from=manifest.reference))
        return operation

    def acknowledge(self, operation: Operation) -> None:
        """The server said that it is done."""
        operation.end = self._next()
        self._unanswered.discard(operation)
        self.acknowledged += 1
        self.answered.set()

    def happened(self, operation: Operation) -> None:
        """Nobody was told, but it turns out that it is done."""
        operation.end = self._next()

    def refuse(self, operation: Operation) -> None:
        """The server said that it did nothing."""
        self._unanswered.discard(operation)
        for register in self.registers.values():
            register.remove(operation)

    def read(self, key: Key) -> Register:
        return self.registers.get(key) or Register()

    def settle(self, key: Key, found: str | None) -> None:
        """That is what is there: it all starts from here."""
        if found is None:
            self.registers.pop(key, None)
            self.gone.add(key)
        else:
            self.registers[key] = Register(found)

    def forget_unanswered(self) -> None:
        """The server is dead: no answer will come any more."""
        self._unanswered.clear()
        for session in self.sessions:
            session.owned, session.survived = False, True
            session.may_be_forgotten = session.acknowledged == 0 and time.monotonic() - session.begun < _JUST

    def prune(self) -> None:
        """Let go of the bytes that are nowhere any more."""
        needed = {key.reference for key in self.registers}
        self.contents = {digest: data for digest, data in self.contents.items() if digest in needed}

    def unowned(self) -> Iterator[Session]:
        return (session for session in self.sessions if not session.owned)

    def _register(self, key: Key) -> Register:
        self.gone.discard(key)
        return self.registers.setdefault(key, Register())

    def _operation(self) -> Operation:
        operation = Operation(self._next())
        self._unanswered.add(operation)
        return operation

    def _next(self) -> int:
        self._moment += 1
        return self._moment
