"""The scope of a pause, which is the uploads it matches, and its action on them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gate.core.duration import duration_text
from gate.core.fields.labels import scope_countries, scope_labels

NAMED_ACCOUNTS = 3
"""More accounts than this are counted in a sentence, not named."""


class Action(StrEnum):
    """What a pause does to the uploads it matches, the most restrictive first.

    `throttle` lets each account upload in a share of all minutes only, the pause's factor. `allow-only` stops the
    uploads of every account that is not verified.
    """

    STOP = "stop"
    ALLOW_ONLY = "allow-only"
    THROTTLE = "throttle"
    CHALLENGE = "challenge"
    REVIEW = "review"


STRICTNESS = {action: number for number, action in enumerate(reversed(Action))}


class PauseMode(StrEnum):
    """Whether a pause acts on uploads, or only counts the uploads that it would act on."""

    ENFORCE = "enforce"
    DRY_RUN = "dry_run"


class InFlight(StrEnum):
    """What becomes of uploads that began before the pause: they may end (`drain`), or they meet it too (`abort`)."""

    DRAIN = "drain"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Scope:
    """The uploads that a pause matches: each set that is not empty must contain the upload's value.

    `younger_than_us` matches accounts that were created less than so many µs ago, `risk_from` accounts whose score counts
    and is at least so high. An upload whose value is not known is in no set, has no age and no score. If nothing is
    given, the pause is platform-wide. Labels are folded like those of uploads, so that `IMAGE` and `image` are one kind.
    """

    classes: frozenset[str] = frozenset()
    surfaces: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    younger_than_us: int | None = None
    risk_from: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", scope_labels(self.classes))
        object.__setattr__(self, "surfaces", scope_labels(self.surfaces))
        object.__setattr__(self, "kinds", scope_labels(self.kinds))
        object.__setattr__(self, "countries", scope_countries(self.countries))

    def matches(
        self,
        class_: str,
        surface: str | None,
        kind: str | None,
        country: str | None,
        account: str | None = None,
        age_us: int | None = None,
        risk: float | None = None,
    ) -> bool:
        """True if the upload is in the scope. A value of None is not known."""
        return (
            (not self.classes or class_ in self.classes)
            and (not self.surfaces or surface in self.surfaces)
            and (not self.kinds or kind in self.kinds)
            and (not self.countries or country in self.countries)
            and (not self.accounts or account in self.accounts)
            and (self.younger_than_us is None or (age_us is not None and age_us < self.younger_than_us))
            and (self.risk_from is None or (risk is not None and risk >= self.risk_from))
        )

    @property
    def sets(self) -> dict[str, frozenset[str]]:
        """The sets by their names in the document."""
        return {
            "classes": self.classes,
            "surfaces": self.surfaces,
            "kinds": self.kinds,
            "countries": self.countries,
            "accounts": self.accounts,
        }

    @property
    def platform_wide(self) -> bool:
        """True if the scope names nothing."""
        return self.younger_than_us is None and self.risk_from is None and not any(self.sets.values())

    def __str__(self) -> str:
        if self.platform_wide:
            return "platform-wide"
        parts = (
            ("class", self.classes),
            ("surface", self.surfaces),
            ("kind", self.kinds),
            ("country", self.countries),
        )
        said = [f"{name} {'|'.join(sorted(values))}" for name, values in parts if values]
        if self.accounts:
            few = len(self.accounts) <= NAMED_ACCOUNTS
            said.append(f"account {'|'.join(sorted(self.accounts))}" if few else f"{len(self.accounts)} accounts")
        if self.younger_than_us is not None:
            said.append(f"accounts younger than {duration_text(self.younger_than_us)}")
        if self.risk_from is not None:
            said.append(f"risk from {self.risk_from:g}")
        return " and ".join(said)


@dataclass(frozen=True, slots=True)
class Exemption:
    """The uploads that a pause leaves alone: those with a value in any of the sets, and verified accounts if `verified`.

    An exemption applies to its own pause only: another pause may still match the upload.
    """

    classes: frozenset[str] = frozenset()
    surfaces: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    verified: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", scope_labels(self.classes))
        object.__setattr__(self, "surfaces", scope_labels(self.surfaces))
        object.__setattr__(self, "kinds", scope_labels(self.kinds))
        object.__setattr__(self, "countries", scope_countries(self.countries))

    def __bool__(self) -> bool:
        return self.verified or any((self.classes, self.surfaces, self.kinds, self.countries, self.accounts))

    def __str__(self) -> str:
        sets = Scope(self.classes, self.surfaces, self.kinds, self.countries, self.accounts)
        said = [] if sets.platform_wide else [str(sets).replace(" and ", ", ")]
        return ", ".join([*said, *(["verified accounts"] if self.verified else [])])


NOBODY = Exemption()
"""The exemption of a pause that leaves no upload alone."""
