"""What an agent does with a batch: fold it, see that it is sane, hand it to its owner. One batch, one veto.

Leaves the rules to `process`, acting to `commit`, and what becomes of a failed batch to `owners`.
"""

from __future__ import annotations

import functools
import logging
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gate.errors import StateUnreadable
from streams.core.crowd import Crowd
from streams.core.scorecard import Scorecard
from streams.pipeline.effects import Effects
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process
from streams.worker.changelog import RESTORE
from streams.worker.commit import Misplaced, Owner
from streams.worker.owners import Owners

log = logging.getLogger("upload_gate.worker")

RECENT = 2_000
JUDGED_FROM = 1_000

# both in C: an event costs a fifth of a microsecond here
_fields = operator.attrgetter("offset", "key", "value", "headers", "timestamp")
_record = functools.partial(tuple.__new__, Record)


class Unreadable:
    """How many of a partition's recent events were unreadable; forgets half of what it knew now and then."""

    def __init__(self) -> None:
        self._events = 0
        self._dead = 0

    def is_most_after(self, events: int, dead: int) -> bool:
        """Count a batch; True when most of at least 1,000 recent events were unreadable."""
        self._events += events
        self._dead += dead
        judged = self._events >= JUDGED_FROM and self._dead * 2 > self._events
        if self._events > RECENT:
            self._events //= 2
            self._dead //= 2
        return judged


class Folding:
    """The work of the agents. `work` never raises."""

    def __init__(
        self,
        owners: Owners,
        scorecard: Scorecard,
        crowd: Crowd,
        salt: bytes,
        drain_unreadable: bool = False,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._owners = owners
        self._scorecard = scorecard
        self._crowd = crowd
        self._hashes = Hashes(salt)
        self._drain = drain_unreadable
        self._now_us = now_us
        self._unreadable: dict[int, Unreadable] = {}

    async def work(self, owner: Owner, messages: Sequence[Any]) -> None:
        """Fold a fetch of the client's records and make its effects real, or leave everything as it was."""
        started = time.monotonic()
        try:
            if owner.live:
                effects = self._fold(owner, messages)
                if not self._halts(owner, effects, len(messages)):
                    await owner.act(effects, started)
        except Exception as error:  # the agents' edge: a batch may fail, the worker goes on
            self._owners.failed(owner, error)
        finally:
            owner.busy = False
            self._owners.wake.set()

    def _fold(self, owner: Owner, messages: Sequence[Any]) -> Effects:
        if messages[0].offset < owner.next:
            raise Misplaced(f"a batch from offset {messages[0].offset} where {owner.next} was due")
        topics = owner.where.topics
        try:
            return process(
                list(map(_record, map(_fields, messages))),
                owner.accounts.states,
                self._crowd,
                self._scorecard,
                self._hashes,
                (topics.events.name, owner.partition),
                owner.epoch,
                self._now_us(),
            )
        except msgspec.DecodeError as error:  # events never raise it
            problem = f"partition {owner.partition} of {topics.states.name} holds what is no account state: {error}"
            raise StateUnreadable(problem, RESTORE) from error

    def _halts(self, owner: Owner, effects: Effects, events: int) -> bool:
        """Stop a partition whose events are mostly unreadable, before this batch is committed, rather than drain it."""
        recent = self._unreadable.setdefault(owner.partition, Unreadable())
        if not recent.is_most_after(events, len(effects.dead)) or self._drain:
            return False
        self._owners.halted.add(owner.partition)
        reasons = sorted({letter.reason for letter in effects.dead})
        log.error(
            "partition %d is not read on from offset %d: most of its last events are unreadable (%s). Find out who "
            "writes them; then restart the worker, with UPLOAD_GATE_UNREADABLE=drain to move them to the dead letters",
            owner.partition,
            owner.next,
            ", ".join(reasons),
        )
        return True
