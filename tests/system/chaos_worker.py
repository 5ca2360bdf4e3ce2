"""A worker process of the fault run: harmed in one of several ways, and brought back."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from re import compile as pattern

SESSION_TIMEOUT_S = 6.0
STOP_WITHIN_S = 25.0
HUNG = 124
_STARTS = pattern(r"worker of group \S+ starts")
_OPENED = pattern(r"partition (\d+): this worker reads from offset (\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Opening:
    """A process, `life`, went on with a partition from `offset`."""

    offset: int
    life: int


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

    def openings(self, number: int) -> Iterator[tuple[int, Opening]]:
        """Which partitions its processes opened, and where; `number` tells it from other workers."""
        life = number << 16
        for line in self.log.read_text(errors="replace").splitlines():
            if _STARTS.search(line):
                life += 1
            elif opened := _OPENED.search(line):
                yield int(opened[1]), Opening(int(opened[2]), life)
