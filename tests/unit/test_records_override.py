"""How a staff override is written, and that an override which cannot be read denies."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.override import Override
from gate.errors import StateUnreadable
from gate.records.override import (
    MAX_BYTES,
    MAX_TIME_US,
    decode_override,
    decode_stored_override,
    encode_override,
    obeyed_override,
    stored_override,
)

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "override.v1.json").read_text())
OVERRIDE = Override(False, "stolen account", "ada", 1_700_000_000_123_456)
overrides = st.builds(Override, st.booleans(), st.text(max_size=40), st.text(max_size=20), st.integers(0, 1 << 50))


def test_the_golden_override_of_version_1_is_what_is_written_and_reads_back() -> None:
    assert json.loads(encode_override(OVERRIDE)) == GOLDEN
    assert decode_override(json.dumps(GOLDEN).encode()) == OVERRIDE


@given(overrides)
def test_an_override_reads_back_as_written_and_so_does_a_stored_one(override: Override) -> None:
    assert decode_override(encode_override(override)) == override
    assert decode_stored_override(stored_override(override)) == override


@pytest.mark.parametrize("later", [{"ticket": {"id": 7}}, {"version": 2, "limits": ["new", None]}])
def test_fields_and_version_of_a_newer_release_survive_being_read_and_written(later: dict[str, object]) -> None:
    newer = GOLDEN | later

    override = decode_override(json.dumps(newer).encode())

    assert json.loads(encode_override(override)) == newer
    assert decode_stored_override(stored_override(override)) == override


@pytest.mark.parametrize(
    "change", [{"allow": 1}, {"reason": None}, {"expires_at": "2023-11-14T22:13:20"}, {"version": 0}]
)
def test_what_is_no_override_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(StateUnreadable):
        decode_override(json.dumps(GOLDEN | change).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\xfe", b"null", b" " * (MAX_BYTES + 1)])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StateUnreadable):
        decode_override(data)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        struct.pack("<dB", float("nan"), 1),
        struct.pack("<dB", float("inf"), 1),
        struct.pack("<dB", -1.0, 1),
        struct.pack("<dB", float(MAX_TIME_US), 1),
        struct.pack("<dB", 1e15, 2),
    ],
)
def test_a_stored_override_with_an_unusable_head_denies_whatever_its_document_says(head: bytes) -> None:
    value = head + encode_override(Override(True, "a known photographer", "ada", 1_700_000_000_000_000))

    with pytest.raises(StateUnreadable):
        decode_stored_override(value)

    assert obeyed_override(head) == Override(False, "unreadable", "", MAX_TIME_US)


@given(overrides, overrides)
def test_the_head_is_obeyed_where_the_document_says_something_else(head: Override, document: Override) -> None:
    value = stored_override(head)[:9] + encode_override(document)

    if (head.allow, head.expires_at_us) != (document.allow, document.expires_at_us):
        with pytest.raises(StateUnreadable):
            decode_stored_override(value)

    obeyed = obeyed_override(value)
    assert (obeyed.allow, obeyed.expires_at_us) == (head.allow, head.expires_at_us)


def test_an_override_too_long_to_be_read_is_not_stored() -> None:
    with pytest.raises(ValueError, match="shorten its reason"):
        stored_override(Override(True, "x" * MAX_BYTES, "ada", 1_700_000_000_000_000))
