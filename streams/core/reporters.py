"""The reporters of an account: distinct ones, each of whom counts by its own standing.

The standing of a reporter is its age when it reported. A reporter who is younger than `FULL_US` is kept with a date that is
earlier by as much as it lacks, so that it counts like a reporter of then: a newborn one counts like one of thirty days ago,
which is 0.05 of a reporter. Only the `MAX_REPORTERS` with the latest dates are kept, so that any number of newborn accounts
counts less than one old account, and they displace no report that counts more. A reporter of unknown age counts in full.
"""

from __future__ import annotations

from typing import Final

from gate.core.duration import DAY_US, MINUTE_US
from streams.core.migration import MAX_REPORTERS
from streams.core.rings import dated

FULL_US: Final = 30 * DAY_US
"""The age from which a reporter counts in full."""
_LAST_MINUTE: Final = 0xFFFF_FFFF


def lacking_us(at_us: int, created_us: int | None) -> int:
    """What a reporter who was created then lacks of full age at `at_us`, µs; 0 for one of unknown age."""
    return 0 if created_us is None else min(FULL_US, max(0, created_us + FULL_US - at_us))


def with_reporter(kept: bytes, mark: bytes, at_us: int, lacks_us: int) -> bytes:
    """The dated items `kept` with the reporter `mark` among them, who reported at `at_us`; the latest dates come first."""
    minutes = min(max(0, at_us - lacks_us) // MINUTE_US, _LAST_MINUTE).to_bytes(4, "big")
    return dated(kept, minutes + mark, len(minutes), MAX_REPORTERS)
