"""How a score is written, and that what it reads is what was written."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.score import Reason, Score, Stamp
from gate.errors import StateUnreadable
from gate.records.score import MAX_BYTES, decode_score, encode_score, rounded

SCORE = Score(
    account="a-17",
    bot=0.25,
    scam=0.5,
    risk=0.9123456789,
    reasons=(Reason("tempo.burst", 0.75, 0.3),),
    at_us=1_700_000_000_123_456,
    scored_at_us=1_700_000_001_000_000,
    stamp=Stamp("cluster/topic", 42),
    scorecard="9f2c",
)
unit = st.floats(0.0, 1.0)
scores = st.builds(
    Score,
    account=st.text(max_size=40),
    bot=unit,
    scam=unit,
    risk=unit,
    reasons=st.lists(st.builds(Reason, st.text(max_size=20), unit, st.floats(-10, 10)), max_size=4).map(tuple),
    at_us=st.integers(0, 4_102_444_799_999_999),
    scored_at_us=st.integers(0, 4_102_444_799_999_999),
    stamp=st.builds(Stamp, st.text(max_size=20), st.integers(0, 1 << 62)),
    scorecard=st.text(max_size=20),
)


def test_a_score_has_the_fields_of_the_topic_and_times_in_utc() -> None:
    document = json.loads(encode_score(SCORE))

    assert document == {
        "account": "a-17",
        "bot": 0.25,
        "scam": 0.5,
        "risk": 0.912346,
        "reasons": [{"signal": "tempo.burst", "value": 0.75, "weight": 0.3}],
        "at": "2023-11-14T22:13:20.123456Z",
        "scored_at": "2023-11-14T22:13:21Z",
        "stamp": {"epoch": "cluster/topic", "offset": 42},
        "scorecard": "9f2c",
    }


@given(scores)
def test_a_score_reads_back_as_written_but_for_rounding(score: Score) -> None:
    data = encode_score(score)

    again = decode_score(data)

    assert encode_score(again) == data
    assert (again.at_us, again.scored_at_us, again.stamp) == (score.at_us, score.scored_at_us, score.stamp)
    assert again.risk == rounded(score.risk)
    assert math.isclose(again.risk, score.risk, abs_tol=5.1e-7)


@given(st.floats(-1000, 1000))
def test_rounding_agrees_with_six_printed_digits_and_is_stable(value: float) -> None:
    assert rounded(rounded(value)) == rounded(value)
    assert abs(rounded(value) - value) <= 5.001e-7


def test_a_newer_writers_field_is_skipped() -> None:
    document = json.loads(encode_score(SCORE)) | {"later": 1}

    assert decode_score(json.dumps(document).encode()).account == "a-17"


@pytest.mark.parametrize(
    "change",
    [
        {"risk": 1.5},
        {"risk": "high"},
        {"at": "yesterday"},
        {"at": "2023-11-14T22:13:20"},
        {"stamp": None},
        {"bot": -0.1},
    ],
)
def test_what_is_no_score_is_refused(change: dict[str, object]) -> None:
    data = json.dumps(json.loads(encode_score(SCORE)) | change).encode()

    with pytest.raises(StateUnreadable):
        decode_score(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\xfe", b"null", b" " * (MAX_BYTES + 1)])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StateUnreadable):
        decode_score(data)
