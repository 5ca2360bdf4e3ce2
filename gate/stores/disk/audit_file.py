"""The audit log of a host: `audit.jsonl` in the state directory, appended under a lock and synced.

It is also the spool of the records for Kafka: a gate of the host, or `upload-gate audit send`, sends what is not sent
yet and keeps the place in `audit.sent`.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gate.errors import StateUnreadable
from gate.ports.audit import AuditEntry
from gate.records.audit import FIRST, MAX_LINE, decode_audit, encode_audit
from gate.stores.disk.ownership import GROUP_ONLY, make_folder, open_shared, replace_shared

FILE: Final = "audit.jsonl"
SENT: Final = "audit.sent"


class AuditFile:
    """An AuditLog in `directory`. Calls block. `chain` names this log among those of all hosts. `recorded` hears of each
    record that was written, and where.
    """

    def __init__(
        self, directory: Path, chain: str, now_us: Callable[[], int], say: Callable[[str], None],
        recorded: Callable[[Path], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.path = directory / FILE
        self._sent = directory / SENT
        self.chain = chain
        self._now_us = now_us
        self._say = say
        self._recorded = recorded

    def record(self, entry: AuditEntry) -> None:
        """See AuditLog."""
        self.record_all((entry,))

    def record_all(self, entries: Iterable[AuditEntry]) -> None:
        """Append the entries, one after the other, as `record` does."""
        try:
            self._append(entries)
        except (OSError, StateUnreadable) as error:
            self._say(f"warning: the audit log {self.path} cannot be written: {error}")
        else:
            self._recorded(self.path)

    def lines(self) -> Iterator[bytes]:
        """The lines of the log; none where there is no log. Raises OSError."""
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")

    def unsent(self, most: int) -> tuple[list[bytes], int]:
        """The first `most` lines that were not sent yet, and the place after them. Raises OSError."""
        place = self._sent_place()
        lines: list[bytes] = []
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(place)
            for line in file:
                if len(lines) == most or not line.endswith(b"\n"):
                    break
                place += len(line)
                lines.append(line.rstrip(b"\n"))
        return lines, place

    def mark_sent(self, place: int) -> None:
        """Remember that the log was sent up to `place`. Raises OSError."""
        replace_shared(self._sent, f"{place}\n".encode(), GROUP_ONLY)

    def _sent_place(self) -> int:
        with suppress(OSError, ValueError):
            place = int(self._sent.read_text())
            if 0 <= place <= self.path.stat().st_size:
                return place
        return 0

    def _append(self, entries: Iterable[AuditEntry]) -> None:
        make_folder(self.path.parent)
        with open_shared(self.path, GROUP_ONLY) as file, _locked(number := file.fileno()):
            seq, prev, is_torn = _end_of(number)
            data = b"\n" if is_torn else b""
            for count, entry in enumerate(entries, seq + 1):
                line = encode_audit(entry, self.chain, count, self._now_us(), prev)
                prev, data = decode_audit(line).hash, data + line + b"\n"
            if os.write(number, data) != len(data):
                raise OSError(errno.ENOSPC, "only a part of the record was written")
            os.fsync(number)


@contextmanager
def _locked(number: int) -> Iterator[None]:
    fcntl.flock(number, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(number, fcntl.LOCK_UN)


def _end_of(number: int) -> tuple[int, str, bool]:
    """Number and hash of the last record that can be read, and whether the file ends within a line."""
    size = os.fstat(number).st_size
    tail = os.pread(number, MAX_LINE + 1, max(0, size - MAX_LINE - 1))
    for line in reversed(tail.split(b"\n")):
        with suppress(StateUnreadable):
            record = decode_audit(line)
            return record.seq, record.hash, not tail.endswith(b"\n")
    return 0, FIRST, bool(tail) and not tail.endswith(b"\n")
