"""The kill switch as a value: all pauses that a process knows, and the merge of two views of them.

The state is a set of pauses, and two copies of one pause are joined part by part (`gate.core.pause.join`). Merging is
commutative, associative and idempotent, so the order, the channel and the number of deliveries cannot matter. A release
is a pause's next revision, keeps its expiry and is final. It stays in the set until that expiry has long passed, so that
an old copy cannot bring the pause back. For the same reason no revision may move the expiry forward in time: a pause ends
early by a release.

A newer release may write fields that this release does not know. They are kept unchanged in `extra`.
An entry that this release cannot read is kept as an `UnreadablePause`. It is not obeyed; an older, readable
revision of the same pause is obeyed until a newer readable one arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gate.core.duration import DAY_US, MINUTE_US
from gate.core.pause.entry import Extra, Pause
from gate.core.pause.join import joined

KEEP_ENDED_US = 7 * DAY_US
"""How long a pause stays in the set after its expiry, so that no late copy makes it active again."""
KEPT_SIZE = 128 * 1024
"""The size, in about bytes of their document, beyond which expired pauses are forgotten sooner: half of what a board holds."""


@dataclass(frozen=True, slots=True)
class UnreadablePause:
    """An entry that this release cannot read: its bytes, the reason, and the fields that could be read.

    `rev` is 0 if no revision could be read.
    """

    raw: bytes
    why: str = field(compare=False)
    id: str | None = None
    rev: int = 0
    expires_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """All pauses that a process knows, by id, and the pauses of the break-glass file on its own host.

    `lifted` are ids of pauses that the host's file lifts: its gate does not obey them.
    `unreadable`, `extra` and `version` belong to the shared document: entries and fields that this release only passes
    on, and the highest version that was read.
    """

    pauses: Mapping[str, Pause] = field(default_factory=dict)
    break_glass: tuple[Pause, ...] = ()
    unreadable: tuple[UnreadablePause, ...] = ()
    extra: Extra = field(default_factory=dict)
    version: int = 1
    lifted: frozenset[str] = frozenset()

    @property
    def rev(self) -> int:
        """The highest revision on the board, 0 on an empty board. Entries that cannot be read count as well."""
        readable = max((pause.rev for pause in self.pauses.values()), default=0)
        return max(readable, max((entry.rev for entry in self.unreadable), default=0))

    def active(self, now_us: int) -> list[Pause]:
        """The pauses in force, in the order of their ids."""
        return [self.pauses[key] for key in sorted(self.pauses) if self.pauses[key].active(now_us)]

    def holds(self, pause: Pause) -> bool:
        """True if nothing of this pause is missing on the board, or is overruled there by a release."""
        known = self.pauses.get(pause.id)
        return known is not None and joined(known, pause) == known


def merge(left: Board, right: Board) -> Board:
    """The pauses of both boards: two copies of one id are joined (`gate.core.pause.join`).

    The break-glass entries and what they lift are those of `left`. The unknown fields of the document come from the board
    with the higher revision.
    """
    pauses = dict(left.pauses)
    for key, pause in right.pauses.items():
        known = pauses.get(key)
        pauses[key] = pause if known is None or known is pause else joined(known, pause)
    return Board(
        pauses,
        left.break_glass,
        _unreadable(pauses, (*left.unreadable, *right.unreadable)),
        max(left, right, key=lambda board: (board.rev, sorted(board.extra.items()))).extra,
        max(left.version, right.version),
        left.lifted,
    )


def forget_ended(board: Board, now_us: int) -> Board:
    """The board without the pauses that expired more than KEEP_ENDED_US ago: no copy of them can still arrive.

    Where the rest takes more than KEPT_SIZE, those that expired first are forgotten a minute after their ramp, so that
    there is always room for the next pause; a copy of an expired pause has no effect. The pause of the highest revision
    always stays, so that the board's revision never falls.
    """
    top = board.rev
    kept = {k: p for k, p in board.pauses.items() if p.rev == top or now_us < p.expires_at_us + KEEP_ENDED_US}
    unreadable = tuple(
        entry
        for entry in board.unreadable
        if entry.rev == top or entry.expires_at_us is None or now_us < entry.expires_at_us + KEEP_ENDED_US
    )
    return replace(board, pauses=_with_room(kept, top, now_us), unreadable=unreadable)


def _with_room(pauses: dict[str, Pause], top: int, now_us: int) -> dict[str, Pause]:
    excess = sum(map(size_of, pauses.values())) - KEPT_SIZE
    if excess <= 0:
        return pauses
    expired = [p for p in pauses.values() if p.rev != top and p.expires_at_us + p.ramp_us + MINUTE_US <= now_us]
    for pause in sorted(expired, key=lambda pause: (pause.expires_at_us, pause.id)):
        del pauses[pause.id]
        excess -= size_of(pause)
        if excess <= 0:
            break
    return pauses


def size_of(pause: Pause) -> int:
    """About how many bytes the pause takes in a document, rather more than less."""
    scope, exempt = pause.scope, pause.exempt
    names = (
        scope.classes, scope.surfaces, scope.kinds, scope.countries, scope.accounts,
        exempt.classes, exempt.surfaces, exempt.kinds, exempt.countries, exempt.accounts,
    )  # fmt: skip
    texts = sum(map(len, (pause.text, pause.incident, pause.emergency, pause.public, pause.public_link)))
    return 800 + 2 * texts + sum(3 + len(name) for each in names if each for name in each)


def without_superseded(board: Board) -> Board:
    """The board without each pause that has a later revision among its unreadable entries."""
    later = {entry.id: entry.rev for entry in board.unreadable if entry.id is not None}
    return replace(board, pauses={k: p for k, p in board.pauses.items() if p.rev >= later.get(k, 0)})


def by_local_clock(board: Board, ahead_us: int, begins_ahead_us: int | None = None) -> Board:
    """The board with its times converted to a clock that is `ahead_us` ahead of the store's clock (negative: behind).

    Starts are converted by `begins_ahead_us` where the difference is not known exactly. Break-glass entries are not
    converted: they use the clock of their own host already.
    """
    starts_ahead_us = ahead_us if begins_ahead_us is None else begins_ahead_us
    if not ahead_us and not starts_ahead_us:
        return board

    def moved(pause: Pause) -> Pause:
        return replace(
            pause,
            starts_at_us=_plus(pause.starts_at_us, starts_ahead_us),
            expires_at_us=pause.expires_at_us + ahead_us,
            released_at_us=_plus(pause.released_at_us, ahead_us),
            set_at_us=_plus(pause.set_at_us, ahead_us),
        )

    return replace(board, pauses={key: moved(pause) for key, pause in board.pauses.items()})


def _plus(us: int | None, ahead_us: int) -> int | None:
    return None if us is None else us + ahead_us


def _unreadable(pauses: Mapping[str, Pause], entries: Iterable[UnreadablePause]) -> tuple[UnreadablePause, ...]:
    # a readable revision that is as high supersedes an entry, and so does a higher one that cannot be read either
    kept: dict[str | bytes, UnreadablePause] = {}
    for entry in entries:
        if entry.id is None:
            kept[entry.raw] = entry
            continue
        readable, known = pauses.get(entry.id), kept.get(entry.id)
        if readable is not None and readable.rev >= entry.rev:
            continue
        if known is None or (entry.rev, entry.raw) > (known.rev, known.raw):
            kept[entry.id] = entry
    return tuple(sorted(kept.values(), key=lambda entry: (entry.id or "", entry.rev, entry.raw)))
