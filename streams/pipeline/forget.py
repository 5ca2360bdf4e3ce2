"""Makes the tombstones for states and scores of accounts that were inactive for long, by event time. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from streams.core.facts import latest_us
from streams.pipeline.effects import Effects, Scores, States


def inactive(accounts: Iterable[str], states: Mapping[str, bytes], before_us: int) -> list[str]:
    """The `accounts` whose last event of any kind was before `before_us`. A state that cannot be read stays."""
    found = []
    for account in accounts:
        state = states.get(account)
        if state is None:
            continue
        try:
            if latest_us(state) < before_us:
                found.append(account)
        except (msgspec.DecodeError, RecursionError):
            continue
    return found


def forgotten(accounts: Iterable[str], next_offset: int) -> Effects:
    """The effects that delete `accounts`: their next events are those of new accounts."""
    gone = tuple(accounts)
    return Effects.of(next_offset, States({}, gone), Scores([], gone))
