"""When the evidence against an account was given, and how many reporters gave theirs lately."""

from __future__ import annotations

from struct import Struct

from gate.core.duration import MINUTE_US
from streams.core.facts import Facts
from streams.core.migration import WEEK_US
from streams.core.window import decayed

_reports = Struct(">IL").iter_unpack


def reporters_lately(facts: Facts) -> float:
    """Distinct reporters as of the account's last event: each counts by its standing and halves with every week."""
    if not facts.reporters:
        return 0.0
    minutes = facts.latest_us // MINUTE_US
    week = WEEK_US // MINUTE_US
    return sum([decayed(1.0, max(0, minutes - at), week) for at, _ in _reports(facts.reporters)])


def last_evidence_us(facts: Facts) -> int:
    """The time of the last evidence against the account, µs of event time: from then on its score decays.

    An upload that was let in is evidence, and so are a report, a removal by others and a failed challenge. A refused
    attempt is not, as otherwise repeated attempts would keep a score up; nor is a passed challenge. Removals and failed
    challenges are counted by the week, so one counts until the end of its week. Without evidence, the last event's time.
    """
    latest_us, at_us = facts.latest_us, facts.last_us
    if not (facts.reporters or facts.removals or facts.failed):  # nearly all of them
        return at_us if 0 < at_us < latest_us else latest_us
    if facts.reporters:  # the latest comes first
        at_us = max(at_us, int.from_bytes(facts.reporters[:4], "big") * MINUTE_US)
    for counter in (facts.removals, facts.failed):
        if counter:
            at_us = max(at_us, (counter[0] + 1) * WEEK_US)
    return min(at_us, latest_us) if at_us else latest_us
