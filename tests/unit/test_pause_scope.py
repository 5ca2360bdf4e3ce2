"""Which uploads a scope matches and an exemption leaves alone, and how both read in a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from gate.core.duration import DAY_US
from gate.core.pause.scope import NOBODY, STRICTNESS, Action, Exemption, Scope

UPLOAD = {
    "class_": "new",
    "surface": "post",
    "kind": "image",
    "country": "DE",
    "account": "a",
    "age_us": 9,
    "risk": 0.5,
}


def one(*values: str) -> frozenset[str]:
    return frozenset(values)


def test_the_actions_from_the_mildest_to_the_strictest() -> None:
    assert sorted(Action, key=STRICTNESS.__getitem__) == ["review", "challenge", "throttle", "allow-only", "stop"]


@pytest.mark.parametrize(
    "scope",
    [
        Scope(),
        Scope(classes=one("new", "regular")),
        Scope(surfaces=one("post")),
        Scope(kinds=one("image")),
        Scope(countries=one("DE", "FR")),
        Scope(accounts=one("a")),
        Scope(younger_than_us=10),
        Scope(risk_from=0.5),
        Scope(one("new"), one("post"), one("image"), one("DE"), one("a"), 10, 0.5),
    ],
)
def test_an_upload_is_in_a_scope_that_names_all_of_its_values(scope: Scope) -> None:
    assert scope.matches(**UPLOAD)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        (Scope(classes=one("regular")), "class_"),
        (Scope(surfaces=one("chat")), "surface"),
        (Scope(kinds=one("video")), "kind"),
        (Scope(countries=one("FR")), "country"),
        (Scope(accounts=one("b")), "account"),
        (Scope(younger_than_us=9), "age_us"),
        (Scope(risk_from=0.51), "risk"),
    ],
)
def test_an_upload_is_not_in_a_scope_that_names_another_value_or_where_its_own_is_not_known(
    scope: Scope, name: str
) -> None:
    upload: dict[str, Any] = UPLOAD

    assert not scope.matches(**upload)
    assert name == "class_" or not scope.matches(**upload | {name: None})
    assert Scope().matches(**upload | {name: None})


@pytest.mark.parametrize(
    "scope",
    [
        *(Scope(classes=one("new")), Scope(surfaces=one("post")), Scope(kinds=one("image"))),
        *(Scope(countries=one("DE")), Scope(accounts=one("a")), Scope(younger_than_us=0), Scope(risk_from=0.0)),
    ],
)
def test_a_scope_that_names_anything_is_not_platform_wide(scope: Scope) -> None:
    assert not scope.platform_wide
    assert Scope().platform_wide


def test_labels_of_scopes_and_exemptions_are_folded_like_those_of_uploads() -> None:
    names = one("NEW"), one("Post"), one("Image"), one("de"), one("A")
    folded = one("new"), one("post"), one("image"), one("DE"), one("A")

    assert Scope(*names) == Scope(*folded)
    assert Exemption(*names) == Exemption(*folded)
    assert tuple(Scope(*names).sets.items()) == tuple(
        zip(("classes", "surfaces", "kinds", "countries", "accounts"), folded, strict=True)
    )


@pytest.mark.parametrize(
    ("scope", "sentence"),
    [
        (Scope(), "platform-wide"),
        (Scope(one("new", "a"), one("post"), one("image")), "class a|new and surface post and kind image"),
        (Scope(countries=one("FR", "DE")), "country DE|FR"),
        (Scope(accounts=one("c", "a", "b")), "account a|b|c"),
        (Scope(accounts=one("c", "a", "b", "d")), "4 accounts"),
        (Scope(younger_than_us=2 * DAY_US), "accounts younger than 2d"),
        (Scope(risk_from=0.75), "risk from 0.75"),
        (Scope(one("new"), risk_from=0.5), "class new and risk from 0.5"),
    ],
)
def test_a_scope_reads_as_a_sentence(scope: Scope, sentence: str) -> None:
    assert str(scope) == sentence


@pytest.mark.parametrize(
    ("exemption", "sentence"),
    [
        (Exemption(verified=True), "verified accounts"),
        (Exemption(one("trusted")), "class trusted"),
        (Exemption(surfaces=one("chat")), "surface chat"),
        (Exemption(kinds=one("image")), "kind image"),
        (Exemption(countries=one("DE")), "country DE"),
        (Exemption(accounts=one("a")), "account a"),
        (Exemption(one("trusted"), kinds=one("image"), verified=True), "class trusted, kind image, verified accounts"),
    ],
)
def test_an_exemption_reads_as_a_list(exemption: Exemption, sentence: str) -> None:
    assert exemption
    assert str(exemption) == sentence


def test_an_exemption_of_nobody_is_none() -> None:
    assert not NOBODY
    assert str(NOBODY) == ""
    assert Exemption() == NOBODY
