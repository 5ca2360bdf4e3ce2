"""The kill switch as a value: what a pause says, whom it meets, and how two views of the switch become one.

State is a set of pauses merged by the highest revision of each id. Merging is commutative, associative and
idempotent, so the order, the channel and the number of deliveries cannot matter. A release is a pause's next
revision; it stays until its expiry has long passed, so that an old copy cannot bring the pause back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gate.core.bucket import DAY_US, HOUR_US
from gate.core.fields.labels import scope_countries, scope_labels

DEFAULT_DURATION_US = 4 * HOUR_US
MAX_DURATION_US = DAY_US
KEEP_ENDED_US = 7 * DAY_US
"""How long an ended pause stays in the set, so that no late copy revives it."""


class Action(StrEnum):
    """What a pause does to the uploads it meets, the most restrictive first."""

    STOP = "stop"
    CHALLENGE = "challenge"
    REVIEW = "review"


STRICTNESS = {Action.STOP: 2, Action.CHALLENGE: 1, Action.REVIEW: 0}


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a pause meets: each set that is not empty must contain the upload's value. All empty: platform-wide.

    Surfaces, kinds and countries are folded as those of uploads are, so that `IMAGE` and `image` are one kind.
    """

    classes: frozenset[str] = frozenset()
    surfaces: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "surfaces", scope_labels(self.surfaces))
        object.__setattr__(self, "kinds", scope_labels(self.kinds))
        object.__setattr__(self, "countries", scope_countries(self.countries))

    def matches(self, class_: str, surface: str | None, kind: str | None, country: str | None) -> bool:
        """True where every set that is given contains the upload's value; a value the caller left out matches none."""
        return (
            (not self.classes or class_ in self.classes)
            and (not self.surfaces or surface in self.surfaces)
            and (not self.kinds or kind in self.kinds)
            and (not self.countries or country in self.countries)
        )

    @property
    def sets(self) -> dict[str, frozenset[str]]:
        """The four sets by the names under which they are written."""
        return {
            "classes": self.classes,
            "surfaces": self.surfaces,
            "kinds": self.kinds,
            "countries": self.countries,
        }

    @property
    def platform_wide(self) -> bool:
        """True where nothing narrows the scope."""
        return not any(self.sets.values())

    def __str__(self) -> str:
        if self.platform_wide:
            return "platform-wide"
        parts = (
            ("class", self.classes),
            ("surface", self.surfaces),
            ("kind", self.kinds),
            ("country", self.countries),
        )
        return " and ".join(f"{name} {'|'.join(sorted(values))}" for name, values in parts if values)


@dataclass(frozen=True, slots=True)
class Pause:
    """One entry of the kill switch. Times are µs since 1970; `id` is never reused, `rev` grows with each change."""

    id: str
    rev: int
    scope: Scope
    action: Action
    reason: str
    text: str
    owner: str
    starts_at_us: int
    expires_at_us: int
    released_at_us: int | None = None
    released_by: str | None = None

    def active(self, now_us: int) -> bool:
        """True from its start until it is released or expires."""
        return self.released_at_us is None and self.starts_at_us <= now_us < self.expires_at_us

    @property
    def ended_at_us(self) -> int:
        """When it stopped, or will stop, to have an effect."""
        return self.expires_at_us if self.released_at_us is None else min(self.released_at_us, self.expires_at_us)


@dataclass(frozen=True, slots=True)
class Board:
    """All pauses a process knows, by id, and those read from the break-glass file on its own host."""

    pauses: Mapping[str, Pause] = field(default_factory=dict)
    break_glass: tuple[Pause, ...] = ()

    @property
    def rev(self) -> int:
        """The highest revision it holds, 0 where it holds none."""
        return max((pause.rev for pause in self.pauses.values()), default=0)

    def active(self, now_us: int) -> list[Pause]:
        """The pauses in force, in the order of their ids."""
        return [self.pauses[key] for key in sorted(self.pauses) if self.pauses[key].active(now_us)]


def merge(left: Board, right: Board) -> Board:
    """Both boards' pauses, for each id the one of higher revision. The left one's break-glass entries stay."""
    pauses = dict(left.pauses)
    for key, pause in right.pauses.items():
        known = pauses.get(key)
        if known is None or _order(pause) > _order(known):
            pauses[key] = pause
    return Board(pauses, left.break_glass)


def forget_ended(board: Board, now_us: int) -> Board:
    """The board without pauses that ended so long ago that no copy of them is still on its way.

    The pause of the highest revision always stays, so that the board's revision never falls.
    """
    top = board.rev
    kept = {k: p for k, p in board.pauses.items() if p.rev == top or now_us < p.ended_at_us + KEEP_ENDED_US}
    return Board(kept, board.break_glass)


def strictest(
    pauses: Mapping[str, Pause] | tuple[Pause, ...],
    class_: str,
    surface: str | None,
    kind: str | None,
    country: str | None,
    now_us: int,
) -> Pause | None:
    """The most restrictive active pause that meets the upload; among equals the one that lasts longest."""
    found: Pause | None = None
    for pause in pauses.values() if isinstance(pauses, Mapping) else pauses:
        if not pause.active(now_us) or not pause.scope.matches(class_, surface, kind, country):
            continue
        if found is None or _severity(pause) > _severity(found):
            found = pause
    return found


def _severity(pause: Pause) -> tuple[int, int, str]:
    return STRICTNESS[pause.action], pause.expires_at_us, pause.id


def _order(pause: Pause) -> tuple[int, int, str]:
    # two different contents under one revision cannot happen by our own writers; were it to, all must still agree,
    # so a release wins and the rest is settled by content
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
    )
    return pause.rev, int(pause.released_at_us is not None), repr(content)
