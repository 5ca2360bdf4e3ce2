"""The agents: they fold a fetch, check that most of it is readable, and carry out its effects, all or none.

Leaves the rules to `streams.pipeline`, acting to `commit`, and a fetch that failed to `partition`.
"""

from __future__ import annotations

import logging
import operator
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import faust
import msgspec

from gate.errors import StateUnreadable, UploadGateError
from streams.core.campaigns import Campaigns
from streams.core.crowd import Backfill, Crowd
from streams.core.models.link_odds import ReadsLinks
from streams.core.models.marks import ReadsCaptions
from streams.core.scorecard import Scorecard
from streams.files.public_suffixes import load_web_links
from streams.pipeline.effects import DeadLetters, Effects, Scores
from streams.pipeline.forget import forgotten, inactive
from streams.pipeline.hashes import Hashes
from streams.pipeline.rescore import backfilled, rescored
from streams.pipeline.step import Record, Scoring, process
from streams.worker.breaker import Breaker, BreakerVerdict
from streams.worker.changelog import RESTORE
from streams.worker.chores import Chore
from streams.worker.commit import Owner
from streams.worker.garbage import no_collections
from streams.worker.lag import ACT_WITHIN_RECORDS, acts
from streams.worker.partition import Event, Partition

log = logging.getLogger("upload_gate.worker")


class Fetch(NamedTuple):
    """Records of a partition, and the owner they were requested for, whose position was where they start.

    `records` are in order of offsets; `end` is the consumer's position after them, which may lie behind
    the last one, since transaction markers and aborted records have offsets too. A fetch without records is the turn of
    the partition's chores (`streams.worker.chores`). `behind` is how
    many records the partition had beyond `end` when they were fetched.
    """

    partition: Partition
    owner: Owner
    records: Sequence[Record]
    end: int
    behind: int = 0


class MostlyUnreadable(UploadGateError):
    """Nearly all of a partition's recent events are unreadable."""


class Folding:
    """The work of the agents. `work` never raises."""

    def __init__(
        self,
        scorecard: Scorecard,
        crowd: Crowd,
        salt: bytes,
        drain_unreadable: bool = False,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
        step: Callable[..., Effects] = process,
        act_within_records: int = ACT_WITHIN_RECORDS,
        backfill: Backfill | None = None,
        campaigns: Campaigns | None = None,
        captions: ReadsCaptions | None = None,
        links: ReadsLinks | None = None,
    ) -> None:
        """`step` stands for `streams.pipeline.step.process` where something else than scoring is to be done.

        `backfill` and `campaigns` are of this crowd; without `campaigns` none are found. `captions` reads
        captions, and `links` the log odds of links; without them accounts keep no facts of these.
        """
        self._scorecard = scorecard
        self._crowd = crowd
        self._backfill = backfill or Backfill(crowd)
        self._campaigns = campaigns
        self._captions = captions
        self._links = links
        self._hashes = Hashes(salt)
        self._web = load_web_links()
        self._drain = drain_unreadable
        self._now_us = now_us
        self._step = step
        self._act_within_records = act_within_records

    async def work(self, fetch: Fetch) -> None:
        """Fold a fetch and make its effects real, or leave everything as it was."""
        partition, owner = fetch.partition, fetch.owner
        if not owner.is_open:
            return  # its partition was given up while the fetch waited for an agent
        started = time.monotonic()
        effects: Effects | None = None
        try:
            if not fetch.records:
                effects = self._chore(owner, acts(partition.behind, self._act_within_records))
                if effects is not None:
                    self._note_lagging(owner, effects, partition.behind)
                    await owner.act(effects, started)
                partition.of_owner(owner, Event.FOLDED)
                return
            with no_collections():
                effects = self._fold(fetch)
            if self._judge(fetch, effects) is BreakerVerdict.HALT:
                self._give_back(owner, effects)
                partition.of_owner(owner, Event.UNREADABLE_HALT, _halt(fetch, effects))
                return
            self._note_lagging(owner, effects, fetch.behind)
            await owner.act(_with_letters(effects, fetch, partition.breaker), started)
        except StateUnreadable as error:
            partition.of_owner(owner, Event.BROKEN, error)
        except Exception as error:  # the agents' edge: a fetch may fail, the worker goes on
            self._give_back(owner, effects)
            partition.of_owner(owner, Event.FOLD_FAILED, error)
        else:
            partition.of_owner(owner, Event.FOLDED)

    def _note_lagging(self, owner: Owner, effects: Effects, behind: int) -> None:
        if not acts(behind, self._act_within_records):
            owner.chores.lagged([score.account for score, _ in effects.scores], effects.next_offset)

    def _chore(self, owner: Owner, acts: bool) -> Effects | None:
        """The effects of the partition's next chore, None where they would change nothing."""
        states = owner.accounts.states
        chore, accounts = owner.chores.take(states, owner.next)
        campaigns, stamps = self._campaigns, owner.stamps
        scoring = Scoring(self._crowd, self._scorecard, stamps.stamp, self._now_us(), acts, campaigns)
        if chore is Chore.BACKFILL:
            if campaigns is not None:
                campaigns.look()
            return backfilled(self._backfill, states, scoring, stamps, owner.next)
        if chore is Chore.RESCORE:
            return rescored(accounts, states, scoring, stamps, owner.next)
        gone = inactive(accounts, states, owner.chores.before_us)
        return forgotten(gone, owner.next) if gone else None

    def _give_back(self, owner: Owner, effects: Effects | None) -> None:
        """Of effects that came to nothing, counts are published with a later batch, and who was taken to be scored waits."""
        if effects is None:
            return
        if effects.crowd:
            self._crowd.give_back(owner.partition, effects.crowd)
        self._backfill.give_back(owner.partition, effects.part(Scores).waited)

    def _judge(self, fetch: Fetch, effects: Effects) -> BreakerVerdict:
        """The breaker's verdict on the fetch. Logs once where a quarantine begins and where it ends."""
        breaker = fetch.partition.breaker
        breaker.drains = breaker.drains or self._drain
        before, verdict = breaker.verdict, breaker.judge(fetch.records, effects.dead)
        if verdict is BreakerVerdict.QUARANTINE and before is not verdict:
            log.warning(
                "partition %d: most of its last events are unreadable (%s), from offset %d on; the worker "
                "scores the readable ones, and keeps only some of the others as dead letters",
                fetch.partition.number, _reasons(effects), fetch.owner.next,
            )  # fmt: skip
        elif verdict is BreakerVerdict.READ and before is not verdict:
            log.warning("partition %d: most of its events are readable again", fetch.partition.number)
        return verdict

    def _fold(self, fetch: Fetch) -> Effects:
        owner = fetch.owner
        topics = owner.where.topics
        try:
            effects = self._step(
                fetch.records,
                owner.accounts.states,
                self._crowd,
                self._scorecard,
                self._hashes,
                self._web,
                (topics.events.name, owner.partition),
                owner.epoch,
                self._now_us(),
                owner.stamps,
                acts(fetch.behind, self._act_within_records),
                self._backfill,
                self._campaigns,
                self._captions,
                self._links,
            )
        except msgspec.DecodeError as error:  # events never raise it
            problem = f"partition {owner.partition} of {topics.states.name} holds what is no account state: {error}"
            raise StateUnreadable(problem, RESTORE) from error
        return replace(effects, next_offset=fetch.end)


def _with_letters(effects: Effects, fetch: Fetch, breaker: Breaker) -> Effects:
    """The effects with those dead letters that the breaker keeps, each with the position and key of its record."""
    if not effects.dead:
        return effects
    dead = effects.part(DeadLetters).only(breaker.keeps)
    records = fetch.records
    letters = [
        letter.of_record(record.value, record.headers)
        for letter in dead.letters
        for record in (records[bisect_left(records, letter.offset, key=operator.attrgetter("offset"))],)
    ]
    dead = replace(dead, letters=letters)
    return replace(effects, parts=tuple([dead if type(part) is DeadLetters else part for part in effects.parts]))


def _reasons(effects: Effects) -> str:
    return ", ".join(sorted({letter.reason for letter in effects.dead}))


def _halt(fetch: Fetch, effects: Effects) -> MostlyUnreadable:
    number = fetch.partition.number
    return MostlyUnreadable(
        f"partition {number} is not read on from offset {fetch.owner.next}: nearly all of its last events are "
        f"unreadable ({_reasons(effects)})",
        f"Correct who writes them; then `upload-gate dlq resume --partition {number}` reads on, and with --drain moves "
        "the unreadable ones to the dead letters",
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
