"""Keeps the parts of one machine's Upload Gate running: starts them, notices a crash, restarts, ends them all.

Decides when a part is restarted and in what order parts end. The parts define how they start and when they are ready;
the caller displays the messages.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gate.local.process import tail

RESTARTS = 5
RESTART_WINDOW_S = 60.0
FIRST_PAUSE_S = 0.5
MOST_OF_A_LINE = 300


class SupervisedPart(Protocol):
    """A part of the system: one of our processes or an embedded server."""

    @property
    def name(self) -> str:
        """Its name on screen."""
        ...

    def start(self) -> None:
        """Start or restart it. May block until it is ready. Raises LocalServerError."""
        ...

    def poll(self) -> int | None:
        """The exit status once it has ended, None while it runs."""
        ...

    def stop(self) -> None:
        """End it and wait until it has ended. Stopping it twice is not an error."""
        ...


@dataclass(slots=True)
class _Record:
    part: SupervisedPart
    restarts: deque[float] = field(default_factory=deque)
    due_s: float | None = None
    given_up: bool = False
    is_done: bool = False


class Supervisor:
    """Watches parts that were started. `say` gets one line per incident; times are seconds of a monotonic clock."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._records: list[_Record] = []
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._stopping = False

    def start(self, part: SupervisedPart) -> None:
        """Start a part and watch it from now on. If its start raises, so does this, and `stop` still ends the part."""
        with self._lock:
            if self._stopping:
                return
            self._records.append(_Record(part))
        part.start()

    @property
    def is_empty(self) -> bool:
        """Whether no part was ever started."""
        return not self._records

    def watch(self, now_s: float) -> None:
        """Check every part once: record crashes, and restart the parts that are due.

        Blocks while a part starts, up to seconds for Kafka; `stop` and `down` may be called from other threads then.
        """
        for record in self._records:
            if record.given_up or record.is_done or self._stopping:
                continue
            if record.due_s is not None:
                if now_s >= record.due_s:
                    self._start_again(record, now_s)
            elif (status := record.part.poll()) is not None:
                self._note_end(record, status, now_s)

    def down(self) -> list[str]:
        """The names of the parts that do not run now."""
        return [r.part.name for r in self._records if r.given_up or r.due_s is not None or _has_crashed(r)]

    def stop(self) -> None:
        """End all parts, the last started first: our own processes concurrently, then the servers."""
        with self._lock:
            self._stopping = True
            records = list(reversed(self._records))
        servers = [r.part for r in records if is_server(r.part)]
        _stop_together([r.part for r in records if not is_server(r.part)], self._say)
        _stop_together(servers, self._say)
        # a part that `watch` is restarting at this moment may come up after it was stopped
        while not self._starting.acquire(timeout=0.05):
            _stop_together([r.part for r in records if r.due_s is not None], self._say)
        self._starting.release()
        _stop_together([r.part for r in records if r.part.poll() is None], self._say)

    def _note_end(self, record: _Record, status: int, now_s: float) -> None:
        if _has_crashed(record):
            self._note_crash(record, status, now_s)
            return
        record.is_done = True
        self._say(_when_done(record.part))

    def _note_crash(self, record: _Record, status: int, now_s: float) -> None:
        recent = record.restarts
        while recent and recent[0] < now_s - RESTART_WINDOW_S:
            recent.popleft()
        what = f"{record.part.name} {_ended(status)}"
        log = getattr(record.part, "log", None)
        where = f" (log: {log}{_last_line(log)})" if log is not None else ""
        if len(recent) >= RESTARTS:
            record.given_up = True
            self._say(f"{what} for the {RESTARTS + 1}th time within a minute; it stays down, the rest runs on{where}")
            return
        pause = FIRST_PAUSE_S * 2 ** len(recent)
        record.due_s = now_s + pause
        self._say(f"{what}; starting it again in {pause:g} s{where}")

    def _start_again(self, record: _Record, now_s: float) -> None:
        record.restarts.append(now_s)
        with self._starting:
            if self._stopping:
                return
            try:
                record.part.start()
            except Exception as error:  # a part that cannot start must not take the others down
                record.due_s = now_s + FIRST_PAUSE_S * 2 ** len(record.restarts)
                record.given_up = len(record.restarts) > RESTARTS
                if not self._stopping:
                    self._say(f"{record.part.name} did not start: {error}")
                    if record.given_up:
                        self._say(f"{record.part.name} stays down, the rest runs on")
            else:
                record.due_s = None
                self._say(f"{record.part.name} runs again")


def _last_line(log: Path) -> str:
    """`, which ends with "…"`; empty for a log without a line."""
    last = tail(log, 1).strip()
    return f', which ends with "{last[:MOST_OF_A_LINE]}"' if last else ""


def _has_crashed(record: _Record) -> bool:
    """Whether the part has ended although its work is never done, or with an error."""
    status = record.part.poll()
    return status is not None and not (status == 0 and _when_done(record.part))


def _when_done(part: SupervisedPart) -> str:
    return getattr(part, "when_done", "")


def is_server(part: SupervisedPart) -> bool:
    """True for embedded servers, which end after the processes that use them."""
    return part.name in ("redis", "kafka")


def _stop_together(parts: Sequence[SupervisedPart], say: Callable[[str], None]) -> None:
    if not parts:
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        for part, future in [(part, pool.submit(part.stop)) for part in parts]:
            error = future.exception()
            if error is not None:
                say(f"{part.name} did not end cleanly: {error}")


def _ended(status: int) -> str:
    if status < 0:
        return f"was killed by signal {-status}"
    return f"was ended early by signal {status - 128}" if status > 128 else f"ended with status {status}"
