"""Handles a record of a hot fact: keeps the fact, drops it, or counts that it cannot be read."""

from __future__ import annotations

from gate.core.hot_facts import HotFactTable
from gate.errors import StateUnreadable
from gate.ports.clock import Clock
from gate.records.hot_fact import decode_hot_fact, decode_hot_key


class HearHotFacts:
    """Updates `facts` from records. `unreadable` counts the records that this release cannot read."""

    def __init__(self, facts: HotFactTable, clock: Clock) -> None:
        self._facts = facts
        self._clock = clock
        self.unreadable = 0

    def hear(self, key: bytes | None, value: bytes | None) -> None:
        """Handle one record. A value of None or of no bytes means that the feature is no longer hot. Never raises."""
        try:
            named = decode_hot_key(key)
            if value:
                fact = decode_hot_fact(named, value)
                self._facts.put(fact, self._clock.now_us())
                self._facts.workers_salt = fact.salt_mark or self._facts.workers_salt
            else:
                self._facts.drop(named.kind, named.hash)
        except StateUnreadable:
            self.unreadable += 1
