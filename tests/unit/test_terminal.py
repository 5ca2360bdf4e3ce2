"""Foreign text on a terminal: nothing in it moves the cursor, colours, or reorders a line."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.terminal import json_safe, terminal_safe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, Grüße, 图片, 🙂", "plain text, Grüße, 图片, 🙂"),
        ("\x1b[31mred", "\\e[31mred"),
        ("one\r\ntwo\ttab", "one\\r\\ntwo\\ttab"),
        ("\x00\x07\x7f", "\\x00\\x07\\x7f"),
        ("\x9b2J", "\\x9b2J"),
        ("user\u202etxt.exe", "user\\u202etxt.exe"),
        ("a\u2028b\u2066c\ufeff", "a\\u2028b\\u2066c\\ufeff"),
        ("\ud83d", "\\ud83d"),
        ("\U000e0041", "\\U000e0041"),
        ("family 👨\u200d👩", "family 👨\u200d👩"),
    ],
)
def test_what_steers_a_terminal_is_escaped_and_the_rest_stays(text: str, shown: str) -> None:
    assert terminal_safe(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_no_control_character_is_left_and_every_text_can_be_printed(text: str) -> None:
    shown = terminal_safe(text)

    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    shown.encode()


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_escaped_json_means_the_same(value: object) -> None:
    document = json.dumps(value, ensure_ascii=False, indent=2)

    assert json.loads(json_safe(document)) == value
