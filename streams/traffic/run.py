"""Sends due uploads to the gate, reports their events to Kafka, and later what became of them."""

from __future__ import annotations

import asyncio
import heapq
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from gate.core.event import Event
from gate.errors import StoreUnavailable
from gate.records.topics import Topics
from streams.lab.rows import read, shifted
from streams.traffic.gate_client import GateClient, GateUnreachable
from streams.traffic.send_events import KafkaEvents
from streams.traffic.simulate import (
    LiveTraffic,
    Truth,
    Upload,
    aftermath,
)

TICK_S = 0.1


CHECKS_A_CALL = 32


MAX_FOLLOWING = 20_000
"""How many later events, such as reports and removals, are kept until they are due. Further uploads get none."""


LINGER_US = 5_000_000
"""At the end of a recording events that are due so soon are waited for; later ones, such as reports, are not sent."""
LET_IN = (None, "allow", "review")
MOST_REASONS = 8
"""The most reasons of one outage that are logged, since a server may answer differently each time."""


@dataclass(frozen=True, slots=True)
class TrafficOptions:
    """The uploads to send, and where: those of `replay` at `speed` × recorded, else `rate` simulated ones a second.

    Checks carry the token of UPLOAD_GATE_TOKEN, else that of `token_file`, which may appear or change while it runs.
    """

    gate: str
    kafka: str
    rate: float = 20.0
    seed: int = 7
    replay: Path | None = None
    speed: float = 1.0
    seconds: float | None = None
    token_file: Path | None = None
    topic_prefix: str = ""

    def token(self) -> str | None:
        """The token that the gate asks for, None if there is none."""
        given = os.environ.get("UPLOAD_GATE_TOKEN")
        if given or self.token_file is None:
            return given or None
        try:
            return self.token_file.read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None


@dataclass(slots=True)
class Sent:
    """What became of the uploads of one run: how many there were, the gate decided, and events Kafka stored. `signal` is
    the one that cut a recording short, 0 for none."""

    uploads: int = 0
    decided: int = 0
    events: int = 0
    signal: int = 0


class Source(Protocol):
    """A source of uploads."""

    def due(self, now_us: int) -> list[Upload]:
        """The uploads since the last call, in order of time."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether no more uploads will come."""
        ...


class Events(Protocol):
    """A sink of events."""

    async def send_many(self, events: Sequence[Event]) -> object:
        """Write events. Raises StoreUnavailable if Kafka does not take them."""
        ...


class Simulated:
    """Uploads at a steady rate. After a gap of more than a second (a suspended machine) missed uploads are skipped."""

    def __init__(self, seed: int, start_us: int, rate: float) -> None:
        self._live = LiveTraffic(seed, start_us, rate)
        self._random = Random(seed)
        self._rate = rate
        self._next_us = start_us

    def due(self, now_us: int) -> list[Upload]:
        """See Source."""
        self._next_us = max(self._next_us, now_us - 1_000_000)
        found = []
        while self._next_us <= now_us:
            found.append(self._live.next(self._next_us))
            self._next_us += max(1, round(self._random.expovariate(self._rate) * 1e6))
        return found

    @property
    def is_over(self) -> bool:
        """See Source: never."""
        return False


class Recording:
    """The uploads of a labelled stream, shifted in time so that they begin now."""

    def __init__(self, file: Path, start_us: int, speed: float) -> None:
        self._uploads = shifted(read(file).uploads, start_us, speed)
        self._ahead = next(self._uploads, None)

    def due(self, now_us: int) -> list[Upload]:
        """See Source."""
        found = []
        while self._ahead is not None and self._ahead.at_us <= now_us:
            truth = Truth.FARM if self._ahead.label == 1 else Truth.PERSON
            found.append(Upload(self._ahead.at_us, self._ahead.request, truth))
            self._ahead = next(self._uploads, None)
        return found

    @property
    def is_over(self) -> bool:
        """See Source."""
        return self._ahead is None


class Traffic:
    """One run: it checks due uploads, reports their events, and later reports what became of them."""

    def __init__(self, source: Source, gate: GateClient, events: Events, say: Callable[[str], None], seed: int) -> None:
        self._source = source
        self._gate = gate
        self._events = events
        self._random = Random(seed)
        self._following: list[tuple[int, int, Event]] = []
        self._count = 0
        self.sent = Sent()
        self._gate_link = _Link("the gate", say)
        self._kafka_link = _Link("Kafka", say)

    async def step(self, now_us: int) -> int:
        """Send the uploads and events that are due at `now_us`. Returns the number of uploads."""
        uploads = self._source.due(now_us)
        events: list[Event] = []
        for start in range(0, len(uploads), CHECKS_A_CALL):
            part = uploads[start : start + CHECKS_A_CALL]
            for upload, decision in zip(part, await self._check(part), strict=True):
                events.append(upload.event(decision))
                if decision in LET_IN:
                    self._follow(upload)
        while self._following and self._following[0][0] <= now_us:
            events.append(heapq.heappop(self._following)[2])
        if events:
            await self._send(events)
        self.sent.uploads += len(uploads)
        return len(uploads)

    def is_over(self, now_us: int) -> bool:
        """Whether no more uploads will come, and no event of the next seconds is left to send."""
        return self._source.is_over and not (self._following and self._following[0][0] <= now_us + LINGER_US)

    async def _check(self, uploads: Sequence[Upload]) -> Sequence[str | None]:
        try:
            decisions = await self._gate.check_many([upload.request for upload in uploads])
        except GateUnreachable as error:
            self._gate_link.lost(f"{error}; uploads go on without a decision")
            return [None] * len(uploads)
        self._gate_link.works()
        self.sent.decided += len(uploads)
        return decisions

    async def _send(self, events: Sequence[Event]) -> None:
        try:
            await self._events.send_many(events)
        except StoreUnavailable as error:
            self._kafka_link.lost(f"events are lost: {error}")
        else:
            self._kafka_link.works()
            self.sent.events += len(events)

    def _follow(self, upload: Upload) -> None:
        if len(self._following) < MAX_FOLLOWING:
            for at_us, event in aftermath(upload, self._random):
                self._count += 1
                heapq.heappush(self._following, (at_us, self._count, event))


class _Link:
    """Logs why a server is away, each of the first reasons once, and logs once that it is back."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._lost: set[str] = set()

    def lost(self, why: str) -> None:
        if why not in self._lost and len(self._lost) < MOST_REASONS:
            self._lost.add(why)
            self._say(why)

    def works(self) -> None:
        if self._lost:
            self._lost.clear()
            self._say(f"{self._name} answers again")


async def run(options: TrafficOptions, say: Callable[[str], None]) -> Sent:
    """Send traffic until SIGTERM or SIGINT, to the end of a recording, or for `options.seconds`.

    Raises OperatorError for a stream that cannot be used.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    got: list[int] = []

    def end(signum: int) -> None:
        got.append(signum)
        ended.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        # a second signal changes nothing: the end is already under way
        loop.add_signal_handler(signum, end, signum)
    start_us = _now_us()
    source: Source
    if options.replay is None:
        source = Simulated(options.seed, start_us, options.rate)
    else:
        source = await asyncio.to_thread(Recording, options.replay, _now_us(), options.speed)
    gate, events = GateClient(options.gate, options.token), KafkaEvents(options.kafka, Topics(options.topic_prefix))
    traffic = Traffic(source, gate, events, say, options.seed)
    try:
        while not ended.is_set() and (options.seconds is None or _now_us() - start_us < options.seconds * 1e6):
            await traffic.step(_now_us())
            if traffic.is_over(_now_us()):
                break
            try:
                await asyncio.wait_for(ended.wait(), TICK_S)
            except TimeoutError:
                pass
    finally:
        await gate.close()
        await events.close()
    if got and options.replay is not None and not traffic.is_over(_now_us()):
        traffic.sent.signal = got[0]
    return traffic.sent


def _now_us() -> int:
    return time.time_ns() // 1000
