"""The fault run: two workers under steady load, killed, stopped and frozen, and a broker that dies, at random moments.

    python -m tests.system.chaos --events 1000000 --faults 30 --seed 7 -o json

Afterwards every account's state and score must be what a single-threaded replay of the events topic gives, every
unreadable event must be in the dead letters, and nothing committed twice. Prints one line of JSON with the counts.
The run is decided by its seed, but for the operating system's timing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gate.errors import StoreUnavailable
from gate.local.free_port import free_port
from gate.local.jars import default_cache, fetch_jars
from gate.local.kafka import LocalKafka
from gate.local.redis import LocalRedis
from gate.records.topics import Topics
from gate.stores.kafka.events import EventProducer
from gate.stores.kafka.topics import declare, lag
from streams.files.scorecards import load_scorecard
from tests.system.chaos_load import Load
from tests.system.chaos_verdict import Verdict, judge, lonely_scorecard

GROUP = "chaos"
SALT = b"chaos"
SESSION_TIMEOUT_S = 6.0
STOP_WITHIN_S = 25.0
HUNG = 124
TICK_S = 0.05
DRAIN_WITHIN_S = 150.0
FAULTS = ("kill", "term", "freeze", "freeze long", "broker", "redis")


@dataclass(frozen=True, slots=True)
class Plan:
    """How many events, at which rate (a second), and which faults at which moments (seconds since the start)."""

    events: int
    rate: float
    faults: tuple[tuple[float, str], ...]
    seed: int


def random_plan(events: int, faults: int, seed: int) -> Plan:
    """`faults` faults, 4 to 9 s apart, spread over a load of `events` events; most are the workers'."""
    chance = random.Random(seed)
    at = 6.0
    found = []
    for _ in range(faults):
        found.append((at, chance.choices(FAULTS, weights=(3, 2, 2, 2, 1, 1))[0]))
        at += chance.uniform(4.0, 9.0)
    return Plan(events, events / max(at, 10.0), tuple(found), seed)


@dataclass(slots=True)
class Worker:
    """A worker process and what is planned for it."""

    name: str
    env: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    back_at: float | None = None
    thaw_at: float | None = None
    exits: list[int] = field(default_factory=list)
    said: int = 0

    @property
    def is_well(self) -> bool:
        """Running, and nothing is being done to it."""
        return (
            self.process is not None and self.process.poll() is None and self.back_at is None and self.thaw_at is None
        )

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.said = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "streams.worker"],
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def harm(self, kind: str, now: float, chance: random.Random) -> None:
        """Do `kind` to it and plan its recovery."""
        if kind == "kill":
            self.send(signal.SIGKILL)
            self.back_at = now + chance.uniform(0.5, 4.0)
        elif kind == "term":
            self.send(signal.SIGTERM)
            self.send(signal.SIGTERM)
            self.back_at = now + chance.uniform(2.0, 4.0)
        else:
            self.send(signal.SIGSTOP)
            longer = SESSION_TIMEOUT_S + chance.uniform(1.0, 4.0)
            self.thaw_at = now + (longer if kind == "freeze long" else chance.uniform(0.5, 4.0))

    def heal(self, now: float, end: bool = False) -> None:
        """Bring it back when its time has come, or now at the end."""
        if self.thaw_at is not None and (end or now >= self.thaw_at):
            self.send(signal.SIGCONT)
            self.thaw_at = None
        if self.back_at is not None and (end or now >= self.back_at):
            self.await_exit()
            self.start()
            self.back_at = None

    def await_exit(self) -> None:
        if self.process is not None:
            try:
                code = self.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                code = HUNG
            # an interpreter that has not come to our first line yet dies of the signal itself; nothing was begun
            began = self.log.stat().st_size > self.said
            self.exits.append(0 if code == -signal.SIGTERM and not began else code)

    def stop(self) -> None:
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        self.await_exit()


class Run:
    """One fault run against servers that are running already."""

    def __init__(self, plan: Plan, kafka: LocalKafka, redis: LocalRedis, home: Path) -> None:
        self.plan = plan
        self.topics = Topics()
        self.kafka = kafka
        self.redis = redis
        self.home = home
        self.done: list[str] = []
        self._chance = random.Random(plan.seed + 1)
        self._scorecard = lonely_scorecard(home / "scorecard.toml")
        self._card = load_scorecard(self._scorecard)
        self.workers = [Worker(name, self._env(name), home / f"worker-{name}.log") for name in "ab"]

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
        await declare(self.kafka.bootstrap, self.topics)
        for worker in self.workers:
            worker.start()
        try:
            await self._load()
            await self._drained()
            return await self._judged()
        finally:
            for worker in self.workers:
                worker.stop()

    async def _load(self) -> None:
        load = Load(self.plan.seed)
        producer = EventProducer(self.kafka.bootstrap, self.topics)
        await producer.start()
        faults = list(self.plan.faults)
        started = time.monotonic()
        sent = 0
        restarts: dict[str, asyncio.Task[None]] = {}
        sending: asyncio.Task[None] | None = None
        try:
            while sent < self.plan.events or faults:
                now = time.monotonic() - started
                if sending is None or sending.done():
                    due = min(self.plan.events, int(now * self.plan.rate)) - sent
                    sending = asyncio.create_task(self._send(producer, load.records(min(due, 5_000), time.time_ns())))
                    sent += min(due, 5_000)
                for worker in self.workers:
                    worker.heal(now)
                if faults and now >= faults[0][0]:
                    kind = faults.pop(0)[1]
                    if kind not in ("broker", "redis"):
                        self._harm(kind, now)
                    elif kind not in restarts or restarts[kind].done():
                        self.done.append(f"{now:.1f} {kind}")
                        restarts[kind] = asyncio.create_task(
                            self._restart(self.kafka if kind == "broker" else self.redis)
                        )
                await asyncio.sleep(TICK_S)
            if sending is not None:
                await sending
        finally:
            await asyncio.gather(*restarts.values())
            await producer.stop()
            for worker in self.workers:
                worker.heal(0.0, end=True)

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

    async def _send(self, producer: EventProducer, records: list[tuple[bytes | None, bytes]]) -> None:
        while True:
            try:
                await producer.send_raw(records)
                return
            except StoreUnavailable:  # sent again, perhaps twice: what counts is what the topic holds
                await asyncio.sleep(0.5)

    async def _drained(self) -> None:
        """Wait until the group has committed everything."""
        until = time.monotonic() + DRAIN_WITHIN_S
        while time.monotonic() < until:
            try:
                if await lag(self.kafka.bootstrap, GROUP, self.topics) == 0:
                    return
            except StoreUnavailable:
                pass
            await asyncio.sleep(0.5)

    async def _judged(self) -> Verdict:
        """The verdict; given a moment more while scores are still on their way to Redis."""
        until = time.monotonic() + 20.0
        while True:
            verdict = await judge(self.kafka.bootstrap, self.redis.url, self.topics, SALT, self._card)
            verdict.faults = len(self.done)
            verdict.bad_exits = sum(code not in (0, -signal.SIGKILL) for w in self.workers for code in w.exits)
            verdict.alive = sum(w.process is not None and w.process.poll() is None for w in self.workers)
            if verdict.is_clean or time.monotonic() > until:
                return verdict
            await asyncio.sleep(1.0)


@contextmanager
def servers(home: Path) -> Iterator[tuple[LocalKafka, LocalRedis]]:
    """A Kafka that can be killed and a Redis, both ended at the end."""
    kafka = LocalKafka(home / "kafka", free_port(), fetch_jars(default_cache(), _say), _say)
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


def main() -> int:
    """Run by hand; 0 when nothing was wrong."""
    parser = argparse.ArgumentParser(prog="chaos", description="The fault run of the stream worker.")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--faults", type=int, default=12)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--keep", type=Path, help="a folder to keep logs in")
    args = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    plan = random_plan(args.events, args.faults, args.seed)
    with tempfile.TemporaryDirectory() as scratch:
        home = args.keep or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        with servers(home) as (kafka, redis):
            run = Run(plan, kafka, redis, home)
            verdict = asyncio.run(run.play())
    _say(f"seed {plan.seed}, faults: {'; '.join(run.done)}")
    print(json.dumps(verdict.counts()) if args.output == "json" else verdict.text())
    return 0 if verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
