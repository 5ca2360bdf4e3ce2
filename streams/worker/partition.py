"""The life of one partition in this worker: a state machine.

The group gives the partition to this worker, which *opens* it: a producer with the partition's own transactional id
makes the broker refuse every earlier owner, then states and position are read from the changelog. While the partition
is *live*, the intake may request a fetch for it; while it is *folding*, an agent processes that fetch, and no second
one is requested. Transactions are committed meanwhile. When the group takes the partition away, it is *settling*: the
current fetch is folded and everything folded is committed, for a few seconds at most.

A fetch or a transaction that fails fences this worker itself: all uncommitted batches are undone, and the partition
opens again with states and position from the changelog. The same path handles a worker that was frozen, a broker that
went away, a transaction that timed out, and a hole in the offsets. A partition is *halted* if almost none of its recent
events can be read: the worker does not read on until an operator resumes it.

`TABLE` holds the transition for each event in each state. An event without a cell in a state cannot happen, and raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, Protocol

from gate.errors import StateUnreadable, TopicUnfit
from streams.pipeline.effects import Effects
from streams.worker.breaker import Breaker
from streams.worker.changelog import Accounts
from streams.worker.commit import Hooks, Owner, kind_of
from streams.worker.refusals import refused

log = logging.getLogger("upload_gate.worker")

FINISH_WITHIN_S = 3.0
TRY_AGAIN_S = 0.5
REFUSED_PAUSE_S = 2.0
FENCED_PAUSE_S = 2.0  # long enough to hear from the group that the partition moved, before we would fence its new owner


class State(Enum):
    """A state of a partition."""

    UNASSIGNED = "unassigned"
    OPENING = "opening"
    LIVE = "live"
    FOLDING = "folding"
    SETTLING = "settling"
    FENCED = "fenced"
    HALTED = "halted"


class Event(Enum):
    """An event in the life of a partition."""

    ASSIGNED = "the group gave it to this worker"
    OPENED = "its owner is open"
    OPEN_FAILED = "its owner could not be opened, and may be later"
    FETCH = "a fetch is handed to the agents"
    FOLDED = "the fetch is folded"
    FOLD_FAILED = "the fetch came to nothing"
    COMMIT_OK = "a transaction is committed"
    COMMIT_FAILED = "a transaction came to nothing"
    MISPLACED = "the consumer is not where the owner is"
    UNREADABLE_HALT = "practically nothing of its recent events is readable"
    BROKEN = "its changelog holds what nobody can read, or has too few partitions"
    TOPIC_CHANGED = "the events topic was created anew"
    RETRY = "the pause after a failure is over"
    RESUME = "someone asks to read on"
    REVOKED = "the group takes it away"
    STOP = "the worker ends"
    SETTLED = "what could be committed is committed"


class PartitionAction(Enum):
    """An action of the worker on a transition."""

    NOTHING = "nothing"
    OPEN = "open an owner"
    OPEN_LATER = "open an owner after a pause"
    OPEN_ANEW = "give up opening and begin again"
    READ = "read on from the owner's position"
    FOLD = "keep the fetch in hand"
    NEXT = "request the next fetch"
    FENCE = "take back what is not committed, then open again"
    HALT = "read no further"
    END = "end the worker with the error"
    SETTLE = "fold and commit what is in hand"
    CANCEL = "give up opening"
    CLOSE = "close the owner"


class Step(NamedTuple):
    """A cell of the table: the next state, and the action."""

    state: State
    action: PartitionAction


def _table() -> dict[tuple[State, Event], Step]:
    s, e, a = State, Event, PartitionAction
    leave = {e.REVOKED: Step(s.SETTLING, a.SETTLE), e.STOP: Step(s.SETTLING, a.SETTLE)}
    cancel = {e.REVOKED: Step(s.UNASSIGNED, a.CANCEL), e.STOP: Step(s.UNASSIGNED, a.CANCEL)}
    fence = Step(s.FENCED, a.FENCE)

    def stay(state: State, *events: Event) -> dict[Event, Step]:
        return {event: Step(state, a.NOTHING) for event in events}

    rows: dict[State, dict[Event, Step]] = {
        s.UNASSIGNED: {
            e.ASSIGNED: Step(s.OPENING, a.OPEN),
            **stay(s.UNASSIGNED, e.REVOKED, e.STOP, e.TOPIC_CHANGED),
        },
        s.OPENING: {
            e.OPENED: Step(s.LIVE, a.READ),
            e.OPEN_FAILED: Step(s.OPENING, a.OPEN_LATER),
            e.BROKEN: Step(s.OPENING, a.END),
            e.TOPIC_CHANGED: Step(s.OPENING, a.OPEN_ANEW),
            **cancel,
        },
        s.LIVE: {
            e.FETCH: Step(s.FOLDING, a.FOLD),
            e.COMMIT_FAILED: fence,
            e.MISPLACED: fence,
            e.TOPIC_CHANGED: fence,
            **stay(s.LIVE, e.COMMIT_OK),
            **leave,
        },
        s.FOLDING: {
            e.FOLDED: Step(s.LIVE, a.NEXT),
            e.FOLD_FAILED: fence,
            e.COMMIT_FAILED: fence,
            e.TOPIC_CHANGED: fence,
            e.UNREADABLE_HALT: Step(s.HALTED, a.HALT),
            e.BROKEN: Step(s.HALTED, a.END),
            **stay(s.FOLDING, e.COMMIT_OK),
            **leave,
        },
        s.SETTLING: {
            e.SETTLED: Step(s.UNASSIGNED, a.CLOSE),
            # the next owner repeats everything that fails now
            **stay(s.SETTLING, e.FOLDED, e.FOLD_FAILED, e.COMMIT_OK, e.COMMIT_FAILED, e.UNREADABLE_HALT, e.BROKEN),
            **stay(s.SETTLING, e.TOPIC_CHANGED, e.REVOKED, e.STOP),
        },
        s.FENCED: {
            e.RETRY: Step(s.OPENING, a.OPEN),
            **stay(s.FENCED, e.TOPIC_CHANGED),
            **cancel,
        },
        s.HALTED: {
            e.RESUME: Step(s.LIVE, a.READ),
            e.COMMIT_FAILED: fence,
            e.TOPIC_CHANGED: fence,
            **stay(s.HALTED, e.COMMIT_OK),
            **leave,
        },
    }
    return {(state, event): step for state, row in rows.items() for event, step in row.items()}


TABLE: Final = _table()

HAND_IS_FREE: Final = (Event.OPENED, Event.FOLDED, Event.FOLD_FAILED, Event.UNREADABLE_HALT, Event.BROKEN)
"""After these no agent has a fetch of the partition's current owner."""


class ImpossibleStep(Exception):
    """An event came in a state in which it cannot come: a fault of the worker itself."""


class Around(Protocol):
    """The interface of a partition to its worker: `streams.worker.assignment.Partitions`."""

    def new_owner(self, accounts: Accounts, hooks: Hooks) -> Owner:
        """An owner, not open yet."""
        ...

    async def prepare(self, owner: Owner) -> None:
        """Get ready what the first scores of an open owner's accounts need."""
        ...

    def close(self, owner: Owner) -> None:
        """Close `owner` while work goes on."""
        ...

    def read_from(self, partition: int, offset: int) -> None:
        """Continue to read `partition` at `offset`."""
        ...

    def request_more(self) -> None:
        """A partition is free for the next fetch."""
        ...

    def opened(self, partition: int, owner: Owner, records: int) -> None:
        """An owner is open; `records` were read of the changelog."""
        ...

    def open_failed(self, error: Exception) -> None:
        """An owner could not be opened yet."""
        ...

    def fenced(self, partition: int, error: Exception) -> None:
        """All uncommitted batches are repeated because of `error`."""
        ...

    def committed(self, effects: Effects, seconds: float) -> None:
        """`effects` are committed, `seconds` after they were handed over."""
        ...

    def not_committed(self, partition: int, effects: Sequence[Effects]) -> None:
        """These effects were folded and never committed."""
        ...

    def end(self, error: Exception) -> None:
        """No retry cures `error`: the worker must end."""
        ...


class Partition:
    """One partition, in one of the states. All methods run in the worker's event loop.

    `behind` is how many records of the topic lie beyond the last fetch, or beyond where the owner opened. It is not known
    until the partition `has_opened` since the group gave it to this worker.
    """

    def __init__(self, number: int, around: Around) -> None:
        self.number = number
        self.state = State.UNASSIGNED
        self.accounts = Accounts(number)
        self.breaker = Breaker()
        self.owner: Owner | None = None
        self.behind = 0
        self.has_opened = False
        self._around = around
        self._epoch = ""
        self._task: asyncio.Task[None] | None = None
        self._hand_is_free = asyncio.Event()
        self._actions: dict[PartitionAction, Callable[[Exception | None], None]] = {
            PartitionAction.NOTHING: lambda error: None,
            PartitionAction.OPEN: lambda error: self._run(self._open(0.0)),
            PartitionAction.OPEN_LATER: self._open_later,
            PartitionAction.OPEN_ANEW: self._open_anew,
            PartitionAction.READ: self._read,
            PartitionAction.FOLD: lambda error: self._hand_is_free.clear(),
            PartitionAction.NEXT: lambda error: self._around.request_more(),
            PartitionAction.FENCE: self._fence,
            PartitionAction.HALT: lambda error: log.error("%s", error),
            PartitionAction.END: self._end,
            PartitionAction.SETTLE: lambda error: self._run(self._settle()),
            PartitionAction.CANCEL: self._cancel,
            PartitionAction.CLOSE: self._close,
        }

    def on(self, event: Event, error: Exception | None = None) -> None:
        """Take the step that the table says. Raises ImpossibleStep."""
        step = TABLE.get((self.state, event))
        if step is None:
            raise ImpossibleStep(f"partition {self.number} is {self.state.value}, yet {event.value}")
        self.state = step.state
        if event in HAND_IS_FREE:
            self._hand_is_free.set()
        self._actions[step.action](error)

    def of_owner(self, owner: Owner, event: Event, error: Exception | None = None) -> None:
        """Take the step for an event of `owner`. An event of an earlier owner is ignored.

        Ends the worker if `on` raises, because no caller above would.
        """
        if owner is self.owner:
            try:
                self.on(event, error)
            except ImpossibleStep as fault:
                self._around.end(fault)

    def committed(self, owner: Owner, effects: Effects, seconds: float) -> None:
        """See Hooks."""
        self.of_owner(owner, Event.COMMIT_OK)
        self._around.committed(effects, seconds)

    def commit_failed(self, owner: Owner, error: Exception) -> None:
        """See Hooks."""
        self.of_owner(owner, Event.COMMIT_FAILED, error)

    def not_committed(self, owner: Owner, effects: Sequence[Effects]) -> None:
        """See Hooks."""
        self._around.not_committed(self.number, effects)

    def resume(self, drains: bool = False) -> None:
        """Read on, and count unreadable events from here; with `drains` only once most events are readable."""
        self.breaker.reset(drains)
        self.on(Event.RESUME)

    async def rest(self) -> None:
        """Wait for the task of the last step: opening, settling, or its cancellation."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(self._raised)

    def _raised(self, task: asyncio.Task[None]) -> None:  # else no worker would read the partition
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._around.end(error)

    async def _open(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        owner = self._around.new_owner(self.accounts, self)
        try:
            records = await owner.open()
            await self._around.prepare(owner)
        except asyncio.CancelledError:
            self._around.close(owner)
            raise
        except (StateUnreadable, TopicUnfit) as error:
            self._opening_failed(owner, Event.BROKEN, error)
        except Exception as error:  # the client raises many kinds of errors while the cluster is unstable
            self._opening_failed(owner, Event.OPEN_FAILED, error)
        else:
            if not self._is_wanted():
                self._around.close(owner)
                return
            if owner.epoch != self._epoch:  # other events, at the same offsets
                self._epoch = owner.epoch
                self.breaker.reset()
            self.owner = owner
            self.has_opened = True
            self.behind = owner.behind  # chores may have their turn before the first fetch
            self._around.opened(self.number, owner, records)
            self.on(Event.OPENED)

    def _opening_failed(self, owner: Owner, event: Event, error: Exception) -> None:
        self._around.close(owner)
        if self._is_wanted():
            self.on(event, error)

    def _is_wanted(self) -> bool:
        """Whether the running task is not cancelled; the client swallows a cancellation while it closes connections."""
        task = asyncio.current_task()
        return task is self._task and task is not None and not task.cancelling()

    def _open_later(self, error: Exception | None) -> None:
        if error is not None:
            self._around.open_failed(error)
        self._run(self._open(TRY_AGAIN_S))

    def _open_anew(self, error: Exception | None) -> None:
        self._cancel(error)
        self._run(self._open(TRY_AGAIN_S))

    def _cancel(self, error: Exception | None) -> None:
        self.has_opened = False
        if self._task is not None:
            self._task.cancel()

    def _read(self, error: Exception | None) -> None:
        if self.owner is not None:
            self._around.read_from(self.number, self.owner.next)
            self._around.request_more()

    def _fence(self, error: Exception | None) -> None:
        owner, self.owner = self.owner, None
        if owner is not None and error is not None:
            owner.give_up()
            self._around.fenced(self.number, error)
            self._run(self._retry(owner, _pause_s(error)))

    async def _retry(self, owner: Owner, after_s: float) -> None:
        self._around.close(owner)
        await owner.let_go()
        await asyncio.sleep(after_s)
        if self._is_wanted():
            self.on(Event.RETRY)

    def _end(self, error: Exception | None) -> None:
        if error is not None:
            self._around.end(error)

    async def _settle(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_WITHIN_S):
                await self._hand_is_free.wait()
                if self.owner is not None:
                    await self.owner.settle()
        self.on(Event.SETTLED)

    def _close(self, error: Exception | None) -> None:
        self.has_opened = False
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.give_up()
            self._around.close(owner)


def _pause_s(error: Exception) -> float:
    """How long a partition waits before it opens again after `error`."""
    if refused(error) is not None:
        return REFUSED_PAUSE_S
    return FENCED_PAUSE_S if kind_of(error) == "fenced" else TRY_AGAIN_S
