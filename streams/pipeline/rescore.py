"""Scores accounts from their states, without an event: for a new scorecard, on an operator's request, or because others
share what they showed.

It does no I/O. A state that cannot be read is skipped; the fold of its next event reports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from gate.core.score import Stamp
from gate.ports.scores import EncodedScore
from streams.core.crowd import Backfill
from streams.pipeline.effects import Effects, Scores
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Scoring, again

BACKFILLED_A_TURN = 1_000


def rescored(
    accounts: Iterable[str], states: Mapping[str, bytes], scoring: Scoring, stamps: Stamps, next_offset: int
) -> Effects:
    """New scores for the `accounts` that have a state, stamped with the partition's position before `next_offset`.

    They begin a new generation, since scores of that position may exist. So each is later than every earlier score of the
    account, and earlier than the score of its next event.
    """
    stamps.begin_generation(scoring.now_us)
    return Effects.of(next_offset, Scores(_scored(accounts, states, scoring, stamps, next_offset)))


def backfilled(
    waiting: Backfill, states: Mapping[str, bytes], scoring: Scoring, stamps: Stamps, next_offset: int
) -> Effects:
    """New scores for accounts whose surroundings have changed, at most `BACKFILLED_A_TURN` of those that wait.

    They begin a new generation, since scores of the same position may exist: of the last events, or of the last turn.
    """
    stamps.begin_generation(scoring.now_us)
    made = _scored(waiting.take(stamps.partition, BACKFILLED_A_TURN), states, scoring, stamps, next_offset)
    return Effects.of(
        next_offset, Scores(made, waited=tuple([score.account for score, _ in made]), skipped=waiting.take_skipped())
    )


def _scored(
    accounts: Iterable[str], states: Mapping[str, bytes], scoring: Scoring, stamps: Stamps, next_offset: int
) -> list[EncodedScore]:
    with_state = [account for account in accounts if account in states]
    stamps.learn(with_state)
    return again(with_state, states, scoring._replace(stamped=partial(_stamped, stamps, next_offset - 1)))


def _stamped(stamps: Stamps, at: int, account: str, _: int) -> Stamp:
    return stamps.stamp(account, at)
