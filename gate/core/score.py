"""How suspicious an account is: bot, scam and their combination risk, each in [0, 1], with what carried them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One signal's part in a score: its value in [0, 1] and the weight it was given."""

    signal: str
    value: float
    weight: float


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """Which state of the stream a score follows from.

    `epoch` names the topic's incarnation (cluster and topic id), `offset` the event folded last. Within one epoch a
    score with a lower offset never replaces one with a higher; a new epoch replaces any.
    """

    epoch: str
    offset: int


class Score(msgspec.Struct, frozen=True, gc=False):
    """An account's score. `at_us` is event time, `scored_at_us` the wall clock, both µs since 1970.

    `extra` holds fields of a newer release as JSON by name, which are written again.
    """

    account: str
    bot: float
    scam: float
    risk: float
    reasons: tuple[Reason, ...]
    at_us: int
    scored_at_us: int
    stamp: Stamp
    scorecard: str
    extra: Mapping[str, bytes] = msgspec.field(default_factory=dict)
