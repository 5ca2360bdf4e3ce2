"""Looks for misspelt fields in checks: counts them by the field that is meant, and logs each name once.

Of single checks and of batches one body each in five seconds is looked at, because reading it once more costs as much as the
check's own reading. Of each body a bounded number of names is compared with ours; any more count as `other`. A sender that
misspells a field does so in every check, so one of them is soon met; and whoever tries a check by hand is not lost among the
batches of a busy service.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from gate.core.fields import MessageType
from gate.core.fields.parse import NotJson, parse
from gate.core.fields.unknown import hint, meant, unknown_names
from gate.core.terminal import terminal_safe
from gate.metrics import Counts

LOOK_EVERY_US: Final = 5_000_000
LARGEST: Final = 64 << 10
"""A larger body is not looked at."""
MOST_NAMES: Final = 32
"""The most names of a body that are compared with ours, and the most that are logged in all: a sender of random names
would otherwise slow all checks, or fill the log.
"""
LONGEST_SHOWN: Final = 80
OTHER: Final = "other"


class UnknownFields:
    """The unknown fields of checks. `say` logs, `counts` has the counter."""

    def __init__(self, counts: Counts, say: Callable[[str], None]) -> None:
        self._counts = counts
        self._say = say
        self._said: set[str] = set()
        self.check_due_us = self.batch_due_us = 0
        """The next body that is read at this time or later is looked at; the caller compares it, which costs no call."""

    def look_at_check(self, body: bytes, now_us: int) -> None:
        """Look at the body of a single check that has been read."""
        self.check_due_us = now_us + LOOK_EVERY_US
        self._look(body)

    def look_at_batch(self, body: bytes, now_us: int) -> None:
        """Look at the body of a batch that has been read."""
        self.batch_due_us = now_us + LOOK_EVERY_US
        self._look(body)

    def _look(self, body: bytes) -> None:
        if len(body) > LARGEST:
            return
        try:
            whole = parse(body)
        except NotJson:
            return
        checks = whole.get("checks") if isinstance(whole, dict) else None
        names: Counter[str] = Counter()
        for raw in checks if isinstance(checks, list) else [whole]:
            if isinstance(raw, dict):
                names.update(unknown_names(raw, MessageType.CHECK))
        for number, (name, times) in enumerate(names.items()):
            if number < MOST_NAMES:
                self._note(name, times)
            else:
                self._counts.unknown_field(OTHER, times)

    def _note(self, name: str, times: int) -> None:
        self._counts.unknown_field(meant(name, MessageType.CHECK) or OTHER, times)
        shown = terminal_safe(name[:LONGEST_SHOWN])
        if shown not in self._said and len(self._said) < MOST_NAMES:
            self._said.add(shown)
            self._say(
                f"checks carry {shown}, a field that no check has and that is not used{hint(name, MessageType.CHECK)}"
            )
