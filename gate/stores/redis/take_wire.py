"""How the take store reaches Redis, on one server or on a Cluster: its lanes, and the take by which a lane probes its server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.stores.redis.lane import Lane

CONNECT_WITHIN_S: Final = 0.5
"""How long a probe may take to connect."""

PROBE: Final = TakeRequest("", "probe", ClassLimits(None, None, None, (), None, 0, lifetime_us=1))
"""A take from no bucket, for an account that no check can name. It writes a reservation that ends at once."""


@dataclass(frozen=True, slots=True)
class TakeWire:
    """How takes reach Redis: the lanes of the batcher, who learns the classes of a policy, and who closes the connections."""

    lanes: Sequence[Lane[TakeRequest, TakeResult]]
    expect: Callable[[Sequence[ClassLimits]], None]
    close: Callable[[], Awaitable[None]]
