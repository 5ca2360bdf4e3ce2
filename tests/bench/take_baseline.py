"""An earlier take script and its packing, kept as the baseline of the script's cost. It has no reservations."""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from gate.core.limits.limit import EntityLimits, Limit
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.stores.redis.connections.script_call import Script

MAX_SPAN_US: Final = 1 << 51
_NEVER: Final = float("inf")
_pack = msgspec.msgpack.Encoder().encode


def baseline_script() -> Script:
    """The script."""
    return Script(Path(__file__).with_name("take_baseline.lua").read_bytes())


class BaselineBatch:
    """The arguments of one call of the baseline."""

    def __init__(self, requests: Sequence[TakeRequest], prefix: bytes) -> None:
        numbers: defaultdict[ClassLimits, int] = defaultdict(
            count(1).__next__
        )  # numbers each class as it comes, from 1
        given: list[object] = [len(requests)]
        for request in requests:
            limits, hot = request.class_limits, request.hot
            rates = limits.byte_rates
            given += (
                numbers[limits],
                len(rates),
                request.now_us,
                request.account,
                request.upload_id,
                request.ip,
                request.device,
                0 if hot is None else int(limits.refused_by(hot)),
            )
            for rate in rates:
                cost = rate.cost_us(request.size)
                given.append(cost if cost < MAX_SPAN_US else MAX_SPAN_US)
        self.arguments = (prefix, _packed_class_limits(tuple(numbers)), _pack(given))


@lru_cache(maxsize=256)
def _packed_class_limits(class_limits: tuple[ClassLimits, ...]) -> bytes:
    return _pack([_listed(each) for each in class_limits])


def _listed(class_limits: ClassLimits) -> list[object]:
    numbers = count(1)
    costs = count(-1, -1)

    def listed(limits: EntityLimits | None) -> list[object] | bool:
        return limits is not None and [value for each in limits.limits for value in _limit_values(each, numbers, costs)]

    refuse_at = _NEVER if class_limits.refuse_at is None else class_limits.refuse_at
    own = [listed(limits) for limits in (class_limits.account, class_limits.ip, class_limits.device)]
    shared = [value for each in class_limits.shared for value in (each.entity, listed(each.limits))]
    return [refuse_at, class_limits.max_score_age_us, class_limits.lifetime_us, *own, shared]


def _limit_values(limit: Limit, numbers: Iterator[int], costs: Iterator[int]) -> tuple[object, ...]:
    id_ = b64encode(blake2b(limit.name.encode(), digest_size=6).digest()).decode()
    cost = next(costs) if limit.by_bytes else min(limit.rate.cost_us(1), MAX_SPAN_US)
    return id_, cost, min(limit.rate.tolerance_us, MAX_SPAN_US), limit.shadow and limit.name, next(numbers)
