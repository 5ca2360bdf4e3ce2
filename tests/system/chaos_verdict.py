"""What a fault run left behind against a single-threaded replay of the events topic through the same pure code."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiokafka.partitioner import DefaultPartitioner

from gate.core.score import Score, Stamp
from gate.records.score import decode_score, encode_score
from gate.records.topics import Topic, Topics
from gate.stores.kafka.topics import incarnation
from gate.stores.redis.accounts import RedisAccountStore
from streams.core.models.alphabet import build_alphabet
from streams.core.models.marks import CaptionReader
from streams.core.scorecard import Scorecard, without
from streams.files.model_directory import load_models
from streams.files.public_suffixes import load_web_links
from streams.files.scorecard_text import scorecard_text
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Record, process
from streams.worker.changelog import WATERMARK_KEY, PartitionReader
from tests.system.chaos_crowd import NOBODY, ExactCrowd, published, wrong_counts
from tests.system.chaos_worker import Opening

REPLAY_BATCH = 500


@dataclass(slots=True)
class Verdict:
    """The counts; all that is wrong is 0 in a clean run."""

    events: int = 0
    faults: int = 0
    held_requests: int = 0
    partitions: int = 0
    accounts: int = 0
    wrong_states: int = 0
    wrong_scores: int = 0
    wrong_in_redis: int = 0
    backfilled_scores: int = 0
    """Last scores that were made after the account's last event: shown, not judged."""
    crowd_counts: int = 0
    wrong_crowd_counts: int = 0
    low_crowd_counts: int = 0
    """Counts that lack up to `FORGOTTEN` accounts, which a crowd may forget: shown, not judged."""
    gate_answers: int = 0
    wrong_gate_answers: int = 0
    committed_twice: int = 0
    dead_letters_expected: int = 0
    dead_letters: int = 0
    behind: int = 0
    bad_exits: int = 0
    alive: int = 2
    example: str = ""

    @property
    def is_clean(self) -> bool:
        wrong = (self.wrong_states, self.wrong_scores, self.wrong_in_redis, self.wrong_crowd_counts)
        done = (self.wrong_gate_answers, self.committed_twice, self.behind, self.bad_exits)
        counted = self.accounts > 0 and self.crowd_counts > 0 and self.gate_answers > 0
        return not any(wrong + done) and self.dead_letters == self.dead_letters_expected and self.alive == 2 and counted

    def wrong(self, example: str) -> int:
        """Keep the first example; 1, for the count."""
        self.example = self.example or example
        return 1

    def counts(self) -> dict[str, object]:
        """What is printed."""
        return {name: value for name, value in asdict(self).items() if name != "example" or value}

    def text(self) -> str:
        return "\n".join(f"{name:22} {value}" for name, value in self.counts().items())


def lonely_scorecard(path: Path) -> Path:
    """The shipped scorecard without the terms that depend on who else was seen meanwhile, written to `path`."""
    path.write_text(scorecard_text(without(load_scorecard(None), ("network", "crowd", "campaign"))))
    return path


@dataclass(slots=True)
class Truth:
    """What one partition's events come to."""

    states: dict[str, bytes]
    scores: dict[str, Score]
    dead: set[int]
    events: int
    crowd: ExactCrowd


async def replay_all(
    bootstrap: str, topics: Topics, salt: bytes, card: Scorecard, openings: Iterable[tuple[int, Opening]]
) -> list[Truth]:
    """The truth of each partition; `openings` say which process went on with which partition, and where."""
    cluster, topic_id = await incarnation(bootstrap, topics.events.name)
    opened = list(openings)
    return [
        await replayed(
            bootstrap, topics, partition, salt, f"{cluster}/{topic_id}", card,
            sorted(opening for at, opening in opened if at == partition),
        )
        for partition in range(topics.events.partitions)
    ]  # fmt: skip


async def judge(bootstrap: str, topics: Topics, truths: Sequence[Truth]) -> Verdict:
    """Compare everything that is in topics."""
    verdict = Verdict(partitions=len(truths))
    heard = published([(r.key, r.value) async for r in _records(bootstrap, topics.crowd, 0)])
    verdict.crowd_counts = len(heard)
    for partition, truth in enumerate(truths):
        verdict.events += truth.events
        verdict.accounts += len(truth.states)
        verdict.dead_letters_expected += len(truth.dead)
        await _states(verdict, truth, bootstrap, topics.states, partition)
        await _scores(verdict, truth, bootstrap, topics.scores, partition)
        await _dead(verdict, truth, bootstrap, topics.dead_letters, partition)
        wrong = wrong_counts(partition, truth.crowd, heard)
        verdict.low_crowd_counts += len(wrong_counts(partition, truth.crowd, heard, forgotten=0)) - len(wrong)
        for feature, count, least, most in wrong:
            said = f"crowd count of {feature} in partition {partition} is {count}, not {least} to {most}"
            verdict.wrong_crowd_counts += verdict.wrong(said)
    return verdict


async def replayed(
    bootstrap: str,
    topics: Topics,
    partition: int,
    salt: bytes,
    epoch: str,
    card: Scorecard,
    openings: Sequence[Opening] = (),
) -> Truth:
    """Fold a partition's events in one thread, in batches of another size than any worker's.

    A batch ends where another process went on.
    """
    truth = Truth({}, {}, set(), 0, ExactCrowd())
    hashes, web, origin = Hashes(salt), load_web_links(), (topics.events.name, partition)
    stamps = Stamps(epoch, partition, (topics.events.partitions,), generation=1)
    captions = CaptionReader(build_alphabet(), load_models(None).captions)
    records = [r async for r in _records(bootstrap, topics.events, partition)]
    for first, last, life in _batches([r.offset for r in records], openings):
        truth.crowd.life = life
        batch = [Record(r.offset, r.key, r.value, r.headers, r.timestamp) for r in records[first:last]]
        effects = process(
            batch, truth.states, truth.crowd, card, hashes, web, origin, epoch, 0, stamps, captions=captions
        )
        truth.states.update(effects.states)
        truth.scores.update((score.account, score) for score, _ in effects.scores)
        truth.dead.update(letter.offset for letter in effects.dead)
    truth.events = len(records)
    return truth


def _batches(offsets: Sequence[int], openings: Sequence[Opening]) -> list[tuple[int, int, int]]:
    """Slices of the records, none across an opening, each with the life that it fell into.

    Where several processes went on from one offset, nobody knows which of them got any further: `NOBODY`.
    """
    batches: list[tuple[int, int, int]] = []
    at = 0
    end = Opening(offsets[-1] + 1 if offsets else 0, NOBODY)
    for here, after in pairwise([Opening(0, NOBODY), *openings, end]):
        while at < len(offsets) and offsets[at] < after.offset:
            last = min(at + REPLAY_BATCH, len(offsets))
            while offsets[last - 1] >= after.offset:
                last -= 1
            lives = {opening.life for opening in openings if opening.offset == here.offset}
            batches.append((at, last, lives.pop() if len(lives) == 1 else NOBODY))
            at = last
    return batches


def current_scores(truths: Sequence[Truth]) -> dict[str, Score]:
    """Each account's score in the partition that its key belongs to now, or in the one that has it."""
    of = DefaultPartitioner()
    numbers = list(range(len(truths)))
    found: dict[str, Score] = {}
    for partition, truth in enumerate(truths):
        for account, score in truth.scores.items():
            if account not in found or of(account.encode(), numbers, numbers) == partition:
                found[account] = score
    return found


def fingerprint(score: Score | None) -> dict[str, object] | None:
    """All of a score, as it is written, but for when it was made and whether it acts: by the clock, at which position,
    in which generation of scores, while the topic had how many partitions, and how far behind the partition was."""
    if score is None:
        return None
    body: dict[str, Any] = json.loads(encode_score(score))
    del body["scored_at"]
    body["stamp"]["generation"] = body["stamp"].get("generation", 0) > 0
    body["stamp"].pop("partitions", None)
    body["stamp"].pop("offset")  # `is_right` compares it
    body.pop("acts", None)  # it depends on how far behind the partition was
    return body


def is_right(found: Score | None, truth: Score) -> bool:
    """Whether a score is that of the account's last event, or was made of the same state later, without an event."""
    if found is None or found.stamp.offset < truth.stamp.offset:
        return False
    return fingerprint(found) == fingerprint(truth)


async def judge_redis(verdict: Verdict, scores: Mapping[str, Score], redis_url: str) -> None:
    """Compare what gates read."""
    store = RedisAccountStore(redis_url, bulk_deadline_s=10.0)
    await store.open()
    verdict.wrong_in_redis = 0
    try:
        accounts = list(scores)
        for at in range(0, len(accounts), 200):
            some = accounts[at : at + 200]
            for account, score in zip(some, await store.scores(some), strict=True):
                if not is_right(score, scores[account]):
                    said = f"Redis has {fingerprint(score)}, should be {fingerprint(scores[account])}"
                    verdict.wrong_in_redis += verdict.wrong(said)
    finally:
        await store.close()


async def _states(verdict: Verdict, truth: Truth, bootstrap: str, topic: Topic, partition: int) -> None:
    found: dict[str, bytes] = {}
    async for record in _records(bootstrap, topic, partition):
        if record.key != WATERMARK_KEY:
            found[record.key.decode()] = record.value
    wrong = [a for a in truth.states.keys() | found.keys() if truth.states.get(a) != found.get(a)]
    verdict.wrong_states += len(wrong)
    if wrong:
        verdict.wrong(f"state of {wrong[0]} in partition {partition}")


async def _scores(verdict: Verdict, truth: Truth, bootstrap: str, topic: Topic, partition: int) -> None:
    last: dict[str, Score] = {}
    seen: set[tuple[str, Stamp]] = set()
    async for record in _records(bootstrap, topic, partition):
        score = decode_score(record.value)
        mark = (score.account, score.stamp)
        verdict.committed_twice += mark in seen
        seen.add(mark)
        last[score.account] = score
    wrong = [a for a, score in truth.scores.items() if not is_right(last.get(a), score)]
    verdict.wrong_scores += len(wrong)
    known = truth.scores
    later = (score for a, score in last.items() if a in known and score.stamp.offset > known[a].stamp.offset)
    verdict.backfilled_scores += len(list(later))
    if wrong:
        verdict.wrong(f"score {fingerprint(last.get(wrong[0]))}, should be {fingerprint(truth.scores[wrong[0]])}")


async def _dead(verdict: Verdict, truth: Truth, bootstrap: str, topic: Topic, partition: int) -> None:
    found = [json.loads(r.value)["origin"]["offset"] async for r in _records(bootstrap, topic, partition)]
    verdict.dead_letters += len(truth.dead & set(found))
    verdict.committed_twice += len(found) - len(set(found))


async def _records(bootstrap: str, topic: Topic, partition: int) -> AsyncIterator[Any]:
    async with PartitionReader(bootstrap, topic.name, partition) as reader:
        async for records in reader.since(0):
            for record in records:
                yield record
