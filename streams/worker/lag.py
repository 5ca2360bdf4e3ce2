"""How far behind the end of its topic a partition may be for its scores to act."""

from __future__ import annotations

from typing import Final

ACT_WITHIN_RECORDS: Final = 50_000


def acts(behind: int, within: int) -> bool:
    """Whether scores of a partition with `behind` unread records may refuse; `within` is the most that may be unread.

    Beyond it, scores are recorded and lead to a review at most, no account is scored again without an event, and no hot fact
    is published to gates.
    """
    return behind <= within
