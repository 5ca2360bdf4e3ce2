"""Leases: what a machine may do with the kill switch.

A machine's pause, its ramp included, ends by itself after at most 60 s unless the machine renews it, so that a broken
machine stops nobody for long. A machine never changes a person's pause, and pauses the whole platform only if the policy
permits it.
"""

from __future__ import annotations

from typing import Final

from gate.core.pause.entry import Pause

MAX_LEASE_US: Final = 60_000_000
TOO_LONG_A_LEASE: Final = "a machine's pause lasts at most 60 s, the ramp after it included; it renews it with `extend`"


def lease_problem(wanted: Pause, before: Pause | None, now_us: int, platform_wide_permitted: bool) -> str | None:
    """Why a machine may not write `wanted` over `before` (None: there is no such pause yet); None if it may."""
    if before is not None and not before.machine:
        return f"a machine does not change pause {before.id}, which {before.owner} set"
    if wanted.over_at_us > now_us + MAX_LEASE_US:
        return TOO_LONG_A_LEASE
    if wanted.scope.platform_wide and not platform_wide_permitted:
        return "a machine pauses the whole platform only if the policy permits it (machines_platform_wide)"
    return None
