"""The scope of a pause, which is the uploads it matches, and its action on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gate.core.fields.labels import scope_countries, scope_labels


class Action(StrEnum):
    """What a pause does to the uploads it matches, the most restrictive first."""

    STOP = "stop"
    CHALLENGE = "challenge"
    REVIEW = "review"


STRICTNESS = {Action.STOP: 2, Action.CHALLENGE: 1, Action.REVIEW: 0}


@dataclass(frozen=True, slots=True)
class Scope:
    """The uploads that a pause matches: each set that is not empty must contain the upload's value.

    If all sets are empty, the pause is platform-wide. Values are folded like those of uploads, so that `IMAGE` and
    `image` are one kind.
    """

    classes: frozenset[str] = frozenset()
    surfaces: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", scope_labels(self.classes))
        object.__setattr__(self, "surfaces", scope_labels(self.surfaces))
        object.__setattr__(self, "kinds", scope_labels(self.kinds))
        object.__setattr__(self, "countries", scope_countries(self.countries))

    def matches(self, class_: str, surface: str | None, kind: str | None, country: str | None) -> bool:
        """True if every set that is not empty contains the upload's value. A value of None is in no set."""
        return (
            (not self.classes or class_ in self.classes)
            and (not self.surfaces or surface in self.surfaces)
            and (not self.kinds or kind in self.kinds)
            and (not self.countries or country in self.countries)
        )

    @property
    def sets(self) -> dict[str, frozenset[str]]:
        """The four sets by their names in the document."""
        return {
            "classes": self.classes,
            "surfaces": self.surfaces,
            "kinds": self.kinds,
            "countries": self.countries,
        }

    @property
    def platform_wide(self) -> bool:
        """True if all sets are empty."""
        return not any(self.sets.values())

    def __str__(self) -> str:
        if self.platform_wide:
            return "platform-wide"
        parts = (
            ("class", self.classes),
            ("surface", self.surfaces),
            ("kind", self.kinds),
            ("country", self.countries),
        )
        return " and ".join(f"{name} {'|'.join(sorted(values))}" for name, values in parts if values)
