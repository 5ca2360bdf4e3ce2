"""Records that no worker writes: nested deeper than Python's decoder goes, or with a number that no campaign has."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from gate.errors import StateUnreadable
from gate.records.override import decode_override
from gate.records.score import decode_score
from streams.core.campaigns import parsed_id
from streams.core.campaigns.campaign import parsed_record
from streams.core.campaigns.mixing import LARGEST
from streams.core.crowd.record import parsed
from streams.core.facts import Facts, pack, version
from streams.pipeline.forget import inactive
from streams.worker.changelog import decode_watermark
from streams.worker.dead_letters import _read

DEEP = b'{"version":1,"a":' + b"[" * 3_500


@pytest.mark.parametrize("decode", [decode_score, decode_override, decode_watermark])
def test_a_document_that_is_nested_too_deep_is_unreadable(decode: Callable[[bytes], object]) -> None:
    with pytest.raises(StateUnreadable):
        decode(DEEP)


@pytest.mark.parametrize("parse", [parsed_record, parsed])
def test_a_count_that_is_nested_too_deep_is_passed_over(parse: Callable[[bytes], object]) -> None:
    assert parse(DEEP) is None


@pytest.mark.parametrize("key", [b"a-1", b"replayed"])
def test_a_dead_letter_that_is_nested_too_deep_is_passed_over(key: bytes) -> None:
    record = SimpleNamespace(key=key, value=DEEP, offset=1, timestamp=1)

    assert list(_read([record], 0)) == []


def test_a_state_that_is_nested_too_deep_is_no_state_and_stays() -> None:
    state = pack(Facts(events=2, latest_us=5, offset=3))
    damaged = state[:20] + b"\x91" * 3_500 + state[20:]

    assert version(b"\x01" + damaged[1:]) is None
    assert inactive(["a"], {"a": damaged}, 1 << 50) == []


@pytest.mark.parametrize(("number", "is_id"), [(LARGEST, True), (LARGEST + 1, False), ((1 << 64) - 1, False)])
def test_a_campaign_has_a_number_of_63_bits(number: int, is_id: bool) -> None:
    assert (parsed_id(f"content-{number:016x}") is not None) is is_id
