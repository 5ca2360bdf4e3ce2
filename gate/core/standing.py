"""What is known of an account when it is checked: its risk, and a staff override."""

from __future__ import annotations

import msgspec

from gate.core.override import Override


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What is known of an account: its risk in [0, 1] with the event time it stands for (None: never scored)."""

    risk: float | None = None
    at_us: int | None = None
    override: Override | None = None
