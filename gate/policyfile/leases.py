"""Reads how gates hold a limit that a class or the whole platform shares: `lease`, the units that each may take beforehand."""

from __future__ import annotations

from typing import Final

from gate.core.policy import Subject, Unit
from gate.policyfile.table import TomlTable

AUTO: Final = "auto"
SHARED: Final = (Subject.CLASS, Subject.PLATFORM)


def read_lease(entry: TomlTable, subject: Subject, unit: Unit) -> int | None:
    """The most units that a gate holds; None: as the rate and the number of gates allow. 0 where nothing is leased."""
    value = entry.value("lease")
    if subject not in SHARED:
        if value is not None:
            entry.complain("lease", 'is for limits on "class" and "platform", which all gates share; remove it')
        return 0
    if value is None or value == AUTO:
        entry.effective["lease"] = AUTO
        return None
    if isinstance(value, str) and unit is not Unit.BYTES:
        entry.complain("lease", f'{value!r} is neither "auto" nor a whole number of uploads; 0 holds none')
        return 0
    return entry.amount("lease", unit is Unit.BYTES)
