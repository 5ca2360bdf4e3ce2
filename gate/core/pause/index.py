"""Finds the strictest pause that holds an upload, in a time that hardly grows with the number of pauses.

Pauses are numbered by strictness, the strictest first. For each value of a set there is one integer whose bits are the
pauses that the value is in, so a few dictionary reads and ANDs leave the candidates of an upload. Those are tried in
order, and the first that holds the upload decides. A pause holds an upload if it has begun, has not ended or still ramps
down over the account, draws the account into its percent, and neither exempts the upload nor lets it end as one that was
under way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

import msgspec

from gate.core.duration import HOUR_US
from gate.core.fields.times import since_epoch_us
from gate.core.pause.entry import Pause
from gate.core.pause.ramp import position, returns_at_us, share, turn_opens_at_us
from gate.core.pause.scope import STRICTNESS, Action, Exemption, InFlight
from gate.core.request import CheckRequest

Masks = Mapping[str | None, int]


class IndexedPause(msgspec.Struct, frozen=True):
    """One pause with what checks read of it. Times are µs by the gate's clock; `begins_us` is -1 for a start on receipt."""

    pause: Pause
    begins_us: int
    ends_us: int
    over_us: int
    held: float
    """The share of accounts that it holds while it is in force."""
    drains_before_us: int
    """Uploads that began before this time may end."""
    throttles: bool
    exempt: Exemption | None
    younger_than_us: int | None
    risk_from: float | None


class Hit(msgspec.Struct, frozen=True, gc=False):
    """A pause that holds an upload, and in how many µs it lets the upload's account in again by itself."""

    pause: Pause
    wait_us: int


class PauseIndex(msgspec.Struct, frozen=True):
    """The pauses that may hold an upload. Each set maps a value to the bits of its pauses; `any_…` is for other values."""

    entries: tuple[IndexedPause, ...] = ()
    classes: Masks = {}
    any_class: int = 0
    surfaces: Masks = {}
    any_surface: int = 0
    kinds: Masks = {}
    any_kind: int = 0
    countries: Masks = {}
    any_country: int = 0
    accounts: Masks = {}
    any_account: int = 0

    def candidates(self, request: CheckRequest, class_: str) -> int:
        """The bits of the pauses whose sets all contain the upload's values.

        A pause matches by the account's class and by the class that the caller gave, which the policy may not have: a
        pause that names `zzz` stops an upload that says `zzz`.
        """
        account = request.account
        mask = self.classes.get(class_, self.any_class)
        given = account.class_
        if given is not None and given != class_:
            mask |= self.classes.get(given, 0)
        return (
            mask
            & self.surfaces.get(request.surface, self.any_surface)
            & self.kinds.get(request.media.kind, self.any_kind)
            & self.countries.get(request.country, self.any_country)
            & self.accounts.get(account.id, self.any_account)
        )


def index_of(pauses: Iterable[Pause], now_us: int) -> PauseIndex:
    """The index of those pauses that can still hold an upload. One that is over stays for an hour, in case the clock is
    set back."""
    kept = [pause for pause in pauses if _can_hold(pause, now_us)]
    kept.sort(key=_severity, reverse=True)
    entries = tuple(map(_indexed, kept))
    return PauseIndex(
        entries,
        *_masks(kept, lambda pause: pause.scope.classes),
        *_masks(kept, lambda pause: pause.scope.surfaces),
        *_masks(kept, lambda pause: pause.scope.kinds),
        *_masks(kept, lambda pause: pause.scope.countries),
        *_masks(kept, lambda pause: pause.scope.accounts),
    )


def strictest(
    index: PauseIndex, request: CheckRequest, class_: str, now_us: int, risk: float | None = None
) -> Hit | None:
    """The strictest pause that holds the upload; among equally strict ones the one that lasts longest.

    `risk` is the account's where it counts.
    """
    mask = index.candidates(request, class_)
    while mask:
        lowest = mask & -mask
        mask ^= lowest
        entry = index.entries[lowest.bit_length() - 1]
        wait_us = _held_for_us(entry, request, class_, now_us, risk)
        if wait_us is not None:
            return Hit(entry.pause, wait_us)
    return None


def refusing_risk(index: PauseIndex, request: CheckRequest, class_: str, now_us: int) -> float | None:
    """The lowest risk at which a pause by risk refuses the upload; None if there is no such pause."""
    mask = index.candidates(request, class_)
    lowest_risk: float | None = None
    while mask:
        lowest = mask & -mask
        mask ^= lowest
        entry = index.entries[lowest.bit_length() - 1]
        risk = entry.risk_from
        if risk is None or entry.pause.action is Action.REVIEW:
            continue
        if lowest_risk is not None and risk >= lowest_risk:
            continue
        if _held_for_us(entry, request, class_, now_us, risk) is not None:
            lowest_risk = risk
    return lowest_risk


def _held_for_us(
    entry: IndexedPause, request: CheckRequest, class_: str, now_us: int, risk: float | None
) -> int | None:
    """How long the pause still holds the upload, whose sets match; None if it does not hold it."""
    if now_us < entry.begins_us or now_us >= entry.over_us:
        return None
    account = request.account
    if entry.risk_from is not None and (risk is None or risk < entry.risk_from):
        return None
    if entry.younger_than_us is not None:
        made = account.created_at
        if made is None or now_us - since_epoch_us(made) >= entry.younger_than_us:
            return None
    if entry.exempt is not None and _is_exempt(entry.exempt, request, class_):
        return None
    began = request.started_at
    if began is not None and since_epoch_us(began) < entry.drains_before_us:
        return None
    if entry.held == 1.0 and entry.over_us == entry.ends_us:
        back_us = entry.ends_us
    else:
        held, ramp_us = entry.held, entry.over_us - entry.ends_us
        place = position(entry.pause.drawn_by, account.id)
        if place >= held * share(now_us, entry.ends_us, ramp_us):
            return None
        back_us = returns_at_us(place, held, entry.ends_us, ramp_us)
    if entry.throttles:
        opens_us = turn_opens_at_us(entry.pause.drawn_by, account.id, entry.pause.factor, now_us)
        if opens_us is None:
            return None
        back_us = min(back_us, opens_us)
    return max(1, back_us - now_us)


def _is_exempt(exempt: Exemption, request: CheckRequest, class_: str) -> bool:
    account = request.account
    return (
        class_ in exempt.classes
        or account.class_ in exempt.classes
        or request.surface in exempt.surfaces
        or request.media.kind in exempt.kinds
        or request.country in exempt.countries
        or account.id in exempt.accounts
        or (exempt.verified and account.verified is True)
    )


def _can_hold(pause: Pause, now_us: int) -> bool:
    if pause.awaits_approval or now_us >= pause.over_at_us + HOUR_US:
        return False
    return pause.released_at_us is None or pause.has_ramp


def _indexed(pause: Pause) -> IndexedPause:
    exempt = pause.exempt
    if pause.action is Action.ALLOW_ONLY:
        exempt = replace(exempt, verified=True)
    begins_us = -1 if pause.starts_at_us is None else pause.starts_at_us
    written_us = pause.set_at_us if pause.starts_at_us is None else pause.starts_at_us
    drains = pause.in_flight is InFlight.DRAIN and written_us is not None
    return IndexedPause(
        pause,
        begins_us,
        pause.ended_at_us,
        pause.over_at_us,
        pause.percent / 100,
        written_us if drains and written_us is not None else -1,
        pause.action is Action.THROTTLE,
        exempt or None,
        pause.scope.younger_than_us,
        pause.scope.risk_from,
    )


def _masks(pauses: list[Pause], values_of: Callable[[Pause], frozenset[str]]) -> tuple[Masks, int]:
    """The bits of the pauses by each value that a pause names, and those for all other values."""
    sets = [values_of(pause) for pause in pauses]
    others = sum(1 << number for number, values in enumerate(sets) if not values)
    masks: dict[str | None, int] = {}
    for number, values in enumerate(sets):
        for value in values:
            masks[value] = masks.get(value, others) | 1 << number
    return masks, others


def _severity(pause: Pause) -> tuple[int, int, str]:
    return STRICTNESS[pause.action], pause.expires_at_us, pause.id


EMPTY: Final = PauseIndex()
