"""Text: how much an account's captions look like advertisements. It is weak evidence and has a small weight."""

from __future__ import annotations

from streams.core.features import Features


def read(of: Features) -> tuple[float]:
    """`text.spam`: the running mean over the account's last captions."""
    return (min(1.0, of.spam),)
