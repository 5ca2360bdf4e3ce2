"""The record of every change of the kill switch and of every override, done or refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gate.core.override import Override
from gate.core.pause.entry import Pause


class AuditOutcome(StrEnum):
    """What became of a change."""

    DONE = "done"
    PROPOSED = "proposed"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change: who did what to which pause, or to the override of which `account`, how it was before and after, and what
    became of it. `wanted` says in words which pause was to be set, where none was.

    `via` is the way it took: `redis`, `kafka` or `file`; `direct` says that the operator chose the way (break-glass).
    `detail` is the reason of a refusal or a failure, `emergency` why one person went ahead alone. `who` is the name that
    the person gave, `identity` the login that ran the command, such as `1000@ops-1`.
    """

    act: str
    who: str
    outcome: AuditOutcome
    pause: str
    before: Pause | Override | None = None
    after: Pause | Override | None = None
    detail: str = ""
    approver: str | None = None
    emergency: str = ""
    machine: bool = False
    via: str = "redis"
    direct: bool = False
    account: str = ""
    identity: str = ""
    wanted: str = ""


class AuditLog(Protocol):
    """Meaning: each entry is chained to the one before it, so that none can be changed or removed unnoticed.

    Loss: none once `record` has returned; a log that cannot be written is an error on stderr, and never stops a change.
    Order: that of the host. Growth: without bound; about 1 KiB an entry.
    """

    def record(self, entry: AuditEntry) -> None:
        """Append the entry and return once it is on the disk. Never raises."""
        ...


class AuditSpool(Protocol):
    """The records of a host that were not sent to Kafka yet, in their order. Calls block. Each raises OSError."""

    def unsent(self, most: int) -> tuple[list[bytes], str]:
        """The first `most` lines, and the place after them, for `mark_sent`."""
        ...

    def mark_sent(self, place: str) -> None:
        """Remember that everything before `place` was sent."""
        ...
