"""What is known of an account when it is checked: its risk, and a staff override."""

from __future__ import annotations

import msgspec

from gate.core.override import Override


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What is known of an account: its risk in [0, 1], the event time of that risk (None: never scored), a staff override."""

    risk: float | None = None
    at_us: int | None = None
    override: Override | None = None

    def override_in_force(self, now_us: int) -> Override | None:
        """The override, None where there is none or it has expired."""
        override = self.override
        return override if override is not None and now_us < override.expires_at_us else None

    def counted_risk(self, now_us: int, max_age_us: int) -> float | None:
        """The risk, None where the account was never scored or its score is older than `max_age_us`."""
        if self.at_us is None or now_us - self.at_us > max_age_us:
            return None
        return self.risk
