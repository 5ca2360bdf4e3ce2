"""Produces events at a fixed rate and looks, as a gate would, for the score that follows from some of them.

Every PROBE_EVERY-th event belongs to an account that nobody has seen, so that "a score can be read" and "the score of
this event can be read" are the same. Its clock starts just before the event is handed to the producer and stops when
the gate's own store, asked every POLL_S on a connection of its own, returns the score; so a figure includes the
producer's way to the broker, and is too high by half the polling distance on average. Both ends are one process with
one clock. Answers with one JSON object: `{"sent","probes","lost","ms"}`, the delays in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from gate.stores.redis.accounts import RedisAccountStore
from tests.bench.crowd import event

ACCOUNTS = 10_000
PROBE_EVERY = 10
POLL_S = 0.002
TICK_S = 0.001
GIVE_UP_S = 10.0


class Probe:
    """One run: what is awaited, since when, and how long each took."""

    def __init__(self, store: RedisAccountStore, producer: AIOKafkaProducer, topic: str, first_account: int) -> None:
        self._store = store
        self._producer = producer
        self._topic = topic
        self._next_account = first_account
        self._rng = random.Random(first_account)
        self._awaited: dict[str, float] = {}
        self._sending = True
        self.sent = 0
        self.seconds: list[float] = []

    async def run(self, rate: int, seconds: float) -> None:
        """Send for so long at so many events a second, then wait for the last scores."""
        looking = asyncio.create_task(self._look())
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            while self.sent < passed * rate:
                await self._send()
            await asyncio.sleep(TICK_S)
        await self._producer.flush()
        self._sending = False
        await looking

    @property
    def lost(self) -> int:
        """How many scores never came."""
        return len(self._awaited)

    async def _send(self) -> None:
        probing = self.sent % PROBE_EVERY == 0
        account = self._next_account if probing else self._rng.randrange(ACCOUNTS)
        self._next_account += probing
        key, value = event(self._next_account * 1_000_000 + self.sent, account, self._rng, datetime.now(UTC))
        if probing:
            self._awaited[key.decode()] = time.perf_counter()
        await self._producer.send(self._topic, value, key)
        self.sent += 1

    async def _look(self) -> None:
        """Ask for all awaited scores at once, at a fixed distance."""
        while self._sending or self._awaited:
            due = time.perf_counter() + POLL_S
            asked = list(self._awaited)
            if asked:
                found = await self._store.scores(asked)
                now = time.perf_counter()
                for account, score in zip(asked, found, strict=True):
                    if score is not None:
                        self.seconds.append(now - self._awaited.pop(account))
                if not self._sending and now - max(self._awaited.values(), default=now) > GIVE_UP_S:
                    return
            await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def _main(given: argparse.Namespace) -> None:
    store = RedisAccountStore(given.redis, prefix=given.prefix)
    producer = AIOKafkaProducer(bootstrap_servers=given.bootstrap, acks="all", linger_ms=0)
    await store.open()
    await producer.start()
    try:
        print("ready", flush=True)
        for first, seconds in ((1 << 20, given.warm_up), (1 << 21, given.seconds)):
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
            probe = Probe(store, producer, given.topic, first)
            await probe.run(given.rate, seconds)
            delays = [round(one * 1e3, 3) for one in sorted(probe.seconds)]
            print(json.dumps({"sent": probe.sent, "probes": len(delays), "lost": probe.lost, "ms": delays}), flush=True)
    finally:
        await producer.stop()
        await store.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "topic", "redis", "prefix"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rate", type=int, required=True)
    for name in ("warm-up", "seconds"):
        parser.add_argument(f"--{name}", type=float, required=True)
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
