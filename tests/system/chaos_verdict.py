"""What a fault run left behind against a single-threaded replay of the events topic through the same pure code."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from gate.core.score import Score
from gate.records.score import decode_score, encode_score
from gate.records.topics import Topic, Topics
from gate.stores.kafka.topics import incarnation
from gate.stores.redis.accounts import RedisAccountStore
from streams.core.crowd import Crowd
from streams.core.scorecard import Scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Record, process
from streams.worker.changelog import WATERMARK_KEY, PartitionReader

REPLAY_BATCH = 500
SCORECARD = Path(__file__).parents[2] / "config" / "scorecard.toml"


@dataclass(slots=True)
class Verdict:
    """The counts; all that is wrong is 0 in a clean run."""

    events: int = 0
    faults: int = 0
    accounts: int = 0
    wrong_states: int = 0
    wrong_scores: int = 0
    wrong_in_redis: int = 0
    committed_twice: int = 0
    dead_letters_expected: int = 0
    dead_letters: int = 0
    bad_exits: int = 0
    alive: int = 2
    example: str = ""

    @property
    def is_clean(self) -> bool:
        wrong = self.wrong_states + self.wrong_scores + self.wrong_in_redis + self.committed_twice + self.bad_exits
        return wrong == 0 and self.dead_letters == self.dead_letters_expected and self.alive == 2 and self.accounts > 0

    def counts(self) -> dict[str, object]:
        """What is printed."""
        return {name: value for name, value in asdict(self).items() if name != "example" or value}

    def text(self) -> str:
        return "\n".join(f"{name:22} {value}" for name, value in self.counts().items())


def lonely_scorecard(path: Path) -> Path:
    """The shipped scorecard without the signals that depend on who else was seen meanwhile, written to `path`."""
    shipped = files("gate").joinpath("_config", "scorecard.toml")
    text = shipped.read_text() if shipped.is_file() else SCORECARD.read_text()
    kept = [line for line in text.splitlines() if not line.startswith(('"network.', '"crowd.'))]
    path.write_text("\n".join(kept) + "\n")
    return path


@dataclass(slots=True)
class Truth:
    """What one partition's events come to."""

    states: dict[str, bytes]
    scores: dict[str, Score]
    dead: set[int]
    events: int


async def judge(bootstrap: str, redis_url: str, topics: Topics, salt: bytes, card: Scorecard) -> Verdict:
    """Compare everything."""
    verdict = Verdict()
    cluster, topic_id = await incarnation(bootstrap, topics.events.name)
    store = RedisAccountStore(redis_url, bulk_deadline_s=10.0)
    await store.open()
    try:
        for partition in range(topics.events.partitions):
            truth = await replayed(bootstrap, topics, partition, salt, f"{cluster}/{topic_id}", card)
            verdict.events += truth.events
            verdict.accounts += len(truth.states)
            verdict.dead_letters_expected += len(truth.dead)
            await _states(verdict, truth, bootstrap, topics.states, partition)
            await _scores(verdict, truth, bootstrap, topics.scores, partition)
            await _dead(verdict, truth, bootstrap, topics.dead_letters, partition)
            await _redis(verdict, truth, store)
    finally:
        await store.close()
    return verdict


async def replayed(bootstrap: str, topics: Topics, partition: int, salt: bytes, epoch: str, card: Scorecard) -> Truth:
    """Fold a partition's events in one thread, in batches of another size than any worker's."""
    truth = Truth({}, {}, set(), 0)
    crowd, hashes = Crowd(), Hashes(salt)
    stamps = Stamps(epoch, partition, (topics.events.partitions,), generation=1)
    origin = (topics.events.name, partition)
    records = [r async for r in _records(bootstrap, topics.events, partition)]
    for at in range(0, len(records), REPLAY_BATCH):
        batch = [Record(r.offset, r.key, r.value, r.headers, r.timestamp) for r in records[at : at + REPLAY_BATCH]]
        effects = process(batch, truth.states, crowd, card, hashes, origin, epoch, 0, stamps)
        truth.states.update(effects.states)
        truth.scores.update((score.account, score) for score, _ in effects.scores)
        truth.dead.update(letter.offset for letter in effects.dead)
    truth.events = len(records)
    return truth


def fingerprint(score: Score | None) -> dict[str, object] | None:
    """All of a score, as it is written, but for when it was made and in which generation, which has to be one."""
    if score is None:
        return None
    body: dict[str, Any] = json.loads(encode_score(score))
    del body["scored_at"]
    body["stamp"]["generation"] = body["stamp"].get("generation", 0) > 0
    return body


async def _states(verdict: Verdict, truth: Truth, bootstrap: str, topic: Topic, partition: int) -> None:
    found: dict[str, bytes] = {}
    async for record in _records(bootstrap, topic, partition):
        if record.key != WATERMARK_KEY:
            found[record.key.decode()] = record.value
    wrong = [a for a in truth.states.keys() | found.keys() if truth.states.get(a) != found.get(a)]
    verdict.wrong_states += len(wrong)
    if wrong and not verdict.example:
        verdict.example = f"state of {wrong[0]} in partition {partition}"


async def _scores(verdict: Verdict, truth: Truth, bootstrap: str, topic: Topic, partition: int) -> None:
    last: dict[str, Score] = {}
    seen: set[tuple[str, int]] = set()
    async for record in _records(bootstrap, topic, partition):
        score = decode_score(record.value)
        mark = (score.account, score.stamp.offset)
        verdict.committed_twice += mark in seen
        seen.add(mark)
        last[score.account] = score
    wrong = [a for a, score in truth.scores.items() if fingerprint(score) != fingerprint(last.get(a))]
    verdict.wrong_scores += len(wrong)
    if wrong and not verdict.example:
        verdict.example = f"score {fingerprint(last.get(wrong[0]))}, should be {fingerprint(truth.scores[wrong[0]])}"


async def _dead(verdict: Verdict, truth: Truth, bootstrap: str, topic: Topic, partition: int) -> None:
    found = [json.loads(r.value)["origin"]["offset"] async for r in _records(bootstrap, topic, partition)]
    verdict.dead_letters += len(truth.dead & set(found))
    verdict.committed_twice += len(found) - len(set(found))


async def _redis(verdict: Verdict, truth: Truth, store: RedisAccountStore) -> None:
    accounts = list(truth.scores)
    for at in range(0, len(accounts), 200):
        some = accounts[at : at + 200]
        for account, score in zip(some, await store.scores(some), strict=True):
            if fingerprint(score) != fingerprint(truth.scores[account]):
                verdict.wrong_in_redis += 1
                verdict.example = verdict.example or f"Redis has {fingerprint(score)} for {account}"


async def _records(bootstrap: str, topic: Topic, partition: int) -> AsyncIterator[Any]:
    async with PartitionReader(bootstrap, topic.name, partition) as reader:
        async for records in reader.since(0):
            for record in records:
                yield record
