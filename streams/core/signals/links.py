"""Links: how often an account links at all, to the same host, and to hosts of a shape that scams use."""

from __future__ import annotations

from gate.core.signal import Signal
from streams.core.facts import Facts
from streams.core.scorecard import Found

DENSITY = str(Signal.LINKS_DENSITY)
REPEATED = str(Signal.LINKS_REPEATED)
SUSPICIOUS = str(Signal.LINKS_SUSPICIOUS)


def read(state: Facts, found: Found) -> None:
    """`links.density`: share of uploads with links. `links.repeated`: share whose host was seen before.
    `links.suspicious`: how suspicious the worst host of an upload is, on average."""
    found.append((DENSITY, state.linked / (state.uploads + 2)))
    if state.host_repeats:
        found.append((REPEATED, state.host_repeats / (state.uploads + 2)))
    if state.suspicion > 0.0:
        found.append((SUSPICIOUS, min(1.0, state.suspicion)))
