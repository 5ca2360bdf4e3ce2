"""Where a comparison runs: a scratch folder, own servers on free ports, and processes that end with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from gate.local.free_port import free_port
from gate.local.jars import default_cache, fetch_jars
from gate.local.kafka import LocalKafka
from gate.local.process import Child
from gate.local.redis import LocalRedis
from gate.local.sample import fetch, parse
from gate.records.topics import Topic
from tests.bench.report import BenchError, Spec

ROOT = Path(__file__).parents[2]
GRACE_S = 10.0
SPEAKS_WITHIN_S = 180.0


class Stage:
    """Servers start when first asked for; all ends with the `with` block. `say` gets one line a step.

    `absent` says of figures whose contender cannot be had here why.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._stack = ExitStack()
        self._redis: LocalRedis | None = None
        self._kafka: LocalKafka | None = None
        self._names = 0
        self.home = Path()
        self.absent: dict[Spec, str] = {}

    def __enter__(self) -> Stage:
        self.home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="upload-gate-bench-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def redis(self) -> LocalRedis:
        """The Redis-compatible server, started at the first call."""
        if self._redis is None:
            self._redis = LocalRedis(self.home / "redis", free_port())
            self._stack.callback(self._redis.stop)
            self._redis.start()
        return self._redis

    def kafka(self) -> LocalKafka:
        """Apache Kafka, started at the first call."""
        if self._kafka is None:
            jars = fetch_jars(default_cache(), self.say)
            self._kafka = LocalKafka(self.home / "kafka", free_port(), jars, self.say)
            self._stack.callback(self._kafka.stop)
            self._kafka.start()
        return self._kafka

    def declare(self, topics: Sequence[Topic]) -> None:
        """Create topics as the product would."""
        asyncio.run(_declare(self.kafka().bootstrap, topics))

    def fresh(self, name: str) -> str:
        """A name that no earlier round has used, fit for a topic prefix and a folder."""
        self._names += 1
        return f"{name}-{self._names}"

    @contextmanager
    def process(
        self, name: str, argv: Sequence[str], env: dict[str, str], program: Path | None = None
    ) -> Iterator[Child]:
        """A Python process, or one of `program`, with our environment and `env`; its output goes to a log; ended with
        the block."""
        child = Child(
            name,
            [str(program or sys.executable), *argv],
            log=self.home / "log" / f"{self.fresh(name)}.log",
            env={**own_environment(), **env},
            cwd=ROOT,
        )
        child.start()
        try:
            yield child
        finally:
            child.stop(GRACE_S)


def own_environment() -> dict[str, str]:
    """Our environment without what the operator of this shell has set for a system of theirs."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("UPLOAD_GATE_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


class Talker:
    """A helper of the bench that speaks in lines: it says `ready`, is told `go`, and answers with one line."""

    def __init__(self, *argv: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *argv], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._name = argv[0]

    def __enter__(self) -> Talker:
        self._expect("ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def go(self, word: str = "go") -> str:
        """Let it work, as `word` says; what it says at the end. Raises BenchError when it fails."""
        if self._process.stdin is None:
            raise BenchError(f"{self._name} cannot be spoken to")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()
        return self._line()

    def _expect(self, word: str) -> None:
        if (line := self._line()) != word:
            raise BenchError(f"{self._name} said {line!r}, not {word!r}")

    def _line(self) -> str:
        out = self._process.stdout
        if out is None or not select.select([out], [], [], SPEAKS_WITHIN_S)[0]:
            raise BenchError(f"{self._name} has said nothing for {SPEAKS_WITHIN_S:.0f} s")
        line = out.readline()  # it says one line at a time, so none waits in the buffer unseen
        if not line:
            raise BenchError(f"{self._name} ended with status {self._process.wait()}")
        return line.strip()


def await_(child: Child, ready: Callable[[], bool], what: str, timeout_s: float = 120.0, every_s: float = 0.05) -> None:
    """Wait until `ready`. Raises BenchError, with the log's end, when the child ends or the time is over."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        status = child.wait(every_s)
        if status is not None or time.monotonic() > deadline:
            why = f"did not come to {what} within {timeout_s:.0f} s" if status is None else f"ended (status {status})"
            raise BenchError(f"{child.name} {why}; the end of its log:\n{child.tail()}")


def metric(url: str, name: str) -> float:
    """The sum of a metric's samples; 0 where the page does not answer."""
    return sum(value for sample, _, value in parse(fetch(url) or "") if sample == name)


async def _declare(bootstrap: str, topics: Sequence[Topic]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(t.name, t.partitions, 1, topic_configs=t.config()) for t in topics])
    finally:
        await admin.close()
