"""A scorecard file (TOML) → a checked Scorecard. Every complaint names the file, the key and what to do.

Leaves what the signals mean to `streams.core.signals`, and adding them up to `streams.core.scorecard`.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gate.core.duration import HOUR_US, parse_duration_us
from gate.core.signal import Signal
from gate.errors import PolicyInvalid
from gate.policyfile import packaged_config
from streams.core.scorecard import Scorecard

SHIPPED = "scorecard.toml"
KEYS = ("version", "bias", "decay", "caps", "bot", "scam")


def load_scorecard(path: Path | None) -> Scorecard:
    """The scorecard in `path`, the shipped one for None. Raises PolicyInvalid."""
    if path is None:
        return parse_scorecard(packaged_config(SHIPPED)[0], SHIPPED)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyInvalid(str(path), None, "", f"cannot be read ({error}); give a TOML file") from None
    return parse_scorecard(text, str(path))


def parse_scorecard(text: str, file: str) -> Scorecard:
    """The scorecard that `text` spells; `file` is only named in complaints. Raises PolicyInvalid."""
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyInvalid(file, None, "", f"not TOML: {error}") from None
    for key in given:
        if key not in KEYS:
            raise PolicyInvalid(file, _line(text, key), key, f"unknown key{_meant(key, KEYS)}")
    if given.get("version") != 1:
        raise PolicyInvalid(file, _line(text, "version"), "version", "must be 1")
    families = sorted({signal.family for signal in Signal})
    bias = _number(given.get("bias"), file, text, "bias", low=-20.0, high=0.0)
    caps = _numbers(given, "caps", families, file, text)
    bot = _numbers(given, "bot", [s.value for s in Signal], file, text)
    scam = _numbers(given, "scam", [s.value for s in Signal], file, text)
    for family in families:
        if family not in caps:
            raise PolicyInvalid(file, None, f"caps.{family}", "is missing; every family of signals has a cap")
        if caps[family] >= -bias:
            raise PolicyInvalid(
                file,
                _line(text, family),
                f"caps.{family}",
                f"must be below {-bias:g}, so that one family alone cannot condemn",
            )
    weights = {s.value: (bot.get(s.value, 0.0), scam.get(s.value, 0.0)) for s in Signal}
    half_life_us = _half_life_us(given, file, text)
    canonical = json.dumps([bias, caps, bot, scam, half_life_us], sort_keys=True)
    return Scorecard(hashlib.sha256(canonical.encode()).hexdigest()[:12], bias, weights, caps, half_life_us)


def _half_life_us(given: Mapping[str, Any], file: str, text: str) -> int:
    """The half-life of scores, 0 where they do not decay."""
    decay = given.get("decay", {})
    if not isinstance(decay, dict):
        raise PolicyInvalid(file, _line(text, "decay"), "decay", "must be a table")
    for key in decay:
        if key != "half_life":
            raise PolicyInvalid(file, _line(text, key), f"decay.{key}", f"unknown{_meant(key, ['half_life'])}")
    if "half_life" not in decay:
        return 0
    try:
        half_life_us = parse_duration_us(str(decay["half_life"]))
    except ValueError as error:
        raise PolicyInvalid(file, _line(text, "half_life"), "decay.half_life", str(error)) from None
    if half_life_us < HOUR_US:
        raise PolicyInvalid(file, _line(text, "half_life"), "decay.half_life", "must be 1h or longer")
    return half_life_us


def _numbers(given: Mapping[str, Any], table: str, known: list[str], file: str, text: str) -> dict[str, float]:
    found = given.get(table, {})
    if not isinstance(found, dict):
        raise PolicyInvalid(file, _line(text, table), table, "must be a table")
    for key in found:
        if key not in known:
            raise PolicyInvalid(file, _line(text, key), f"{table}.{key}", f"unknown{_meant(key, known)}")
    numbers = {}
    for key, value in found.items():
        low, high = (-10.0, 0.0) if table != "caps" and Signal(key).speaks_for else (0.0, 10.0)
        numbers[key] = _number(value, file, text, key, low, high)
    return numbers


def _number(value: object, file: str, text: str, key: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise PolicyInvalid(file, _line(text, key), key, f"must be a number from {low:g} to {high:g}, not {value!r}")
    return float(value)


def _line(text: str, key: str) -> int | None:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().strip("[").lstrip('"').startswith(key):
            return number
    return None


def _meant(key: str, known: tuple[str, ...] | list[str]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
