"""Other rate limiters beside ours, in one run: as servers, as libraries, and the parts of ours beside bare ones.

No contender is a dependency of the project. Where one cannot be had here, its rows say so.
"""

from __future__ import annotations

from tests.bench.report import Spec
from tests.bench.rivals import in_memory, libraries, many_accounts, over_http, own_decision, take_client
from tests.bench.stage import Stage

PARTS = (over_http, libraries, own_decision, take_client, many_accounts, in_memory)
SPECS = tuple(spec for part in PARTS for spec in part.SPECS)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """One part after the other. Raises BenchError."""
    found: dict[Spec, list[float]] = {}
    for part in PARTS:
        found |= part.measure(stage, rounds)
    return found
