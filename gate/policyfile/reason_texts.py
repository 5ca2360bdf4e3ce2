"""Reads the wording of reasons (`reasons.toml`): what uploaders read of a decision, and staff of a score.

A text for uploaders has no placeholder for a value and names no evidence.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gate.core.score import Reason
from gate.errors import PolicyInvalid, file_problem
from gate.policyfile.packaged import packaged_config

SHIPPED: Final = "reasons.toml"
VERSION: Final = 1
LONGEST: Final = 200
UNKNOWN: Final = "unknown"
DEGREE: Final = " ({} of 1)"
_LEAST_OF_TWO_DIGITS: Final = 0.005
"""The end of a text on something that holds by degrees."""


@dataclass(frozen=True, slots=True)
class ReasonTexts:
    """`public` texts by the reason of a decision; `staff` texts by feature, `{}` in them is where the value goes."""

    public: Mapping[str, str]
    staff: Mapping[str, str]

    def of_signal(self, reason: Reason) -> str:
        """A signal in words for staff: the texts of its features with their values, or its name if a text is missing."""
        names = reason.signal.split(".")[1:]
        if not names or any(name not in self.staff for name in names):
            return reason.signal
        values = (reason.value, reason.second)
        return "; ".join(_with_value(self.staff[name], value) for name, value in zip(names, values, strict=False))


def _with_value(text: str, value: float | None) -> str:
    """The text with the value. Without one, a text about a degree says that it is unknown whether the rest holds."""
    if value is None and text.endswith(DEGREE):
        return f"{UNKNOWN} whether {text.removesuffix(DEGREE)}"
    return text.replace("{}", UNKNOWN if value is None else number_text(value))


def number_text(value: float) -> str:
    """A number as staff read it: whole where two digits after the point say no more, else with these; a smaller one with the
    digits that it begins with."""
    if value and abs(value) < _LEAST_OF_TWO_DIGITS:
        return f"{value:.1g}"
    shown = f"{value:.2f}"
    return f"{value:,.0f}" if shown.endswith(".00") or abs(value) >= 100.0 else shown


def load_reason_texts(path: Path | None) -> ReasonTexts:
    """The texts in `path`, the packaged ones for None. Raises PolicyInvalid, naming file, key and remedy."""
    if path is None:
        return parse_reason_texts(*packaged_config(SHIPPED))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyInvalid(str(path), None, "", f"cannot be read ({file_problem(error)}); give a TOML file") from None
    return parse_reason_texts(text, str(path))


def parse_reason_texts(text: str, file: str) -> ReasonTexts:
    """The texts that the TOML in `text` holds. Raises PolicyInvalid."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyInvalid(file, None, "", f"not TOML: {error}") from None
    for key in given:
        if key not in ("version", "public", "staff"):
            raise PolicyInvalid(file, _line(text, key), key, "unknown key; known are version, public and staff")
    if given.get("version") != VERSION:
        raise PolicyInvalid(file, _line(text, "version"), "version", f"must be {VERSION}")
    return ReasonTexts(_texts(given, "public", text, file, values=0), _texts(given, "staff", text, file, values=1))


def _texts(given: Mapping[str, Any], table: str, text: str, file: str, values: int) -> Mapping[str, str]:
    texts = given.get(table, {})
    if not isinstance(texts, dict):
        raise PolicyInvalid(file, _line(text, table), table, "must be a table of texts")
    for key, value in texts.items():
        problem = _problem(value, values)
        if problem:
            raise PolicyInvalid(file, _line(text, key), f"{table}.{key}", problem)
    return texts


def _problem(value: object, values: int) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or not value.isprintable():
        return f"must be a text of 1 to {LONGEST} characters on one line"
    rest = value.replace("{}", "", values)
    if "{" in rest or "}" in rest:
        return (
            "may hold {} once and no other brace"
            if values
            else "is public and may not hold a value: leave out the braces"
        )
    return ""


def _line(text: str, key: str) -> int | None:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().strip("[").lstrip('"').startswith(key):
            return number
    return None
