"""The options that describe one upload, as `check` and `peek` take them: one for each field of a check, by the table of fields.

An option passes its value on as it is typed. The gate reads it by the field's rule, and names what it ignores.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Annotated, Any, Final, NamedTuple

import typer

from gate.core.fields.rules import BY_SUBJECT, FieldKind, MessageType, Rule

RULES: Final = BY_SUBJECT[MessageType.CHECK]
UPLOAD_ID: Final = "upload_id"
_FIRST: Final = ("account.id", "media.kind", "account.class")
"""The options that stand first in the help."""
_HELP: Final = {
    "account.id": "Account id, such as a-17.",
    "account.class": "Account class, such as new; else the policy derives it.",
    "account.created_at": "When the account was made, such as 2026-11-20T08:00:00Z.",
    "account.verified": "Whether the platform has verified who the account is.",
    "media.kind": "Media kind, such as video.",
    "media.bytes": "Declared size in bytes.",
    "media.sha256": "SHA-256 of the bytes.",
    "media.phash": "Perceptual hash of the picture.",
    "surface": "Surface uploaded to, such as story.",
    "ip": "The uploader's IP address.",
    "device": "Device id.",
    "country": "Country, such as DE.",
    "started_at": "When the upload began, if it is under way, such as 2026-11-20T08:00:00Z.",
    "text": "Caption.",
    "links": "Link that the upload carries; repeat it for several.",
}
_NAMES: Final = {"account.id": ("--account",), "account.class": ("--class", "-c"), "links": ("--link",)}
"""The options whose name is not the last part of the field's name."""
_TYPES: Final[dict[FieldKind, Any]] = {FieldKind.SIZE: int, FieldKind.FLAG: bool, FieldKind.LINKS: list[str]}
_KIND: Final = "image"


class UploadFlags(NamedTuple):
    """The options that were typed, by the names of their fields."""

    fields: dict[str, object]

    @property
    def account(self) -> str:
        """The account's id."""
        return str(self.fields["account.id"])

    def document(self, upload_id: str) -> dict[str, object]:
        """The body of a check, with `upload_id` if none was typed."""
        return document({UPLOAD_ID: upload_id, **self.fields})


def document(fields: dict[str, object]) -> dict[str, object]:
    """The body of a check that has these fields."""
    upload: dict[str, Any] = {}
    for name, value in fields.items():
        part, _, last = name.rpartition(".")
        (upload.setdefault(part, {}) if part else upload)[last] = value
    return upload


def names_of(rule: Rule) -> tuple[str, ...]:
    """The names of a field's option."""
    return _NAMES.get(rule.name) or (f"--{rule.name.rpartition('.')[2].replace('_', '-')}",)


def with_upload_flags(upload_id: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of an upload in place of its parameter `upload`. `upload_id` explains that option."""
    options = {_variable(rule): rule for rule in sorted(RULES, key=_place)}

    def give(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def given(**values: Any) -> None:
            typed = {rule.name: values.pop(name) for name, rule in options.items()}
            command(UploadFlags({name: value for name, value in typed.items() if value not in (None, [])}), **values)

        signature = inspect.signature(command, eval_str=True)
        own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in signature.parameters.values()]
        parameters = [*_parameters(options, upload_id), *(each for each in own if each.name != "upload")]
        given.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        given.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
        return given

    return give


def _parameters(options: dict[str, Rule], upload_id: str) -> Iterator[inspect.Parameter]:
    annotated: Any = Annotated  # the types are known only here
    for name, rule in options.items():
        typed, empty = _TYPES.get(rule.kind, str), inspect.Parameter.empty
        default = empty if rule.name == "account.id" else _KIND if rule.name == "media.kind" else None
        least = 0 if rule.kind is FieldKind.SIZE else None
        option = typer.Option(*_declarations(rule), help=_help(rule, upload_id), min=least)
        annotation = annotated[typed if default is not None else typed | None, option]
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _help(rule: Rule, upload_id: str) -> str:
    if rule.name == UPLOAD_ID:
        return upload_id
    return _HELP.get(rule.name) or f"{rule.meaning[:1].upper()}{rule.meaning[1:]}."


def _declarations(rule: Rule) -> tuple[str, ...]:
    (name, *others) = names_of(rule)
    return (f"{name}/--un{name[2:]}",) if rule.kind is FieldKind.FLAG else (name, *others)


def _variable(rule: Rule) -> str:
    return f"{rule.name.rpartition('.')[2]}_" if "." in rule.name else rule.name


def _place(rule: Rule) -> int:
    return _FIRST.index(rule.name) if rule.name in _FIRST else len(_FIRST)
