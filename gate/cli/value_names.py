"""What the help calls the value of each option: `--for DURATION`, and not the type that the program gives it.

One option has one name in all commands, ours and those of other packages. A choice needs no name: its values are shown.
"""

from __future__ import annotations

from typing import Any, Final

VALUE_NAMES: Final = {
    "DURATION": ("--for", "--ramp", "--start-in", "--younger-than"),
    "TIME": ("--since", "--created-at", "--started-at"),
    "CLASS": ("--class", "--except-class", "--limits"),
    "SURFACE": ("--surface", "--except-surface"),
    "KIND": ("--kind", "--except-kind"),
    "COUNTRY": ("--country", "--except-country"),
    "REASON": ("--reason",),
    "TEXT": ("--message", "--public", "--text"),
    "WHY": ("--emergency",),
    "URL": ("--redis", "--admin", "--gate", "--incident", "--public-link", "--link"),
    "HOST:PORT": ("--kafka",),
    "NAME": ("--owner", "--by"),
    "GATE": ("--forget",),
    "ACCOUNT": ("--account",),
    "UPLOAD": ("--upload-id",),
    "ADDRESS": ("--ip", "--host"),
    "DEVICE": ("--device",),
    "HASH": ("--sha256", "--phash"),
    "BYTES": ("--bytes",),
    "RISK": ("--risk-from",),
    "SHARE": ("--factor", "--base-rate"),
    "PERCENT": ("--percent",),
    "PORT": ("--port", "--admin-port", "--metrics-port", "--port-base"),
    "N": ("--last", "--limit", "--least", "--workers", "--seed", "--uploads", "--partition"),
    "N,N…": ("--after",),
    "RATE": ("--rate",),
    "FACTOR": ("--speed",),
    "DELAY": ("--labels",),
    "FILE": (
        "--accounts", "--except-accounts", "--policy", "--scorecard", "--tokens", "--file", "--features", "--negatives",
        "--replay", "--reasons",
    ),
    "DIRECTORY": ("--state", "--models", "--plots", "--out", "--captions", "--links", "--shadow"),
}  # fmt: skip
"""The options by the name of their value."""

_OF_OPTION: Final = {option: name for name, options in VALUE_NAMES.items() for option in options}


def name_values(command: Any) -> None:
    """Give the options and arguments of a command, and of all commands below it, the names that its help shows."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            # the help lists an argument once, and the dots of a repeated one come from its number
            parameter.metavar = (parameter.metavar or parameter.name.upper()).strip(".[]")
            parameter.display_type_rich = _no_type
        elif parameter.metavar is None and not parameter.is_flag:
            parameter.metavar = next((_OF_OPTION[each] for each in parameter.opts if each in _OF_OPTION), None)
    for below in getattr(command, "commands", {}).values():
        name_values(below)


def _no_type(**_: object) -> str:
    return ""
