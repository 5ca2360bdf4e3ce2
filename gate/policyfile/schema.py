"""The JSON Schema of a policy file, for editors. `python -m gate.policyfile.schema` writes it into config/schemas.

The reader knows more than a schema can say: which classes a file has, that thresholds rise, that a bucket fills within a
year, and that a name is written as it is compared. Everything else that the reader refuses, the schema refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

from gate.core.duration import UNIT_US
from gate.core.pause.four_eyes import TwoPersonRule
from gate.core.policy import Mode, OnStoreError, PausesUnknown, Subject, Unit, Unreported
from gate.policyfile.table import MAX_AMOUNT, MAX_IN_FLIGHT, UNIT_BYTES

FILE = "policy.v1.json"


def policy_schema() -> bytes:
    """The schema as indented JSON with a newline at its end. Draft 7, which the editors' TOML plugins read."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A policy of Upload Gate",
        "description": "Who may upload how much, and which score refuses. `upload-gate policy check` says more.",
        **_table(_TOP, ("version", "default_class", "classes")),
    }
    return json.dumps(schema, indent=1).encode() + b"\n"


def _table(properties: dict[str, Any], required: Iterable[str] = (), meaning: str = "") -> dict[str, Any]:
    said = {"description": meaning} if meaning else {}
    return {
        **said, "type": "object", "properties": properties, "required": list(required), "additionalProperties": False,
    }  # fmt: skip


def _named(entry: dict[str, Any], meaning: str, least: int = 0) -> dict[str, Any]:
    """A table whose keys are names."""
    return {"description": meaning, "type": "object", "additionalProperties": entry, "minProperties": least}


def _text(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "type": "string", "minLength": 1}


def _texts(meaning: str) -> dict[str, Any]:
    return {"description": meaning, "type": "array", "items": {"type": "string", "minLength": 1}}


def _choice(among: type[StrEnum], meaning: str) -> dict[str, Any]:
    return {"description": meaning, "enum": [member.value for member in among]}


def _duration(meaning: str) -> dict[str, Any]:
    return {
        "description": f"{meaning} A whole number with ms, s, m, h or d.",
        "type": "string",
        **_numbered("|".join(UNIT_US)),
    }


def _amount(meaning: str) -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0, "maximum": MAX_AMOUNT}
    return {
        "description": f"{meaning} A limit on bytes also takes sizes such as 10GiB.",
        "anyOf": [count, {"type": "string", **_numbered("|".join(UNIT_BYTES))}],
    }


def _numbered(units: str) -> dict[str, Any]:
    """A number that is not 0 with one of `units` behind it. No look-ahead, which some editors do not know."""
    return {"pattern": f"^0{{0,8}}[1-9][0-9]{{0,8}}({units})$"}


_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_SCORE = _table(
    {
        "review": {"description": "The risk from which uploads are let in and reviewed.", **_SHARE},
        "challenge": {"description": "The risk from which uploads need a challenge.", **_SHARE},
        "deny": {"description": "The risk from which uploads are denied.", **_SHARE},
    },
    meaning="The risks in [0, 1] from which something happens; one that is left out never happens.",
)
_RATE = _table(
    {
        "rate": _amount("Units in each `per` on average."),
        "burst": _amount("Units that may come at once."),
    },
    ("rate", "burst"),
    "What one class may do.",
)
_OF_ANY_LIMIT = {
    "mode": _choice(Mode, "`enforce` refuses, `shadow` only counts, `off` does nothing."),
    "on_store_error": _choice(OnStoreError, "What it does while Redis does not answer."),
    "kinds": _texts("The media kinds that it applies to; all where it is left out."),
}
_BUCKET = _table(
    {
        "on": _choice(Subject, "What the limit counts for; each has a bucket of its own."),
        "unit": {"description": "What it counts; `uploads` where it is left out.", "enum": ["uploads", "bytes"]},
        "per": _duration("The span in which `rate` units may come on average."),
        "rates": _named(_RATE, "The rate of each class; a class without one is not limited.", 1),
        "lease": {
            "description": "What each gate may take of a class's or the platform's limit beforehand, so that its checks need "
            "no call for it. `auto`: where all gates together then hold a tenth of the burst at most; 0: nothing.",
            "anyOf": [{"const": "auto"}, *_amount("")["anyOf"]],
        },
        "reserved": _named(
            {"type": "number", "minimum": 0, "maximum": 1},
            "The part of the platform's limit that a class has for itself; together 1 at most.",
        ),
        **_OF_ANY_LIMIT,
    },
    ("on", "per", "rates"),
)
_AT_ONCE = _table(
    {"burst": {"description": "Uploads at once.", "type": "integer", "minimum": 0, "maximum": MAX_IN_FLIGHT}},
    ("burst",),
)
_IN_FLIGHT = _table(
    {
        "on": {"description": "What the limit counts for.", "enum": ["account", "ip", "device"]},
        "unit": {"description": "Uploads that were let in and not reported yet.", "const": Unit.IN_FLIGHT.value},
        "rates": _named(_AT_ONCE, "How many each class may have at once; a class without one is not limited.", 1),
        **_OF_ANY_LIMIT,
    },
    ("on", "unit", "rates"),
)
_LIMIT = {"description": "One limit. Its name is the reason of what it refuses.", "anyOf": [_BUCKET, _IN_FLIGHT]}
_CLASS = _table(
    {"score": _SCORE, "assumed_bytes": _amount("The size of an upload whose check states none.")},
    meaning="One class of accounts.",
)
_TOP: dict[str, Any] = {
    "version": {"description": "Always 1.", "const": 1},
    "default_class": _text("The class of accounts of which nothing else is known."),
    "reasons": _texts("What a pause may give as its reason."),
    "derive": _table(
        {
            "new_class": _text("The class of accounts that are younger than `new_below`."),
            "new_below": _duration("How long an account is new."),
            "unverified_class": _text("The class of accounts that are not verified."),
        },
        meaning="The class of an account where the caller names none.",
    ),
    "score": _table({"max_age": _duration("An older score does not count.")}),
    "check": _table(
        {
            "deadline": _duration("How long a check waits for Redis."),
            "upload_lifetime": _duration("The older name of the lifetime of reservations."),
        }
    ),
    "reservations": _table(
        {
            "lifetime": _duration(
                "How long an upload that was let in is reserved, and its upload_id gets the same answer."
            ),
            "unreported": _choice(
                Unreported, "What becomes of the tokens of an upload that nobody has reported by then."
            ),
        }
    ),
    "deny": _table({"accounts": _texts("Ids of accounts that are always refused.")}),
    "controls": _table(
        {
            "second_person": {
                "description": "The changes of the kill switch that need a second person.",
                "type": "array",
                "items": {"enum": [rule.value for rule in TwoPersonRule]},
            },
            "alone_for": {
                "description": "How long after a pause begins the one who set it acts alone. A whole number with ms, s, m, "
                "h or d; 0s: not at all.",
                "type": "string",
                "pattern": f"^[0-9]{{1,9}}({'|'.join(UNIT_US)})$",
            },
            "machines_platform_wide": {
                "description": "Whether a machine's lease may pause the whole platform.",
                "type": "boolean",
            },
            "pauses_unknown": _choice(
                PausesUnknown,
                "What becomes of uploads at a gate that starts and learns of the pauses from no server and no snapshot.",
            ),
        }
    ),
    "known": _table(
        {
            "kinds": _texts("The media kinds that uploads may name; `*` stands for any characters."),
            "surfaces": _texts("The surfaces that uploads may name; `*` stands for any characters."),
            "countries": _texts("The countries that uploads may come from; `*` stands for any characters."),
        },
        meaning="The values that are known. Any other is counted, and every limit that has `kinds` applies to it.",
    ),
    "classes": _named(_CLASS, "The classes of accounts.", 1),
    "limits": _named(_LIMIT, "The limits, each under its name."),
}


if __name__ == "__main__":
    (Path(__file__).parents[2] / "config" / "schemas" / FILE).write_bytes(policy_schema())
