"""Who wants an answer of an upstream, and the line that those stand in who have to wait for their turn. No I/O."""

import asyncio
from collections.abc import Callable
from enum import IntEnum


class Rank(IntEnum):
    """Who goes first: what a client waits for before what nobody waits for, short answers before long ones."""

    QUESTION = 0  # a manifest, a tag, a list, how long a blob is
    BLOB = 1
    PART = 2  # of a blob, that comes with the whole of it in any case
    AHEAD = 3  # nobody has asked for it yet


class Want:
    """One wish, which may become more urgent while it waits. That of a part of a `whole` is never more so than it."""

    def __init__(self, rank: Rank, whole: "Want | None" = None) -> None:
        self._rank, self._whole = rank, whole
        self.stands_in_line = False
        self.hurried: Callable[[], object] = lambda: None  # told when the rank has changed

    @property
    def rank(self) -> Rank:
        return self._rank if self._whole is None else max(self._rank, self._whole.rank)

    @property
    def is_ahead(self) -> bool:
        return self.rank is Rank.AHEAD

    @property
    def is_extra(self) -> bool:
        """Whether everybody would be served without it, if later."""
        return self.rank >= Rank.PART

    def hurry(self) -> None:
        """Somebody waits for it now: a client, or the file that the part belongs to."""
        if self._rank > Rank.BLOB:
            self._rank = Rank.BLOB
            self.hurried()


class Ticket:
    """A place in a line; `size` is how much of what is shared out it takes."""

    def __init__(self, want: Want, size: int) -> None:
        self.want, self.size = want, size
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Line:
    """Calls those who wait, the most urgent first and each in its turn, as the gate lets them through.

    `delay` is the gate: 0 for a ticket that may pass now, seconds where time opens it, None where it takes a `move`.
    One that is closed for a ticket has to be closed for all that are less urgent. `enter` is told who has passed.
    """

    def __init__(self, delay: Callable[[Ticket], float | None], enter: Callable[[Ticket], None]) -> None:
        self._delay, self._enter = delay, enter
        self._waiting: list[Ticket] = []
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def turn(self, ticket: Ticket) -> None:
        """Wait for it. Whoever is cancelled meanwhile has not passed."""
        self._waiting.append(ticket)
        self.move()
        if not ticket.called.done():
            try:
                await ticket.called
            finally:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                    self.move()

    def move(self) -> None:
        """Something has changed: let pass who may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Who has been cancelled does not know yet, and comes here again only when it does.
        self._waiting = [ticket for ticket in self._waiting if not ticket.called.done()]
        while self._waiting:
            first = min(self._waiting, key=lambda ticket: ticket.want.rank)  # the longest waiting one of them
            delay = self._delay(first)
            if delay != 0:
                if delay is not None:
                    self._timer = asyncio.get_running_loop().call_later(delay, self.move)
                return
            self._waiting.remove(first)
            self._enter(first)
            first.called.set_result(None)
