"""The fields of a message that no message of its type has, and the field that each was probably meant to be.

Such fields are permitted, since senders have fields of their own; a misspelt optional field would be lost without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any, Final

from gate.core.fields.rules import BY_SUBJECT, PARTS, MessageType

SIMILAR: Final = 0.75
LONGEST: Final = 40
"""A longer name is not compared with the names of fields."""


def unknown_names(raw: Mapping[str, Any], subject: MessageType, more: frozenset[str] = frozenset()) -> list[str]:
    """The names of `raw` that the subject lacks, those inside `account` and `media` as `account.name`.

    `more` are further names that the top of such a message may have.
    """
    known = _known(subject)
    # a name such as `account.class` is that of a field inside `account`, and of none at the top
    found = [name for name in raw if (name not in known or "." in name) and name not in more]
    for part in sorted(PARTS):
        inner = raw.get(part)
        if isinstance(inner, dict) and part in known:
            found += [f"{part}.{name}" for name in inner if f"{part}.{name}" not in known]
    return found


def meant(name: str, subject: MessageType) -> str | None:
    """The field of the subject that `name` is probably a misspelling of, or that it is in another place."""
    if len(name) > LONGEST:
        return None
    by_last = {full.rpartition(".")[2]: full for full in sorted(_known(subject), reverse=True)}
    part, _, last = name.rpartition(".")
    wanted = last.lower().replace("-", "_")
    if name in _known(subject):
        return name
    if wanted in by_last:
        return by_last[wanted]
    own = [full.rpartition(".")[2] for full in _known(subject) if part and full.startswith(f"{part}.")]
    for names in (own, list(by_last)):
        if close := get_close_matches(wanted, names, n=1, cutoff=SIMILAR):
            return f"{part}.{close[0]}" if names is own else by_last[close[0]]
    return None


def hint(name: str, subject: MessageType) -> str:
    """` (did you mean FIELD?)`, empty where nothing is similar."""
    return worded(name, meant(name, subject))


def worded(name: str, found: str | None) -> str:
    """The hint for a name of which `meant` has found this."""
    if found is None:
        return ""
    part, _, last = name.rpartition(".")
    return f" (did you mean {last} inside {part}?)" if found == name else f" (did you mean {found}?)"


@cache
def _known(subject: MessageType) -> frozenset[str]:
    names = frozenset(rule.name for rule in BY_SUBJECT[subject])
    return names | {name.partition(".")[0] for name in names if "." in name}
