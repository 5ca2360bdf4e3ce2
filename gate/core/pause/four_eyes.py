"""Which changes of the kill switch need a second person, as a table.

The policy lists the changes that need one (`second_person` in `[controls]`); by default these are all that the table has.
Such a change is written as a proposal and comes into force when another person approves it. In an emergency one person may
go ahead and gives a reason, which is kept with the pause and in the audit log.

One person may tighten at once, and may take a mistake back. So for the first hour of a pause (`alone_for` in `[controls]`)
the person who set it acts alone: a platform-wide pause, or one that exempts uploads, is in force for that long before
anybody has approved it, and the person may release it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

from gate.core.duration import HOUR_US
from gate.core.pause.entry import MAX_DURATION_US, Pause, PauseChange, Proposal
from gate.core.pause.scope import PauseMode


class TwoPersonRule(StrEnum):
    """A kind of change that may need a second person."""

    LONG = "over-24h"
    EARLY = "release-early"
    EXEMPT = "exempt"
    PLATFORM_WIDE = "platform-wide"


MEANINGS: Final[Mapping[TwoPersonRule, str]] = {
    TwoPersonRule.LONG: "lasts over 24h, and one person may set 24h",
    TwoPersonRule.EARLY: "is released before it ends",
    TwoPersonRule.EXEMPT: "exempts uploads",
    TwoPersonRule.PLATFORM_WIDE: "is platform-wide",
}
BY_DEFAULT: Final = frozenset(TwoPersonRule)
ALONE_BY_DEFAULT_US: Final = HOUR_US
WITHOUT_A_POLICY: Final = frozenset((TwoPersonRule.LONG,))
"""The rules that hold for a caller who knows no policy."""


def _is_long(pause: Pause) -> bool:
    begins_us = pause.begins_at_us
    return begins_us is not None and pause.expires_at_us - begins_us > MAX_DURATION_US


def _is_platform_wide(pause: Pause) -> bool:
    return pause.scope.platform_wide


def _exempts(pause: Pause) -> bool:
    return bool(pause.exempt)


def _always(pause: Pause) -> bool:
    return True


TABLE: Final[Mapping[PauseChange, Mapping[TwoPersonRule, Callable[[Pause], bool]]]] = {
    PauseChange.SET: {
        TwoPersonRule.LONG: _is_long,
        TwoPersonRule.EXEMPT: _exempts,
        TwoPersonRule.PLATFORM_WIDE: _is_platform_wide,
    },
    PauseChange.RELEASE: {TwoPersonRule.EARLY: _always, TwoPersonRule.PLATFORM_WIDE: _is_platform_wide},
    PauseChange.EXTEND: {
        TwoPersonRule.LONG: _is_long,
        TwoPersonRule.EXEMPT: _exempts,
        TwoPersonRule.PLATFORM_WIDE: _is_platform_wide,
    },
}
"""The rules that look at each change, with the test of the pause as it would become."""


def broken_rules(
    change: PauseChange, pause: Pause, rules: Collection[TwoPersonRule], now_us: int = 0
) -> tuple[TwoPersonRule, ...]:
    """The rules of the policy under which one person alone may not make `pause` by this change.

    A dry run acts on nothing, and a lease ends by itself within a minute: neither needs a second person. If such a
    pause is enforced, or a person takes it over, at `now_us`, it lasts from then on.
    """
    if pause.mode is PauseMode.DRY_RUN or pause.machine:
        return ()
    if change is PauseChange.SET and pause.begins_at_us is not None:
        pause = replace(pause, starts_at_us=max(pause.begins_at_us, now_us))
    return tuple(rule for rule, applies in TABLE[change].items() if rule in rules and applies(pause))


def alone_until_us(change: PauseChange, pause: Pause, now_us: int, alone_us: int) -> int:
    """Until when the person who set the pause acts alone. For a pause that is set or enforced only now it counts from now."""
    begins_us = now_us if pause.begins_at_us is None else pause.begins_at_us
    return (max(begins_us, now_us) if change is PauseChange.SET else begins_us) + alone_us


def unapproved_end_us(active: Iterable[Pause]) -> int:
    """When the first of these pauses ends whose rest waits for a second person; 0 if there is none."""
    waiting = (
        pause.expires_at_us for pause in active if pause.proposal is not None and _extends(pause, pause.proposal)
    )
    return min(waiting, default=0)


def _extends(pause: Pause, proposal: Proposal) -> bool:
    return proposal.change is PauseChange.EXTEND and (proposal.expires_at_us or 0) > pause.expires_at_us
