"""The flags that say which uploads a pause holds, and their values as a scope and an exemption."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gate.cli.output import counted, say
from gate.core.duration import DAY_US, parse_duration_us
from gate.core.fields.ids import MAX_ID_BYTES, identity
from gate.core.fields.labels import fold_country, fold_label
from gate.core.fields.reasons import Unusable
from gate.core.fields.sentinels import NO_IDS
from gate.core.fields.text import is_hidden
from gate.core.pause.scope import NAMED_ACCOUNTS, Exemption, Scope
from gate.errors import OperatorError, file_problem
from gate.records.pause import MAX_ACCOUNTS

MAX_LIST_BYTES: Final = 16 << 20
MAX_LENGTH_US: Final = 30 * DAY_US
"""The longest time from now that `pause` and `extend` take."""
SHOWN_CHARS: Final = 64
"""Characters of a wrong id that a complaint shows."""


@dataclass(frozen=True, slots=True)
class ScopeFlags:
    """What was typed; None and empty where a flag is absent."""

    class_: list[str] | None = None
    surface: list[str] | None = None
    kind: list[str] | None = None
    country: list[str] | None = None
    accounts: Path | None = None
    younger_than: str | None = None
    risk_from: float | None = None
    everything: bool = False


def scope_of(given: ScopeFlags) -> Scope:
    """The scope of a new pause. Raises OperatorError for a scope that is missing, contradicts itself or matches nothing."""
    younger_us = None if given.younger_than is None else _span_us("--younger-than", given.younger_than)
    if given.risk_from is not None and not 0.0 <= given.risk_from <= 1.0:
        raise OperatorError("--risk-from is not a risk", "give a number from 0 to 1, such as 0.7")
    scope = Scope(
        folded("--class", given.class_, fold_label),
        folded("--surface", given.surface, fold_label),
        folded("--kind", given.kind, fold_label),
        countries("--country", given.country),
        frozenset() if given.accounts is None else accounts_in(given.accounts),
        None if younger_us is None else max(1, younger_us // 1_000_000) * 1_000_000,
        given.risk_from,
    )
    if scope.platform_wide and not given.everything:
        raise OperatorError(
            "the uploads to pause are not specified",
            "give --class, --surface, --kind or --country, or --all for every upload platform-wide",
        )
    if given.everything and not scope.platform_wide:
        raise OperatorError(f"--all does not go with {scope}", "leave one of them out")
    return scope


def exemption_of(given: ScopeFlags, verified: bool) -> Exemption:
    """The uploads that a new pause leaves alone. Raises OperatorError."""
    return Exemption(
        folded("--except-class", given.class_, fold_label),
        folded("--except-surface", given.surface, fold_label),
        folded("--except-kind", given.kind, fold_label),
        countries("--except-country", given.country),
        frozenset() if given.accounts is None else accounts_in(given.accounts),
        verified,
    )


def accounts_in(file: Path) -> frozenset[str]:
    """The account ids of a file, one a line; empty lines and those that begin with # do not count. Raises OperatorError."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_LIST_BYTES + 1)
        if len(data) > MAX_LIST_BYTES:
            raise OperatorError(
                f"the list of accounts {file} is longer than {MAX_LIST_BYTES} bytes",
                f"at most {MAX_ACCOUNTS} ids go into one pause: split it",
            )
        lines = re.split(r"[\r\n]", data.decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(
            f"the list of accounts {file} cannot be read: {file_problem(error)}", "give a file of one id a line"
        ) from error
    found = frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    comments = sum(line.startswith("#") for line in lines)
    if comments:  # an account's id may begin so, too
        say(f"left out of {file}: {counted(comments, 'line')} beginning with #")
    if not found:
        raise OperatorError(f"the list of accounts {file} holds no id", "give a file of one id a line")
    if len(found) > MAX_ACCOUNTS:
        raise OperatorError(
            f"the list of accounts {file} holds {len(found)} ids", f"at most {MAX_ACCOUNTS} go into one pause: split it"
        )
    refused = sorted(id_ for id_ in found if is_hidden(id_) or len(id_) > MAX_ID_BYTES)
    if refused:
        raise OperatorError(
            f"an id in {file} is longer than {MAX_ID_BYTES} or has a character that cannot be shown: {refused[0][:SHOWN_CHARS]}",
            "correct the file",
        )
    say(
        *(
            f"warning: no upload can have the account id {id_} of {file}, so it holds nobody"
            for id_ in sorted(filter(_is_no_id, found))[:NAMED_ACCOUNTS]
        )
    )
    return found


def _is_no_id(id_: str) -> bool:
    """True for an id that checks refuse, such as `null`."""
    try:
        return identity(id_, NO_IDS) != id_
    except Unusable:
        return True


def countries(flag: str, given: Iterable[str] | None) -> frozenset[str]:
    """Raises OperatorError for what no upload's country can be: uploads carry two letters."""
    found = folded(flag, given, fold_country)
    for country in sorted(found):
        if not re.fullmatch("[A-Z][A-Z0-9]", country):
            raise OperatorError(
                f"{flag} {country} is not a country as uploads name it", "give two letters (ISO 3166-1), such as DE"
            )
    return found


def folded(flag: str, given: Iterable[str] | None, fold: Callable[[str], str]) -> frozenset[str]:
    """The values of a flag as checks compare them. Raises OperatorError for one that is empty or cannot be shown."""
    values = frozenset(fold(value) for value in given or ())
    if any(not value or not value.isprintable() for value in values):
        raise OperatorError(f"a value of {flag} is empty or cannot be shown, and would be no scope", f"correct {flag}")
    return values


def _span_us(flag: str, text: str) -> int:
    try:
        return parse_duration_us(text)
    except ValueError as error:
        raise OperatorError(f"{flag}: {error}", f"write {flag} 7d") from error


def span_us(flag: str, text: str | None) -> int | None:
    """The µs of a span that was typed, None where none was. `0` means none at all. Raises OperatorError."""
    if text is None:
        return None
    return 0 if text.strip() == "0" else _span_us(flag, text)
