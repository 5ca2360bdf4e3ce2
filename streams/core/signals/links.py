"""Links: how often an account links at all, to the same host, and to hosts of a shape that scams use."""

from __future__ import annotations

from streams.core.features import Features


def read(of: Features) -> tuple[float, float, float]:
    """`links.density`: share of uploads with links. `links.repeated`: share whose host was seen before.
    `links.suspicious`: how suspicious the worst host of an upload is, on average."""
    if not of.linked:
        return 0.0, 0.0, 0.0
    uploads = of.uploads + 2
    return of.linked / uploads, of.host_repeats / uploads, min(1.0, of.suspicion)
