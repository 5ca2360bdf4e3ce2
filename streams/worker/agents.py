"""What the agents do with a fetch: fold it, see that most of it is readable, and make its effects real, all or none.

Leaves the rules to `streams.pipeline`, acting to `commit`, and what becomes of a fetch that failed to `partition`.
"""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import faust
import msgspec

from gate.errors import StateUnreadable, UploadGateError
from streams.core.crowd import Crowd
from streams.core.scorecard import Scorecard
from streams.pipeline.effects import Effects
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process
from streams.worker.changelog import RESTORE
from streams.worker.commit import Owner
from streams.worker.partition import Event, Partition
from streams.worker.settings import ACT_WITHIN_RECORDS

# both in C: an event costs a fifth of a microsecond here
_fields = operator.attrgetter("offset", "key", "value", "headers", "timestamp")
_record = functools.partial(tuple.__new__, Record)


class Fetch(NamedTuple):
    """Records of a partition, and the owner they were requested for, whose position was where they start.

    `records` are the client's, at least one, in order of offsets; `end` is the consumer's position after them, which
    may lie behind the last one, since transaction markers and aborted records have offsets too. `behind` is how many
    records the partition had beyond `end` when they were fetched.
    """

    partition: Partition
    owner: Owner
    records: Sequence[Any]
    end: int
    behind: int = 0


class MostlyUnreadable(UploadGateError):
    """Most of a partition's recent events are unreadable."""


class Folding:
    """The work of the agents. `work` never raises."""

    def __init__(
        self,
        scorecard: Scorecard,
        crowd: Crowd,
        salt: bytes,
        drain_unreadable: bool = False,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
        act_within_records: int = ACT_WITHIN_RECORDS,
    ) -> None:
        self._scorecard = scorecard
        self._crowd = crowd
        self._hashes = Hashes(salt)
        self._drain = drain_unreadable
        self._now_us = now_us
        self._act_within_records = act_within_records

    async def work(self, fetch: Fetch) -> None:
        """Fold a fetch and make its effects real, or leave everything as it was."""
        partition, owner = fetch.partition, fetch.owner
        if not owner.is_open:
            return  # its partition was given up while the fetch waited for an agent
        started = time.monotonic()
        try:
            effects = self._fold(fetch)
            if partition.breaker.is_open_after(fetch.records, effects.dead) and not self._drain:
                partition.of_owner(owner, Event.UNREADABLE_HALT, _halt(fetch, effects))
                return
            await owner.act(effects, started)
        except StateUnreadable as error:
            partition.of_owner(owner, Event.BROKEN, error)
        except Exception as error:  # the agents' edge: a fetch may fail, the worker goes on
            partition.of_owner(owner, Event.FOLD_FAILED, error)
        else:
            partition.of_owner(owner, Event.FOLDED)

    def _fold(self, fetch: Fetch) -> Effects:
        owner = fetch.owner
        topics = owner.where.topics
        try:
            effects = process(
                list(map(_record, map(_fields, fetch.records))),
                owner.accounts.states,
                self._crowd,
                self._scorecard,
                self._hashes,
                (topics.events.name, owner.partition),
                owner.epoch,
                self._now_us(),
                fetch.behind <= self._act_within_records,
            )
        except msgspec.DecodeError as error:  # events never raise it
            problem = f"partition {owner.partition} of {topics.states.name} holds what is no account state: {error}"
            raise StateUnreadable(problem, RESTORE) from error
        return replace(effects, next_offset=fetch.end)


def _halt(fetch: Fetch, effects: Effects) -> MostlyUnreadable:
    reasons = ", ".join(sorted({letter.reason for letter in effects.dead}))
    return MostlyUnreadable(
        f"partition {fetch.partition.number} is not read on from offset {fetch.owner.next}: most of its last events "
        f"are unreadable ({reasons})",
        "Find out who writes them; then restart the worker, with UPLOAD_GATE_UNREADABLE=drain to move them to the "
        "dead letters",
    )


def declare_agents(
    app: faust.App,
    fetches: Any,
    work: Callable[[Fetch], Awaitable[None]],
    concurrency: int,
    running: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Any:
    """Attach the scoring agent to `app`; `work` never raises, so no fetch is lost to a restart of the agent.

    Each of the `concurrency` agents is within `running` while it runs.
    """

    async def score(stream: faust.StreamT[Fetch]) -> None:
        with running():
            async for fetch in stream:
                await work(fetch)

    return app.agent(fetches, name="score", concurrency=concurrency)(score)
