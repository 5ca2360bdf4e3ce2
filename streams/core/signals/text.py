"""Text: how much an account's captions look like advertisements. Weak evidence, and weighed as such."""

from __future__ import annotations

from gate.core.signal import Signal
from streams.core.account import State
from streams.core.signals.surroundings import Found, Surroundings


def read(state: State, around: Surroundings, found: Found) -> None:
    """`text.spam`: the running mean over the account's last captions."""
    if state.spam > 0.0:
        found.append((Signal.TEXT_SPAM, min(1.0, state.spam)))
