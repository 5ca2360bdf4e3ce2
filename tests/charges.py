"""Charges as tests write them: one limit on one entity."""

from gate.core.bucket import Charge, Price, Rate, Tariff


def one_limit(entity: str, limit: str, rate: Rate, size: int | None = None, *, shadow: bool = False) -> Charge:
    """A charge on a tariff with that limit alone; one that counts bytes where `size` says how many."""
    return Charge(entity, Tariff((Price(limit, rate, shadow, size is not None),)), size or 0)
