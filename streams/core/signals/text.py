"""Text: how much an account's captions look like advertisements. Weak evidence, and weighed as such."""

from __future__ import annotations

from gate.core.signal import Signal
from streams.core.facts import Facts
from streams.core.scorecard import Found

SPAM = str(Signal.TEXT_SPAM)


def read(state: Facts, found: Found) -> None:
    """`text.spam`: the running mean over the account's last captions."""
    found.append((SPAM, min(1.0, state.spam)))
