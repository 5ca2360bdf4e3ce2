"""Says what a TOML file is that was given for another one, so that nobody corrects the keys of the wrong file."""

from __future__ import annotations

import tomllib
from typing import Final

MARKS: Final = {
    "policy": (frozenset(("classes", "default_class", "limits", "controls")), "upload-gate policy check"),
    "scorecard": (frozenset(("terms", "base_rate", "training_share", "families")), "upload-gate scorecard check"),
}
"""The keys by which a kind of file is known, and the command that checks it."""


def other_file(text: str, wanted: str) -> str | None:
    """A sentence where the file is of another kind than `wanted`; None if it may be of that kind or of none."""
    try:
        keys = tomllib.loads(text).keys()
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return None
    if keys & MARKS[wanted][0]:
        return None
    for kind, (marks, command) in MARKS.items():
        if keys & marks:
            return f"is a {kind}, not a {wanted}; check it with `{command}`"
    return None
