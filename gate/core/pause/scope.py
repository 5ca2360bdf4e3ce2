"""Which uploads a pause matches, and what it does to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gate.core.fields.labels import scope_countries, scope_labels


class Action(StrEnum):
    """What a pause does to the uploads it meets, the most restrictive first."""

    STOP = "stop"
    CHALLENGE = "challenge"
    REVIEW = "review"


STRICTNESS = {Action.STOP: 2, Action.CHALLENGE: 1, Action.REVIEW: 0}


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a pause meets: each set that is not empty must contain the upload's value. All empty: platform-wide.

    The values are folded as those of uploads are, so that `IMAGE` and `image` are one kind.
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
        """True where every set that is given contains the upload's value; a value the caller left out matches none."""
        return (
            (not self.classes or class_ in self.classes)
            and (not self.surfaces or surface in self.surfaces)
            and (not self.kinds or kind in self.kinds)
            and (not self.countries or country in self.countries)
        )

    @property
    def sets(self) -> dict[str, frozenset[str]]:
        """The four sets by the names under which they are written."""
        return {
            "classes": self.classes,
            "surfaces": self.surfaces,
            "kinds": self.kinds,
            "countries": self.countries,
        }

    @property
    def platform_wide(self) -> bool:
        """True where nothing narrows the scope."""
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
