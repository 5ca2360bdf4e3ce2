"""The fault run: two workers under steady load, killed, stopped and frozen, and a broker that dies, at random moments.

    python -m tests.system.chaos --events 1000000 --faults 30 --seed 7 -o json

Afterwards every account's state and score must be what a single-threaded replay of the events topic gives, every
unreadable event must be in the dead letters, and nothing committed twice. Crowd counts must lie between what the
process that saw most must have counted and what is true, and a gate must answer what follows from the replayed scores.
Prints one line of JSON with the counts. The run is decided by its seed, but for the operating system's timing. A run
that gets SIGTERM ends its workers and servers first, and exits with 143.

Events may be late, hostile or delivered again; partitions may be added in the middle; and requests that steer
transactions may reach the broker long after their sender gave up:

    python -m tests.system.chaos --late 0.1 --hostile 0.05 --duplicates 0.1 --partitions 4:8 --coordinator-delay 12
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gate.errors import StoreUnavailable
from gate.local.free_port import free_port
from gate.local.jars import default_cache, fetch_jars
from gate.local.kafka import LocalKafka
from gate.local.redis import LocalRedis
from gate.records.topics import Topics
from gate.stores.kafka.topics import declare, lag
from streams.files.model_directory import load_models
from tests.proxies import FaultProxy
from tests.system.chaos_gate import answers
from tests.system.chaos_load import PLAIN, Load, Shares
from tests.system.chaos_sender import Sender
from tests.system.chaos_verdict import (
    Verdict,
    current_scores,
    judge,
    judge_redis,
    lonely_scorecard,
    replay_all,
)
from tests.system.chaos_worker import Worker
from tests.system.transaction_requests import STEERING, api_key

GROUP = "chaos"
SALT = b"chaos"
TICK_S = 0.05
DRAIN_WITHIN_S = 400.0
FAULTS = ("kill", "term", "freeze", "freeze long", "broker", "redis")


@dataclass(frozen=True, slots=True)
class Plan:
    """How many events, at which rate (a second), and which faults at which moments (seconds since the start).

    `partitions` are those of the topics, at first and from the middle of the load on. A request that steers a
    transaction is held for about `coordinator_delay_s` seconds now and then, 0 for never.
    """

    events: int
    rate: float
    faults: tuple[tuple[float, str], ...]
    seed: int
    shares: Shares = PLAIN
    partitions: tuple[int, int] = (4, 4)
    coordinator_delay_s: float = 0.0


class SlowCoordinator:
    """Holds one request of a transaction every few seconds, for about `delay_s`. `held` counts them."""

    def __init__(self, delay_s: float, chance: random.Random) -> None:
        self.held = 0
        self._delay_s = delay_s
        self._chance = chance
        self._next_at = 0.0

    def __call__(self, message: bytes) -> float:
        """Seconds that the request is held."""
        now = time.monotonic()
        if now < self._next_at or api_key(message) not in STEERING:
            return 0.0
        self._next_at = now + self._chance.uniform(3.0, 9.0)
        self.held += 1
        return self._delay_s * self._chance.uniform(0.5, 1.5)


def random_plan(
    events: int,
    faults: int,
    seed: int,
    shares: Shares = PLAIN,
    partitions: tuple[int, int] = (4, 4),
    coordinator_delay_s: float = 0.0,
) -> Plan:
    """`faults` faults, 4 to 9 s apart, spread over a load of `events` events; most are the workers'."""
    chance = random.Random(seed)
    at = 6.0
    found = []
    for _ in range(faults):
        found.append((at, chance.choices(FAULTS, weights=(3, 2, 2, 2, 1, 1))[0]))
        at += chance.uniform(4.0, 9.0)
    return Plan(events, events / max(at, 10.0), tuple(found), seed, shares, partitions, coordinator_delay_s)


class Run:
    """One fault run against servers that are running already."""

    def __init__(self, plan: Plan, kafka: LocalKafka, redis: LocalRedis, home: Path) -> None:
        self.plan = plan
        self.topics = Topics(partitions=plan.partitions[0])
        self.kafka = kafka
        self.redis = redis
        self.home = home
        self.done: list[str] = []
        self._chance = random.Random(plan.seed + 1)
        self._slow = SlowCoordinator(plan.coordinator_delay_s, random.Random(plan.seed + 2))
        self._scorecard = lonely_scorecard(home / "scorecard.toml")
        self._card = load_models(None, self._scorecard).scorecard
        self.workers = [Worker(name, self._env(name), home / f"worker-{name}.log") for name in "ab"]
        self._restarts: dict[str, asyncio.Task[None]] = {}

    def _env(self, name: str) -> dict[str, str]:
        return {
            **os.environ,
            "UPLOAD_GATE_KAFKA": self.kafka.bootstrap,
            "UPLOAD_GATE_REDIS": self.redis.url,
            "UPLOAD_GATE_GROUP": GROUP,
            "UPLOAD_GATE_SALT": SALT.decode(),
            "UPLOAD_GATE_SCORECARD": str(self._scorecard),
            "UPLOAD_GATE_STATE": str(self.home / name),
            "UPLOAD_GATE_WORKER_METRICS_PORT": str(free_port()),
        }

    async def play(self) -> Verdict:
        """Load and harm, then drain and judge."""
        async with AsyncExitStack() as around:
            if self.kafka.bootstrap.rpartition(":")[2] != str(self.kafka.port):
                port = int(self.kafka.bootstrap.rpartition(":")[2])
                await around.enter_async_context(FaultProxy(port, self.kafka.port, self._slow))
            await declare(self.kafka.bootstrap, self.topics)
            for worker in self.workers:
                worker.start()
            try:
                await self._load()
                behind = await self._drained()
                verdict = await self._judged()
                verdict.behind = behind
                return verdict
            finally:
                for worker in self.workers:
                    worker.stop()

    async def _load(self) -> None:
        load = Load(self.plan.seed, self.plan.shares)
        sender = Sender(self.kafka.bootstrap, self.topics)
        await sender.start()
        faults = list(self.plan.faults)
        started = time.monotonic()
        sent = 0
        sending: asyncio.Task[None] | None = None
        try:
            while sent < self.plan.events or faults:
                now = time.monotonic() - started
                if sending is None or sending.done():
                    if sent >= self.plan.events // 2 and self.topics.partitions != self.plan.partitions[1]:
                        self.topics = Topics(partitions=self.plan.partitions[1])
                        sending = asyncio.create_task(sender.add_partitions(self.topics))
                        self.done.append(f"{now:.1f} {self.topics.partitions} partitions")
                        continue
                    due = min(5_000, min(self.plan.events, int(now * self.plan.rate)) - sent)
                    sending = asyncio.create_task(sender.send(load.records(due, time.time_ns())))
                    sent += due
                for worker in self.workers:
                    worker.heal(now)
                if faults and now >= faults[0][0]:
                    self._strike(faults.pop(0)[1], now)
                await asyncio.sleep(TICK_S)
            if sending is not None:
                await sending
        finally:
            await asyncio.gather(*self._restarts.values())
            await sender.stop()
            for worker in self.workers:
                worker.heal(0.0, end=True)

    def _strike(self, kind: str, now: float) -> None:
        if kind not in ("broker", "redis"):
            self._harm(kind, now)
        elif kind not in self._restarts or self._restarts[kind].done():
            self.done.append(f"{now:.1f} {kind}")
            self._restarts[kind] = asyncio.create_task(self._restart(self.kafka if kind == "broker" else self.redis))

    def _harm(self, kind: str, now: float) -> None:
        well = [worker for worker in self.workers if worker.is_well]
        if well:
            worker = self._chance.choice(well)
            worker.harm(kind, now, self._chance)
            self.done.append(f"{now:.1f} {worker.name} {kind}")

    async def _restart(self, server: LocalKafka | LocalRedis) -> None:
        server.kill()
        await asyncio.sleep(self._chance.uniform(0.5, 3.0))
        await asyncio.to_thread(server.start)

    async def _drained(self) -> int:
        """Wait until the group has committed everything; how many events it still has not."""
        until = time.monotonic() + DRAIN_WITHIN_S
        behind = 1
        while behind and time.monotonic() < until:
            await asyncio.sleep(0.5)
            with suppress(StoreUnavailable):
                behind = await lag(self.kafka.bootstrap, GROUP, self.topics)
        return behind

    async def _judged(self) -> Verdict:
        """The verdict; Redis is given a moment more while scores are still on their way to it."""
        kafka = self.kafka.bootstrap
        openings = [one for number, worker in enumerate(self.workers) for one in worker.openings(number)]
        truths = await replay_all(kafka, self.topics, SALT, self._card, openings)
        scores = current_scores(truths)
        verdict = await judge(kafka, self.topics, truths)
        verdict.faults = len(self.done)
        verdict.held_requests = self._slow.held
        verdict.bad_exits = sum(code not in (0, -signal.SIGKILL) for w in self.workers for code in w.exits)
        verdict.alive = sum(w.process is not None and w.process.poll() is None for w in self.workers)
        said, until = verdict.example, time.monotonic() + 20.0
        while True:
            verdict.example = said
            await judge_redis(verdict, scores, self.redis.url)
            if not verdict.wrong_in_redis or time.monotonic() > until:
                break
            await asyncio.sleep(1.0)
        for account, answer, expected in await answers(self.redis.url, SALT.decode(), self.home, scores):
            verdict.gate_answers += 1
            if answer not in expected:
                verdict.wrong_gate_answers += verdict.wrong(f"a gate answers {answer} for {account}, not {expected[0]}")
        return verdict


@contextmanager
def servers(home: Path, proxied: bool = False) -> Iterator[tuple[LocalKafka, LocalRedis]]:
    """A Kafka that can be killed and a Redis, both ended at the end. `proxied`: clients are sent to another port."""
    jars = fetch_jars(default_cache(), _say)
    kafka = LocalKafka(home / "kafka", free_port(), jars, _say, free_port() if proxied else None)
    redis = LocalRedis(home / "redis", free_port())
    try:
        kafka.start()
        redis.start()
        yield kafka, redis
    finally:
        kafka.stop()
        redis.stop()


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise ValueError
    return value


def _partitions(text: str) -> tuple[int, int]:
    first, _, then = text.partition(":")
    numbers = int(first), int(then or first)
    if not 1 <= numbers[0] <= numbers[1]:
        raise ValueError
    return numbers


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="The fault run of the stream worker.")
    parser.add_argument("--events", type=int, default=200_000, help="events to write (default 200,000)")
    parser.add_argument("--faults", type=int, default=12, help="kills, stops and freezes (default 12)")
    parser.add_argument("--seed", type=int, default=7, help="seed of events and faults (default 7)")
    parser.add_argument(
        "--late", type=_share, default=0.0, metavar="SHARE", help="share of events up to 20 minutes late"
    )
    parser.add_argument(
        "--hostile", type=_share, default=0.0, metavar="SHARE", help="share of costly or senseless events"
    )
    parser.add_argument(
        "--duplicates", type=_share, default=0.0, metavar="SHARE", help="share of events delivered again"
    )
    parser.add_argument(
        "--partitions", type=_partitions, default=(4, 4), metavar="4:8", help="at first, and from the middle on"
    )
    parser.add_argument(
        "--coordinator-delay", type=float, default=0.0, metavar="SECONDS",
        help="requests of transactions are held about so long now and then; workers wait for 10 s",
    )  # fmt: skip
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the logs in this folder")
    return parser.parse_args()


def _end(*_: object) -> None:
    """Leaves through every `finally`, so that workers and servers end too; a second SIGTERM does not cut that short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def main() -> int:
    """Run by hand; 0 when nothing was wrong."""
    args = _options()
    signal.signal(signal.SIGTERM, _end)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    shares = Shares(args.late, args.hostile, args.duplicates)
    plan = random_plan(args.events, args.faults, args.seed, shares, args.partitions, args.coordinator_delay)
    with tempfile.TemporaryDirectory() as scratch:
        home = args.keep or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        with servers(home, proxied=plan.coordinator_delay_s > 0) as (kafka, redis):
            run = Run(plan, kafka, redis, home)
            verdict = asyncio.run(run.play())
    _say(f"seed {plan.seed}, faults: {'; '.join(run.done)}")
    print(json.dumps(verdict.counts()) if args.output == "json" else verdict.text())
    return 0 if verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
