"""The wording of reasons: every feature and every reason of a score has one, and the public one names no evidence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gate.core.decide import _SCORES
from gate.core.score import Reason
from gate.errors import PolicyInvalid
from gate.policyfile.reason_texts import ReasonTexts, load_reason_texts, parse_reason_texts
from streams.core.features import FAMILIES, FEATURES

EVIDENCE = {"device", "network", "address", "caption", "link", "host", "age", "new", "bot", "scam", "spam", "score", "risk",
            "report", "fast", "often", "many", "same", "shared", "machine", "automated"}  # fmt: skip


def refusal(text: str) -> PolicyInvalid:
    with pytest.raises(PolicyInvalid) as caught:
        parse_reason_texts(text, "reasons.toml")
    return caught.value


def test_every_feature_has_a_text_for_staff_and_none_is_of_no_feature() -> None:
    assert load_reason_texts(None).staff.keys() == {feature.name for feature in FEATURES}


def test_every_reason_of_a_score_has_a_public_text_that_names_no_evidence() -> None:
    public = load_reason_texts(None).public

    assert public.keys() == {result.reason for result in _SCORES.values()} | {"score.lagging"}
    for text in public.values():
        words = set(re.findall(r"[a-z]+", text.lower()))
        assert not words & (EVIDENCE | set(FAMILIES)), text


def test_a_signal_is_told_with_the_values_seen() -> None:
    texts = ReasonTexts({}, {"burst": "a burst of {}", "freshness": "new ({})", "devices": "few devices"})

    assert texts.of_signal(Reason("tempo.burst", 0.4567, 1.0)) == "a burst of 0.46"
    assert texts.of_signal(Reason("tempo.burst", None, 1.0)) == "a burst of unknown"
    assert texts.of_signal(Reason("network.devices.freshness", 3.0, 1.0, 0.5)) == "few devices; new (0.50)"
    assert texts.of_signal(Reason("tempo.burst", 12_345.0, 1.0)) == "a burst of 12,345"


@pytest.mark.parametrize("signal", ["tempo.rhythm", "tempo", "tempo.burst.rhythm"])
def test_a_signal_without_a_text_is_told_by_its_name(signal: str) -> None:
    assert ReasonTexts({}, {"burst": "{}"}).of_signal(Reason(signal, 1.0, 1.0)) == signal


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("version = 2", "version", "must be 1"),
        ("version = 1\nstuff = 1", "stuff", "known are version, public and staff"),
        ("version = 1\npublic = 1", "public", "must be a table"),
        ('version = 1\n[public]\n"score.deny" = "risk {}"', "public.score.deny", "leave out the braces"),
        ('version = 1\n[staff]\nburst = "{} {}"', "staff.burst", "{} once"),
        ('version = 1\n[staff]\nburst = "{value}"', "staff.burst", "{} once"),
        ('version = 1\n[staff]\nburst = ""', "staff.burst", "1 to 200 characters"),
        ('version = 1\n[staff]\nburst = "a\\nb"', "staff.burst", "on one line"),
        ("version = 1\n[staff]\nburst = 3", "staff.burst", "1 to 200 characters"),
    ],
)
def test_a_text_that_cannot_be_used_is_named_with_its_line(text: str, key: str, said: str) -> None:
    error = refusal(text)

    assert error.key == key
    assert said in str(error)
    assert error.line == len(text.splitlines())


def test_a_file_that_is_no_toml_or_not_there_is_named(tmp_path: Path) -> None:
    assert "not TOML" in str(refusal("version ="))
    with pytest.raises(PolicyInvalid, match=r"gone\.toml"):
        load_reason_texts(tmp_path / "gone.toml")
