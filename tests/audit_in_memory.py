"""An audit log in memory, for tests of what the acts of the kill switch record."""

from __future__ import annotations

from gate.ports.audit import AuditEntry


class MemoryAudit:
    """Keeps the entries in their order."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    def record(self, entry: AuditEntry) -> None:
        self.entries.append(entry)
