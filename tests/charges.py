"""Charges as tests write them: one limit on one entity."""

from gate.core.bucket import Charge, Price, Rate, Tariff


def one_limit(entity: str, limit: str, rate: Rate, units: int = 1, *, shadow: bool = False) -> Charge:
    """A charge of `units` on a tariff with that limit alone."""
    return Charge(entity, Tariff((Price(limit, rate, shadow),)), units)
