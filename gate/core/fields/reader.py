"""Reads the fields of one JSON object by the table of rules: the kept values, and the reason for each dropped one.

Every reader of the project calls this for objects that its fast path does not accept, so that all readers agree on
every value. Reading the kept values again does not change them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from gate.core.fields import rules
from gate.core.fields.address import address
from gate.core.fields.ids import content_hash, digest_of, identity, key, perceptual_hash
from gate.core.fields.labels import country, label, optional_label
from gate.core.fields.reasons import Dropped, FieldRefused, Unusable
from gate.core.fields.rules import BY_SUBJECT, PARTS, FieldKind, MessageType, Rule
from gate.core.fields.sentinels import NO_DEVICES
from gate.core.fields.text import repaired
from gate.core.fields.times import creation, moment, since_epoch_us

Value = Any  # any JSON value


class Fields(NamedTuple):
    """The result of reading. `kept` has the shape of the object that was sent, without fields that have no rule."""

    kept: dict[str, Value]
    dropped: dict[str, Dropped]


def read_fields(raw: Mapping[str, Value], subject: MessageType, at_us: int | None = None) -> Fields:
    """The fields of `raw` by the rules of `subject`. Raises FieldRefused if a required field is missing or unusable.

    An account's creation must not be later than `at_us`; None takes that time from the event's `at`.
    """
    kept: dict[str, Value] = {}
    dropped: dict[str, Dropped] = {}
    parts = {name: _part(raw, name, subject, dropped) for name in PARTS}
    for rule in BY_SUBJECT[subject]:
        part, _, name = rule.name.rpartition(".")
        given = (parts[part] if part else raw).get(name)
        if given is None:
            if subject in rule.required:
                raise FieldRefused(rule.name, None)
            continue
        try:
            value = _read(rule, given, _as_of_us(rule, kept, at_us), dropped)
        except Unusable as unusable:
            if subject in rule.required:
                raise FieldRefused(rule.name, unusable.reason) from None
            dropped[rule.name] = unusable.reason
            continue
        (kept.setdefault(part, {}) if part else kept)[name] = value
    return Fields(kept, dropped)


def _part(
    raw: Mapping[str, Value], name: str, subject: MessageType, dropped: dict[str, Dropped]
) -> Mapping[str, Value]:
    given = raw.get(name)
    if given is None or isinstance(given, dict):
        return given or {}
    if any(subject in rule.required for rule in BY_SUBJECT[subject] if rule.name.startswith(f"{name}.")):
        raise FieldRefused(name, Dropped.TYPE_WRONG)
    if any(rule.name.startswith(f"{name}.") for rule in BY_SUBJECT[subject]):
        dropped[name] = Dropped.TYPE_WRONG
    return {}


def _as_of_us(rule: Rule, kept: dict[str, Value], at_us: int | None) -> int:
    """The time that an account's creation is compared with. The table lists `at` before it."""
    if rule.kind is not FieldKind.CREATION or at_us is not None:
        return at_us or 0
    return since_epoch_us(kept["at"])


def _read(rule: Rule, given: Value, at_us: int, dropped: dict[str, Dropped]) -> Value:
    """The value to keep. A value that is kept only in part is also noted in `dropped`."""
    note = partial(dropped.__setitem__, rule.name)
    match rule.kind:
        case FieldKind.CREATION:
            return creation(given, at_us)
        case FieldKind.MOMENT:
            return moment(given)
        case FieldKind.SIZE:
            return _size(given)
        case FieldKind.FLAG:
            if not isinstance(given, bool):
                raise Unusable(Dropped.TYPE_WRONG)
            return given
        case FieldKind.LINKS:
            return _links(given, note)
    if not isinstance(given, str):
        raise Unusable(Dropped.TYPE_WRONG)
    if rule.kind is FieldKind.TEXT:
        return _text(given, note)
    try:
        value = _OF_STRINGS[rule.kind](given)
    except Unusable as unusable:
        if unusable.reason is not Dropped.TOO_LONG or rule.kind not in _HASHED:
            raise
        note(Dropped.HASHED)
        return digest_of(given)
    if rule.choices and value not in rule.choices:
        raise Unusable(Dropped.INVALID)
    return value


_OF_STRINGS: dict[FieldKind, Callable[[str], str]] = {
    FieldKind.KEY: key,
    FieldKind.ID: lambda value: identity(value, NO_DEVICES),
    FieldKind.CONTENT: content_hash,
    FieldKind.PERCEPTUAL: perceptual_hash,
    FieldKind.LABEL: optional_label,
    FieldKind.WORD: label,
    FieldKind.COUNTRY: country,
    FieldKind.ADDRESS: address,
}
_HASHED = frozenset((FieldKind.ID, FieldKind.CONTENT, FieldKind.PERCEPTUAL))


def _size(given: Value) -> int:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise Unusable(Dropped.TYPE_WRONG)
    if not 0 <= given <= rules.MAX_UPLOAD_BYTES:
        raise Unusable(Dropped.OUT_OF_RANGE)
    if given != int(given):
        raise Unusable(Dropped.INVALID)
    return int(given)


def _text(given: str, note: Callable[[Dropped], None]) -> str:
    if not given or given.isspace():
        raise Unusable(Dropped.UNKNOWN)
    head = given[: rules.MAX_TEXT_CHARS]
    value = repaired(head)
    if value is not head:
        note(Dropped.REPAIRED)
    if len(given) > len(head):
        note(Dropped.CUT)
    return value


def _links(given: Value, note: Callable[[Dropped], None]) -> tuple[str, ...]:
    if not isinstance(given, list | tuple):
        raise Unusable(Dropped.TYPE_WRONG)
    kept = []
    for item in given[: rules.MAX_LINKS]:
        if not isinstance(item, str):
            note(Dropped.SOME_ITEMS)
        elif item and not item.isspace():
            kept.append(_link(item, note))
    if len(given) > rules.MAX_LINKS:
        note(Dropped.CUT)
    return tuple(kept)


def _link(given: str, note: Callable[[Dropped], None]) -> str:
    head = given[: rules.MAX_LINK_CHARS]
    if len(head) < len(given):
        note(Dropped.CUT)
    return repaired(head)
