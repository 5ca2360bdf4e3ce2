"""Reads how a limit is shared that is on a class or on the whole platform: `lease` and `reserved`.

`lease` is how many units each gate may take beforehand, `reserved` the parts of the platform's limit that one class alone uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gate.core.limits.limit import Rate
from gate.core.policy import Subject, Unit
from gate.policyfile.table import TomlTable

AUTO: Final = "auto"
SHARED: Final = (Subject.CLASS, Subject.PLATFORM)


def read_lease(entry: TomlTable, subject: Subject, unit: Unit, rates: Mapping[str, Rate]) -> int | None:
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
    lease = entry.amount("lease", unit is Unit.BYTES)
    least = min((rate.burst for rate in rates.values()), default=None)
    if lease is not None and least is not None and lease > least:
        entry.complain(
            "lease", f"{value!r} is more than a burst of the limit, {least}; a gate cannot hold more than that"
        )
    return lease


def read_reserved(entry: TomlTable, subject: Subject, rates: Mapping[str, Rate]) -> dict[str, float]:
    """The part of the limit that each class has for itself."""
    if "reserved" not in entry:
        return {}
    table = entry.table("reserved")
    found: dict[str, float] = {}
    for class_ in table.names():
        share = table.share(class_, "a part of the limit")
        if class_ not in rates:
            table.complain(
                class_, f"a class without a rate of this limit; give it one, or name one of {', '.join(rates)}"
            )
        elif share is not None:
            found[class_] = share
            part = rates[class_].part(share)
            if not (part.rate and part.burst):
                table.complain(class_, "is less than one unit of the rate or of the burst; reserve more, or remove it")
    if subject is not Subject.PLATFORM:
        entry.complain("reserved", 'is for limits on "platform", of which each class may have a part; remove it')
    if sum(round(share * 1_000) for share in found.values()) > 1_000:
        entry.complain(
            "reserved", f"is {sum(found.values()):g} of the limit together; all classes may reserve 1 at most"
        )
    return found
