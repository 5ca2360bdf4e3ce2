"""Charges and plans as tests write them."""

from gate.core.bucket import Charge, Price, Rate, Tariff
from gate.core.standing import Plan


def one_limit(entity: str, limit: str, rate: Rate, *, shadow: bool = False, by_bytes: bool = False) -> Charge:
    """A charge on an entity with that limit alone."""
    return Charge(entity, Tariff((Price(limit, rate, shadow, by_bytes),)))


def plan(*shared: Charge, refuse_at: float | None, max_score_age_us: int, lifetime_us: int) -> Plan:
    """A plan whose every upload is charged to the same entities."""
    return Plan(None, None, None, shared, refuse_at, max_score_age_us, lifetime_us)
