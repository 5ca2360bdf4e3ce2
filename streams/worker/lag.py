"""How far behind the end of its topic a partition may be for its scores to act."""

from __future__ import annotations

from typing import Final

ACT_WITHIN_RECORDS: Final = 50_000


def acts(behind: int, within: int) -> bool:
    """Whether what follows from events may refuse, while `behind` records are unread and `within` of them are allowed.

    Behind that bound scores are recorded and refuse nothing, no account is scored again without an event, and no crowd
    count is published to gates.
    """
    return behind <= within
