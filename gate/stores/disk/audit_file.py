"""The audit log of a host: `audit.jsonl` in the state directory, appended under a lock and synced.

It is also the spool of the records for Kafka: a gate of the host, or `upload-gate audit send`, sends what is not sent
yet and keeps the place in `audit.sent`. The place has a digest of what is before it, so that it does not count for another
file of that name: a program that rotates logs may have renamed the file, which is then sent to its end first, or emptied it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gate.errors import StateUnreadable, file_problem
from gate.ports.audit import AuditEntry
from gate.records.audit import FIRST, MAX_LINE, decode_audit, encode_audit
from gate.stores.disk.ownership import GROUP_ONLY, make_folder, open_shared, replace_shared

FILE: Final = "audit.jsonl"
SENT: Final = "audit.sent"
DIGESTED: Final = 4_096
"""So many bytes before a place tell its file from others: they hold the hash of a record."""


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
        self._unkept: str | None = None
        """The place up to which the log was sent, while the disk does not take it."""
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
            problem = file_problem(error) if isinstance(error, OSError) else str(error)
            self._say(f"warning: the audit log {self.path} cannot be written: {problem}")
        else:
            self._recorded(self.path)

    def lines(self) -> Iterator[bytes]:
        """The lines of the log; none where there is no log. Raises OSError."""
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            for line in file:
                yield line.rstrip(b"\n")

    def unsent(self, most: int) -> tuple[list[bytes], str]:
        """The first `most` lines that were not sent yet, and the place after them, for `mark_sent`. Raises OSError."""
        offset, digest = self._sent_place()
        lines, place = _lines_after(self.path, offset, digest, most)
        if place is not None:
            return lines, place
        for renamed in sorted(self.path.parent.glob(f"{FILE}?*")):
            lines, place = _lines_after(renamed, offset, digest, most)
            if lines and place is not None:
                return lines, place
        lines, place = _lines_after(self.path, 0, "", most)
        return lines, place or "0"

    def mark_sent(self, place: str) -> None:
        """Remember that the log was sent up to `place`. Raises OSError; then this process alone remembers it."""
        self._unkept = place
        replace_shared(self._sent, f"{place}\n".encode(), GROUP_ONLY)
        self._unkept = None

    def _sent_place(self) -> tuple[int, str]:
        """The offset, and the digest of what is before it; an earlier release kept none."""
        with suppress(OSError, ValueError):
            place = self._sent.read_text() if self._unkept is None else self._unkept
            offset, _, digest = place.strip().partition(" ")
            return max(0, int(offset)), digest
        return 0, ""

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


def _lines_after(path: Path, offset: int, digest: str, most: int) -> tuple[list[bytes], str | None]:
    """The first `most` whole lines after `offset`, and the place after them.

    The place is None if `digest` is not that of the file's bytes before the offset."""
    lines: list[bytes] = []
    with suppress(FileNotFoundError), path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < offset or (digest and _digest(file.fileno(), offset) != digest):
            return [], None
        file.seek(offset)
        for line in file:
            if len(lines) == most or not line.endswith(b"\n"):
                break
            offset += len(line)
            lines.append(line.rstrip(b"\n"))
        return lines, f"{offset} {_digest(file.fileno(), offset)}"
    return [], None


def _digest(number: int, offset: int) -> str:
    """A digest of what is before `offset` in an open file."""
    before = os.pread(number, min(offset, DIGESTED), max(0, offset - DIGESTED))
    return hashlib.sha256(before).hexdigest()


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
