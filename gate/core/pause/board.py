"""The kill switch as a value: the fields of a pause, the uploads it matches, and the merge of two views of the switch.

The state is a set of pauses merged by the highest revision of each id. Merging is commutative, associative and
idempotent, so the order, the channel and the number of deliveries cannot matter. A release is a pause's next
revision and keeps its expiry. It stays in the set until that expiry has long passed, so that an old copy cannot bring
the pause back. For the same reason no revision may move the expiry forward in time: a pause ends early by a release.

A newer release may write fields that this release does not know. They are kept unchanged in `extra`.
An entry that this release cannot read is kept as an `UnreadablePause`. It is not obeyed; an older, readable
revision of the same pause is obeyed until a newer readable one arrives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gate.core.duration import DAY_US, HOUR_US
from gate.core.pause.scope import STRICTNESS, Action, Scope

DEFAULT_DURATION_US = 4 * HOUR_US
MAX_DURATION_US = DAY_US
KEEP_ENDED_US = 7 * DAY_US
"""How long a pause stays in the set after its expiry, so that no late copy makes it active again."""

Extra = Mapping[str, bytes]
"""Fields of a newer release by name; each value is the JSON as it was read."""


@dataclass(frozen=True, slots=True)
class Pause:
    """One entry of the kill switch. Times are µs since 1970; `id` is never reused, `rev` grows with each change.

    A pause without `starts_at_us` is in force as soon as it arrives, regardless of the clocks. `set_at_us` tells people
    when it was written; no decision depends on it.
    """

    id: str
    rev: int
    scope: Scope
    action: Action
    reason: str
    text: str
    owner: str
    starts_at_us: int | None
    expires_at_us: int
    released_at_us: int | None = None
    released_by: str | None = None
    set_at_us: int | None = None
    extra: Extra = field(default_factory=dict, hash=False)

    def active(self, now_us: int) -> bool:
        """True from its start until it is released or expires."""
        return (
            self.released_at_us is None
            and now_us < self.expires_at_us
            and (self.starts_at_us is None or self.starts_at_us <= now_us)
        )

    @property
    def ended_at_us(self) -> int:
        """When it stopped, or will stop, to have an effect."""
        return self.expires_at_us if self.released_at_us is None else min(self.released_at_us, self.expires_at_us)


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

    `unreadable`, `extra` and `version` belong to the shared document: entries and fields that this release only passes
    on, and the highest version that was read.
    """

    pauses: Mapping[str, Pause] = field(default_factory=dict)
    break_glass: tuple[Pause, ...] = ()
    unreadable: tuple[UnreadablePause, ...] = ()
    extra: Extra = field(default_factory=dict, hash=False)
    version: int = 1

    @property
    def rev(self) -> int:
        """The highest revision on the board, 0 on an empty board. Entries that cannot be read count as well."""
        readable = max((pause.rev for pause in self.pauses.values()), default=0)
        return max(readable, max((entry.rev for entry in self.unreadable), default=0))

    def active(self, now_us: int) -> list[Pause]:
        """The pauses in force, in the order of their ids."""
        return [self.pauses[key] for key in sorted(self.pauses) if self.pauses[key].active(now_us)]

    def holds(self, pause: Pause) -> bool:
        """True if the board has exactly this pause or a later revision of it."""
        known = self.pauses.get(pause.id)
        return known is not None and (known == pause or known.rev > pause.rev)


def merge(left: Board, right: Board) -> Board:
    """The pauses of both boards: of each id the one with the higher revision.

    The break-glass entries are those of `left`. The unknown fields of the document come from the board with the higher
    revision.
    """
    pauses = dict(left.pauses)
    for key, pause in right.pauses.items():
        known = pauses.get(key)
        if known is None or _order(pause) > _order(known):
            pauses[key] = pause
    return Board(
        pauses,
        left.break_glass,
        _unreadable(pauses, (*left.unreadable, *right.unreadable)),
        max(left, right, key=lambda board: (board.rev, sorted(board.extra.items()))).extra,
        max(left.version, right.version),
    )


def forget_ended(board: Board, now_us: int) -> Board:
    """The board without the pauses that expired more than KEEP_ENDED_US ago: no copy of them can still arrive.

    The pause of the highest revision always stays, so that the board's revision never falls.
    """
    top = board.rev
    kept = {k: p for k, p in board.pauses.items() if p.rev == top or now_us < p.expires_at_us + KEEP_ENDED_US}
    unreadable = tuple(
        entry
        for entry in board.unreadable
        if entry.rev == top or entry.expires_at_us is None or now_us < entry.expires_at_us + KEEP_ENDED_US
    )
    return replace(board, pauses=kept, unreadable=unreadable)


def without_superseded(board: Board) -> Board:
    """The board without each pause that has a later revision among its unreadable entries."""
    later = {entry.id: entry.rev for entry in board.unreadable if entry.id is not None}
    return replace(board, pauses={k: p for k, p in board.pauses.items() if p.rev >= later.get(k, 0)})


def by_local_clock(board: Board, ahead_us: int) -> Board:
    """The board with its times converted to a clock that is `ahead_us` ahead of the store's clock (negative: behind).

    Break-glass entries are not converted: they use the clock of their own host already.
    """
    if not ahead_us:
        return board

    def moved(pause: Pause) -> Pause:
        starts = None if pause.starts_at_us is None else pause.starts_at_us + ahead_us
        return replace(pause, starts_at_us=starts, expires_at_us=pause.expires_at_us + ahead_us)

    return replace(board, pauses={key: moved(pause) for key, pause in board.pauses.items()})


def strictest(
    pauses: Mapping[str, Pause] | tuple[Pause, ...],
    class_: str,
    surface: str | None,
    kind: str | None,
    country: str | None,
    now_us: int,
) -> Pause | None:
    """The most restrictive active pause that matches the upload; among equals the one that lasts longest."""
    found: Pause | None = None
    for pause in pauses.values() if isinstance(pauses, Mapping) else pauses:
        if not pause.active(now_us) or not pause.scope.matches(class_, surface, kind, country):
            continue
        found = stricter(found, pause)
    return found


def stricter(one: Pause | None, other: Pause | None) -> Pause | None:
    """The more restrictive of two pauses; among equals the one that lasts longer."""
    if one is None or other is None:
        return one or other
    return one if _severity(one) >= _severity(other) else other


def _severity(pause: Pause) -> tuple[int, int, str]:
    return STRICTNESS[pause.action], pause.expires_at_us, pause.id


def _order(pause: Pause) -> tuple[int, int, str]:
    # No writer of ours puts two contents under one revision. If it happens all the same, every process must choose the
    # same one: a release wins over a pause, and otherwise the order of their contents decides.
    scope = pause.scope
    content = (
        pause.expires_at_us,
        pause.action.value,
        *(sorted(values) for values in (scope.classes, scope.surfaces, scope.kinds, scope.countries)),
        pause.reason,
        pause.text,
        pause.owner,
        pause.starts_at_us,
        pause.released_at_us,
        pause.released_by,
        pause.set_at_us,
        sorted(pause.extra.items()),
    )
    return pause.rev, int(pause.released_at_us is not None), repr(content)


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
