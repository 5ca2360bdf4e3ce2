"""The store of the kill switch's shared board, and the gates' acknowledgements of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from statistics import median_high
from typing import Final, Protocol

from gate.core.pause.board import Board

LATELY_US: Final = 10_000_000
CLOCKS_AGREE_US: Final = 1_000_000
"""Two clocks that differ by less are taken for equal."""
MAY_TAKE_US: Final = 6_000_000
"""How long an acknowledgement may be under way, which looks like a gate whose clock is behind."""


LIVE_WITHIN_US: Final = 3_000_000
"""A gate is live while its last acknowledgement is no older than this. It acknowledges every second."""
SUCCEEDED_AFTER_US: Final = 1_500_000
"""A process that misses acknowledgements for this long counts as ended if another process of its name acknowledges."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A gate's statement that it obeys a board. `acknowledged_at_us` is the time by the store's clock.

    `gate` and `boot` name one process: `boot` is drawn at random when the process starts. `latest` holds the
    fingerprints of the newest pauses that the gate obeys, `digest` is a hash over all of them. `clock_us` is the gate's
    clock at that moment. `store_us` is what it takes the store's clock for, by which it begins and ends pauses; a gate of
    an earlier release does not say, and it is 0. `on_disk` is false while the gate obeys the board but cannot write it to
    disk. `left` says that the process is stopping. `unreadable` counts the board's entries that the gate cannot read and
    does not obey. `recent` has, for each class, the gate's uploads of the last `recent_s` seconds (15 minutes at most):
    all, those let in, and of these the ones whose account scores as harmless. `lifted` are pauses of the board that the
    break-glass file of the gate's host lifts: it does not obey those. `salt` is the mark of the gate's salt, `workers_salt`
    that of the workers whose hot facts it hears; either is empty where the gate does not say. `pauses_known` is false until a
    server or a snapshot has given the gate the pauses.
    """

    gate: str
    url: str
    rev: int
    acknowledged_at_us: int
    boot: str = ""
    digest: str = ""
    latest: tuple[str, ...] = ()
    clock_us: int = 0
    policy: str = ""
    on_disk: bool = True
    left: bool = False
    unreadable: int = 0
    recent: Mapping[str, tuple[int, int, int]] = field(default_factory=dict, hash=False)
    recent_s: int = 0
    store_us: int = 0
    lifted: tuple[str, ...] = ()
    salt: str = ""
    workers_salt: str = ""
    pauses_known: bool = True

    @property
    def salt_differs(self) -> bool:
        """True if the workers hash under another salt: the gate recognises none of the devices and networks they publish."""
        return bool(self.salt and self.workers_salt) and self.salt != self.workers_salt

    @property
    def process(self) -> str:
        """The process's unique name, under which the store keeps its acknowledgement."""
        return f"{self.gate} {self.boot}".rstrip()

    def is_live(self, now_us: int, within_us: int = LIVE_WITHIN_US) -> bool:
        """True for a gate that has not announced its stop and acknowledged in the last `within_us` µs of the store's clock.

        An acknowledgement with a future time was made before the clock was set back: it proves nothing.
        """
        return not self.left and abs(now_us - self.acknowledged_at_us) <= within_us


@dataclass(frozen=True, slots=True)
class UnreadableAcknowledgement:
    """An acknowledgement that cannot be read: the process that wrote it, the reason, and when the store received it."""

    process: str
    why: str
    at_us: int = 0

    @property
    def gate(self) -> str:
        """The gate's name, by which people know it."""
        return self.process.rpartition(" ")[0] or self.process

    def __str__(self) -> str:
        return f"{self.process[:256]!a}: {self.why}"


@dataclass(frozen=True, slots=True)
class Gates:
    """The acknowledgements of a span of time, in the order of the gates' names. `now_us` is the store's clock.

    `unreadable` are the entries that could not be read. `known_since_us` is the time since which the
    store has lost no acknowledgement. After a loss the store learns of a gate by its next acknowledgement.
    """

    now_us: int
    acknowledgements: tuple[Acknowledgement, ...] = ()
    unreadable: tuple[UnreadableAcknowledgement, ...] = ()
    known_since_us: int = 0

    def live(self, within_us: int = LIVE_WITHIN_US) -> list[Acknowledgement]:
        """The live processes, without those that a newer process of the same name has replaced."""
        live = [said for said in self.acknowledgements if said.is_live(self.now_us, within_us)]
        latest: dict[str, int] = {}
        for said in live:
            latest[said.gate] = max(latest.get(said.gate, 0), said.acknowledged_at_us)
        return [said for said in live if said.acknowledged_at_us > latest[said.gate] - SUCCEEDED_AFTER_US]

    @property
    def pause_clock_ahead_us(self) -> int:
        """How far the clock by which gates begin and end pauses is ahead of this store's: the median of those that
        acknowledged lately; 0 where they agree or nobody says."""
        ahead = [
            said.store_us - said.acknowledged_at_us
            for said in self.acknowledgements
            if said.store_us and not said.left and self.now_us - said.acknowledged_at_us <= LATELY_US
        ]
        found = median_high(ahead) if ahead else 0
        return 0 if -MAY_TAKE_US <= found <= CLOCKS_AGREE_US else found


class BoardStore(Protocol):
    """The kill switch's shared state: one document with all pauses.

    Order: writes are compare-and-set on the revision. Loss: a failover may lose the last write; gates that hold a
    newer revision write it back.
    """

    async def read(self) -> Board:
        """The whole board; an empty one if none is stored. Raises StoreUnavailable, StateUnreadable."""
        ...

    async def replace(self, expected_rev: int, board: Board) -> bool:
        """Write `board` and push it to all listeners if the stored revision is `expected_rev`; else return False.

        Raises StoreUnavailable.
        """
        ...

    async def durable(self) -> bool | None:
        """Whether what was just written survives the loss of one server; None if there is only one. Raises StoreUnavailable."""
        ...

    async def repair(self, board: Board) -> bool:
        """Replace a stored document that cannot be read by `board`; return whether it was replaced.

        The old document is kept under another name. Nothing is written if the stored document can be read, was changed
        meanwhile, or was written by a newer release. Raises StoreUnavailable.
        """
        ...

    def changes(self) -> AsyncIterator[Board]:
        """Yields each board that is pushed. It misses boards pushed while it reconnects, so the caller must also poll.

        Raises StoreUnavailable when the connection is lost. A document that cannot be read is skipped and counted.
        """
        ...

    async def acknowledge(self, said: Acknowledgement) -> int:
        """Store that a gate obeys a board. Returns the store's time of it in µs. Raises StoreUnavailable."""
        ...

    async def now_us(self) -> int:
        """The clock by which gates begin and end pauses, in µs since 1970: the store's own, but for the second channel, which
        follows what gates say of the first. Raises StoreUnavailable."""
        ...

    async def gates(self, within_us: int, process: str | None = None) -> Gates:
        """The gates that acknowledged in the last `within_us` µs, stopped ones included; with `process` that process alone.
        Raises StoreUnavailable.

        Growth: the store deletes a gate one hour after its last acknowledgement. Without `process` the cost grows with the
        number of gates, so a gate must not call it again and again: all of them together would overload the store.
        """
        ...

    async def count_gates(self, within_us: int) -> int:
        """How many there are in `Gates.live(within_us)`. Raises StoreUnavailable.

        One that announced its stop less than SUCCEEDED_AFTER_US ago may be among them. Costs a small part of `gates`.
        """
        ...

    async def forget(self, process: str) -> None:
        """Delete the acknowledgement of a gate process; its next one brings it back. Raises StoreUnavailable."""
        ...
