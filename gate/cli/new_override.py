"""An override as staff give it: by the flags of `override set`, or by the lines of a file for `override import`.

A file is JSON lines, a table as spreadsheets save it (CSV) whose first line names the columns, or what `override list -o json`
printed. The whole file is read before anything is said of it, and the error names every line that is wrong. Setting the
overrides is left to the command.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gate.cli.account_id import account_id
from gate.cli.output import counted, say
from gate.core.duration import parse_duration_us
from gate.core.fields.text import repaired
from gate.core.override import Override
from gate.errors import FileInvalid, OperatorError, file_problem
from gate.records.override import stored_override

MOST_IMPORTED: Final = 10_000
MOST_NAMED: Final = 20
FIELDS: Final = ("account", "for", "reason", "allow", "deny", "limits")
EXAMPLE: Final = '{"account":"a-17","for":"7d","reason":"farm","deny":true}'
YES: Final = frozenset({"true", "yes", "1", "x"})
NO: Final = frozenset({"", "false", "no", "0"})

Line = tuple[int, Mapping[str, Any] | str]
"""The number of a line, and its fields, or what is wrong with it."""


def new_override(
    allow: bool, deny: bool, limits: str | None, for_: str, reason: str, by: str, now_us: int, *, flag: str = "--"
) -> Override:
    """The override that begins at `now_us`. Raises OperatorError; `flag` stands before the names of what is given."""
    if allow + deny + (limits is not None) != 1:
        raise OperatorError(
            "an override either lets in, refuses or changes limits",
            f"give one of {flag}allow, {flag}deny and {flag}limits CLASS" if flag else "give allow, deny or limits",
        )
    if limits is not None and not limits.strip():
        raise OperatorError(f"{flag}limits needs the name of a class", "such as trusted")
    if not reason.strip():
        raise OperatorError("the reason is empty", "say why in a few words")
    try:
        lasts_us = parse_duration_us(for_)
    except ValueError as error:
        raise OperatorError(f"{flag}for: {error}") from error
    name = None if limits is None else limits.strip().lower()
    override = Override(allow, repaired(reason.strip()), by, now_us + lasts_us, name)
    try:
        stored_override(override)
    except ValueError as error:
        raise OperatorError(f"no override can hold this: {error}", "shorten it; nothing was set") from error
    return override


def overrides_in(file: Path, by: str, now_us: int) -> list[tuple[str, Override]]:
    """The overrides in `file`, by account, which begin at `now_us`. Raises OperatorError with the lines that are wrong, at most
    MOST_NAMED."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(
            f"{file} cannot be read: {file_problem(error)}",
            f"give a file of JSON lines such as {EXAMPLE}, or a CSV file",
        ) from error
    found: dict[str, tuple[int, Override]] = {}
    problems: list[str] = []
    for number, fields in _lines(file, text, now_us):
        try:
            account, override = _override_of(fields, by, now_us)
        except (ValueError, OperatorError) as error:
            problems.append(f"{file}:{number}: {error}")
            continue
        if account in found:
            problems.append(
                f"{file}:{number}: {account} occurs twice, first in line {found[account][0]}; keep one line"
            )
        else:
            found[account] = number, override
    if problems:
        hidden = len(problems) - MOST_NAMED
        more = [f"and {hidden:,} more lines are wrong"] if hidden > 0 else []
        raise FileInvalid([*problems[:MOST_NAMED], *more, "nothing was set; correct the file"])
    if not 0 < len(found) <= MOST_IMPORTED:
        raise OperatorError(f"{file} has {len(found):,} overrides", f"a file has 1 to {MOST_IMPORTED:,}")
    return [(account, override) for account, (_, override) in found.items()]


def _override_of(fields: Mapping[str, Any] | str, by: str, now_us: int) -> tuple[str, Override]:
    """The account and the override of one line. Raises ValueError or OperatorError with what is wrong."""
    if isinstance(fields, str):
        raise ValueError(fields)
    if unknown := fields.keys() - set(FIELDS):
        raise ValueError(f"unknown fields: {', '.join(sorted(unknown))}; known are {', '.join(FIELDS)}")
    texts = []
    for name in ("account", "for", "reason"):
        value = fields.get(name)
        if value is None or value == "":
            raise ValueError(f"{name} is missing; it is a text")
        if not isinstance(value, str):
            raise ValueError(f"{name} is no text; write it in quotes")
        texts.append(value)
    account, for_, reason = texts
    limits = fields.get("limits")
    if limits is not None and not isinstance(limits, str):
        raise ValueError("limits is the name of a class")
    for name in ("allow", "deny"):
        if not isinstance(fields.get(name, False), bool):
            raise ValueError(f"{name} is true, or is left out")
    allow, deny = (bool(fields.get(name, False)) for name in ("allow", "deny"))
    return account_id(account), new_override(allow, deny, limits, for_, reason, by, now_us, flag="")


def _lines(file: Path, text: str, now_us: int) -> Iterable[Line]:
    """The lines of a file in one of its three forms."""
    if _is_table(file, text):
        return _table(text)
    listed = _listed(text, now_us)
    return _json_lines(text) if listed is None else listed


def _listed(text: str, now_us: int) -> list[Line] | None:
    """The overrides that `override list -o json` printed, without those that have expired; None for another file."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not isinstance(document.get("overrides"), list):
        return None
    found: list[Line] = []
    expired = 0
    for number, given in enumerate(document["overrides"], 1):
        try:
            left_s = int(datetime.fromisoformat(given["expires_at"]).timestamp() - now_us / 1e6)
            fields: dict[str, Any] = {"account": given["account"], "reason": given["reason"], "for": f"{left_s}s"}
            limits = given.get("limits")
            fields |= {"limits": limits} if limits is not None else {given["override"]: True}
        except (AttributeError, KeyError, TypeError, ValueError):
            found.append((number, "is no override as `override list -o json` prints it"))
            continue
        if left_s > 0:
            found.append((number, fields))
        else:
            expired += 1
    if expired:
        say(f"left out, as expired: {counted(expired, 'override')}")
    return found


def _json_lines(text: str) -> Iterator[Line]:
    """Each line that is not empty, as an object or what is wrong with it."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            yield number, f"is not JSON; each line is one override, such as {EXAMPLE}"
            continue
        yield number, fields if isinstance(fields, dict) else f"is not a JSON object, such as {EXAMPLE}"


def _is_table(file: Path, text: str) -> bool:
    """True for a file whose name ends in .csv, and for one whose first line names the column `account`."""
    head = _head(text)
    return file.suffix.lower() == ".csv" or (not head.startswith(("{", "[")) and "account" in _cells(head))


def _table(text: str) -> Iterator[Line]:
    """Each row of a table by the names of its columns, or what is wrong with it."""
    rows = csv.reader(text.splitlines(keepends=True), delimiter=_separator(_head(text)))
    columns: list[str] = []
    begins = 1
    try:
        for row in rows:
            number, begins = begins, rows.line_num + 1
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not columns:
                columns = [cell.lower() for cell in cells]
                if "account" not in columns or set(columns) - set(FIELDS):
                    yield number, f"the first line of a table names its columns, which are some of: {', '.join(FIELDS)}"
                    return
            elif len(cells) > len(columns):
                yield number, f"has {len(cells)} cells for {len(columns)} columns; quote a text that has a comma"
            else:
                yield number, _fields(dict(zip(columns, cells, strict=False)))
    except csv.Error as error:
        yield begins, f"is no row of a table: {error}"


def _fields(cells: Mapping[str, str]) -> Mapping[str, Any] | str:
    """The fields of a row. An empty cell is a field that is left out."""
    fields: dict[str, Any] = {name: cell for name, cell in cells.items() if cell}
    for name in ("allow", "deny"):
        said = cells.get(name, "").lower()
        if said not in YES | NO:
            return f"{name} is true or empty"
        fields[name] = said in YES
    return fields


def _head(text: str) -> str:
    """The first line that is not empty."""
    return text.lstrip().partition("\n")[0]


def _separator(head: str) -> str:
    """The sign between cells: spreadsheets write a semicolon or a tab in some countries."""
    return max((",", ";", "\t"), key=head.count)


def _cells(head: str) -> list[str]:
    return [cell.strip().strip('"').lower() for cell in head.split(_separator(head))]
