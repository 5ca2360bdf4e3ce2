"""Compares two policies by their documents: every key that differs, with both values, and which of the two is stricter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gate.core.policy import Mode, OnStoreError, PausesUnknown
from gate.policyfile.table import dotted, duration_of, size_of

Document = Mapping[str, object]


class Effect(StrEnum):
    """What a difference means for uploaders: fewer uploads pass, more pass, or neither is sure."""

    TIGHTER = "tighter"
    LOOSER = "looser"
    OTHER = "other"

    @property
    def reverse(self) -> Effect:
        """The effect of the opposite change."""
        return {Effect.TIGHTER: Effect.LOOSER, Effect.LOOSER: Effect.TIGHTER}.get(self, self)


@dataclass(frozen=True, slots=True)
class Difference:
    """One key whose value differs; None where a policy does not have the key."""

    path: tuple[str, ...]
    before: object
    after: object
    effect: Effect

    @property
    def key(self) -> str:
        """The path with dots, as in a policy file."""
        return dotted(self.path)

    @property
    def text(self) -> str:
        """The difference in words."""
        effect = "" if self.effect is Effect.OTHER else f" ({self.effect})"
        if isinstance(self.before, list) and isinstance(self.after, list):
            gone = [str(value) for value in self.before if value not in self.after]
            come = [str(value) for value in self.after if value not in self.before]
            parts = [f"{word} {', '.join(values)}" for word, values in (("with", come), ("without", gone)) if values]
            return f"{self.key}: {'; '.join(parts)}{effect}"
        if self.before is None:
            return f"{self.key}: {_shown(self.after)} is added{effect}"
        if self.after is None:
            return f"{self.key}: {_shown(self.before)} is removed{effect}"
        return f"{self.key}: {_shown(self.before)} becomes {_shown(self.after)}{effect}"


def differences(before: Document, after: Document) -> list[Difference]:
    """Every key that differs, in the order of `after`, then what only `before` has. Both hold all defaults. The order of a
    list is no difference; that of the classes, by which overload refuses them, is."""
    return [*_differences((), before, after), *_order_of_classes(before.get("classes"), after.get("classes"))]


def _order_of_classes(before: object, after: object) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        old, new = [name for name in before if name in after], [name for name in after if name in before]
        if old != new:
            yield Difference(("classes",), _in_order(old), _in_order(new), Effect.OTHER)


def _in_order(names: list[str]) -> str:
    return f"the order {', '.join(names)}"


def _differences(path: tuple[str, ...], before: Document, after: Document) -> Iterator[Difference]:
    for key in [*after, *(key for key in before if key not in after)]:
        place, old, new = (*path, key), before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(place, old, new)
        elif isinstance(old, list) and isinstance(new, list):
            if set(old) != set(new):
                yield Difference(place, old, new, _effect(place, old, new))
        elif old != new:
            yield Difference(place, old, new, _effect(place, old, new))


_STRICTER_FIRST = {
    "mode": [mode.value for mode in (Mode.ENFORCE, Mode.SHADOW, Mode.OFF)],
    "pauses_unknown": [each.value for each in (PausesUnknown.STOP, PausesUnknown.OPEN)],
    "on_store_error": [each.value for each in (OnStoreError.CLOSED, OnStoreError.LOCAL, OnStoreError.OPEN)],
}
_MORE_IS_LOOSER = frozenset(("rate", "burst", "review", "challenge", "deny"))
_MORE_IS_TIGHTER = frozenset(("per", "max_age", "new_below"))


def _effect(path: tuple[str, ...], old: object, new: object) -> Effect:
    key, top = path[-1], path[0]
    if path == ("deny", "accounts"):
        gone, come = set(_listed(old)) - set(_listed(new)), set(_listed(new)) - set(_listed(old))
        return Effect.OTHER if gone and come else Effect.TIGHTER if come else Effect.LOOSER
    if top == "limits" and (old is None or new is None) and (len(path) == 2 or path[-2] == "rates"):
        return Effect.TIGHTER if old is None else Effect.LOOSER  # a limit, or one class's part of it
    if top == "classes" and path[-2:-1] == ("score",) and (old is None or new is None):
        return Effect.TIGHTER if old is None else Effect.LOOSER  # a threshold
    if (order := _STRICTER_FIRST.get(key)) and old in order and new in order:
        return Effect.TIGHTER if order.index(str(new)) < order.index(str(old)) else Effect.LOOSER
    was, is_ = _number(old), _number(new)
    if was is None or is_ is None or key not in _MORE_IS_LOOSER | _MORE_IS_TIGHTER:
        return Effect.OTHER
    effect = Effect.LOOSER if is_ > was else Effect.TIGHTER
    return effect if key in _MORE_IS_LOOSER else effect.reverse


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return duration_of(value) or size_of(value)
    return value if isinstance(value, int | float) else None


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items()) or "an empty table"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "an empty list"
    return f"{value:g}" if isinstance(value, float) else str(value)
