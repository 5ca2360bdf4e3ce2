"""How a score is written, and that what it reads is what was written."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gate.core.score import Reason, Score, Stamp
from gate.errors import StateUnreadable
from gate.records.score import (
    MAX_BYTES,
    decode_score,
    decode_stored_score,
    encode_score,
    rounded,
    stored_score,
    with_bytes,
)
from gate.records.score_batches import stored_each, with_bytes_each

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
GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "score.v1.json").read_text())
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
    stamp=st.builds(Stamp, st.text(max_size=20), st.integers(0, 1 << 62))
    | st.builds(
        Stamp,
        st.text(max_size=20),
        st.integers(0, 1 << 53),
        st.integers(0, 0xFFFF_FFFF),
        st.integers(0, 0xFFFF_FFFF),
        st.integers(1, (1 << 53) - 1),
    ),
    scorecard=st.text(max_size=20),
)


def test_the_golden_score_of_version_1_is_what_is_written_and_reads_back() -> None:
    written = encode_score(SCORE)

    assert json.loads(written) == GOLDEN
    assert encode_score(decode_score(json.dumps(GOLDEN).encode())) == written


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
        "version": 1,
    }


@given(scores)
def test_a_score_reads_back_as_written_but_for_rounding(score: Score) -> None:
    data = encode_score(score)

    again = decode_score(data)

    assert encode_score(again) == data
    assert (again.at_us, again.scored_at_us, again.stamp) == (score.at_us, score.scored_at_us, score.stamp)
    assert again.risk == rounded(score.risk)
    assert math.isclose(again.risk, score.risk, abs_tol=5.1e-7)


@given(
    scores,
    st.lists(
        st.builds(Reason, st.text(max_size=9), st.none() | st.floats(-1e9, 1e9), st.floats(-9, 9), st.none() | unit),
        max_size=5,
    ),
    st.integers(0, 10 * 365 * 86_400_000_000),
    unit,
    st.booleans(),
    st.sampled_from(["", "16ab", "ü"]),
)
def test_a_score_of_parts_that_recur_is_written_as_a_whole_one(
    score: Score, reasons: list[Reason], half_life_us: int, base: float, acts: bool, models: str
) -> None:
    decaying = replace(score, reasons=tuple(reasons), half_life_us=half_life_us, base=base, acts=acts, models=models)

    assert with_bytes_each([decaying]) == [(decaying, encode_score(decaying))]


@pytest.mark.parametrize("us", [0, 1, 999_999, 1_000_000, 1_700_000_000_120_000, -1, 253_402_300_799_999_999])
def test_a_time_of_parts_is_written_as_a_whole_one(us: int) -> None:
    score = replace(SCORE, stamp=Stamp("c/t", 1, 0, 4, 7), at_us=us, scored_at_us=us)

    assert with_bytes_each([score]) == [(score, encode_score(score))]


@given(st.lists(scores, max_size=6), st.data())
def test_the_scores_of_a_batch_are_written_as_each_by_itself(some: list[Score], data: st.DataObject) -> None:
    batch = [
        replace(
            data.draw(st.sampled_from(some)),
            at_us=data.draw(st.sampled_from([0, 5, 1_000_000, 1_999_999])),
            stamp=Stamp("c/t", 1, 0, data.draw(st.integers(0, 1)), data.draw(st.integers(0, 2))),
            acts=data.draw(st.booleans()),
        )
        for _ in some
    ]

    encoded = with_bytes_each(iter(batch))

    assert encoded == [(score, encode_score(score)) for score in batch]
    assert stored_each(encoded) == [stored_score(one) for one in encoded]


@given(st.lists(st.tuples(scores, st.integers(0, 4), st.integers(0, 1 << 40)), max_size=6), st.integers(0, 2))
def test_the_scores_of_one_call_are_written_as_each_by_itself(
    some: list[tuple[Score, int, int]], generation: int
) -> None:
    batch = [
        replace(
            SCORE, account=one.account, risk=one.risk, at_us=offset, stamp=Stamp("c/t", offset, 0, home, generation)
        )
        for one, home, offset in some
    ]

    assert with_bytes_each(batch, are_of_one_call=True) == [(score, encode_score(score)) for score in batch]


@given(st.floats(-1000, 1000))
def test_rounding_agrees_with_six_printed_digits_and_is_stable(value: float) -> None:
    assert rounded(rounded(value)) == rounded(value)
    assert abs(rounded(value) - value) <= 5.001e-7


def test_a_score_written_before_there_were_versions_is_of_version_1() -> None:
    unversioned = {name: value for name, value in GOLDEN.items() if name != "version"}

    score = decode_score(json.dumps(unversioned).encode())

    assert json.loads(encode_score(score)) == GOLDEN


@pytest.mark.parametrize("later", [{"model": {"hash": "ab", "terms": [1, 2.5, None]}}, {"version": 2, "label": "ü"}])
def test_fields_and_version_of_a_newer_release_survive_being_read_and_written(later: dict[str, object]) -> None:
    newer = GOLDEN | later

    score = decode_score(json.dumps(newer).encode())

    assert score.account == "a-17"
    assert json.loads(encode_score(score)) == newer


def test_a_stored_score_reads_back_whole_and_its_head_is_what_the_scripts_read() -> None:
    value = stored_score(with_bytes(SCORE))

    assert struct.unpack_from("<dddH", value) == (0.912346, SCORE.at_us, 42, len("cluster/topic"))
    assert value[26 : 26 + len("cluster/topic")] == b"cluster/topic"
    assert decode_stored_score(value) == decode_score(encode_score(SCORE))


def test_a_stamp_with_a_generation_stands_whole_in_the_document_and_behind_the_epoch_of_the_head() -> None:
    stamp = Stamp("cluster/topic", 42, partition=5, partitions=8, generation=1_700_000_000_000)
    scored = with_bytes(replace(SCORE, stamp=stamp))

    value = stored_score(scored)

    assert json.loads(scored.data)["stamp"] == {
        "epoch": "cluster/topic",
        "offset": 42,
        "partition": 5,
        "partitions": 8,
        "generation": 1_700_000_000_000,
    }
    assert struct.unpack_from("<B7sII", value, 39) == (3, (1_700_000_000_000).to_bytes(7, "little"), 8, 5)
    assert decode_stored_score(value).stamp == stamp


DECAYING = msgspec.structs.replace(SCORE, half_life_us=259_200_000_000, base=0.021858123, acts=False)


def test_a_head_with_both_sections_has_them_one_after_the_other() -> None:
    stamp = Stamp("clüster", 42, partition=5, partitions=8, generation=1_700_000_000_000)
    scored = with_bytes(replace(DECAYING, stamp=stamp))

    value = stored_score(scored)

    epoch = "clüster".encode()
    assert value == (
        struct.pack("<dddH", 0.912346, SCORE.at_us, 42, len(epoch))
        + epoch
        + struct.pack("<B7sIB", 12, (259_200_000_000).to_bytes(7, "little"), 21_858, 0)
        + struct.pack("<B7sII", 3, (1_700_000_000_000).to_bytes(7, "little"), 8, 5)
        + scored.data
    )
    assert decode_stored_score(value) == decode_score(scored.data)


@given(scores, st.integers(0, 10 * 365 * 86_400_000_000), unit, st.booleans())
def test_every_score_is_read_back_from_what_redis_stores_of_it(
    score: Score, half_life_us: int, base: float, acts: bool
) -> None:
    scored = with_bytes(replace(score, half_life_us=half_life_us, base=base, acts=acts))

    value = stored_score(scored)

    assert value.endswith(scored.data)
    assert decode_stored_score(value) == decode_score(scored.data)


def test_a_score_that_decays_says_so_in_the_document_and_in_the_head() -> None:
    document, value = json.loads(encode_score(DECAYING)), stored_score(with_bytes(DECAYING))

    assert {name: document[name] for name in ("half_life", "base", "acts")} == {
        "half_life": 259_200.0,
        "base": 0.021858,
        "acts": False,
    }
    assert struct.unpack_from("<BIHBIB", value, 26 + len("cluster/topic")) == (
        12, 259_200_000_000 & 0xFFFFFFFF, 259_200_000_000 >> 32, 0, 21_858, 0,
    )  # fmt: skip
    assert decode_stored_score(value) == decode_score(encode_score(DECAYING))
    assert encode_score(decode_stored_score(value)) == encode_score(DECAYING)


def test_a_decaying_score_that_an_earlier_release_stored_is_read() -> None:
    value = stored_score(with_bytes(DECAYING))
    at = 26 + len("cluster/topic")

    earlier = value[:at] + struct.pack("<BddB", 17, 259_200_000_000, 0.021858, 0) + value[at + 13 :]

    assert decode_stored_score(earlier) == decode_stored_score(value)


def test_a_half_life_of_null_does_not_decay() -> None:
    score = decode_score(json.dumps(GOLDEN | {"half_life": None}).encode())

    assert (score.half_life_us, score.acts) == (0, True)


@pytest.mark.parametrize("length", [0, 25, 26, 60])
def test_a_stored_score_that_is_cut_short_is_refused(length: int) -> None:
    value = stored_score(with_bytes(SCORE))

    with pytest.raises(StateUnreadable):
        decode_stored_score(value[:length])


@pytest.mark.parametrize(
    "change",
    [
        {"risk": 1.5},
        {"risk": "high"},
        {"at": "yesterday"},
        {"at": "2023-11-14T22:13:20"},
        {"stamp": None},
        {"bot": -0.1},
        {"half_life": -1.0},
        {"half_life": 1e12},
        {"half_life": 60.0, "base": 1.5},
        {"acts": "no"},
        {"version": 0},
        {"version": "1"},
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


def test_a_reason_keeps_the_values_of_both_features_and_what_was_not_known() -> None:
    reasons = (
        Reason("network.device_accounts.freshness", 31.0, 2.5, 0.0),
        Reason("age.age_days", None, 0.25),
        Reason("tempo.burst", 0.5, -0.4),
    )
    score = Score("a-1", 0.5, 0.5, 0.5, reasons, 1_000_000, 1_000_000, Stamp("e", 3), "card")

    data = encode_score(score)

    assert decode_score(data).reasons == reasons
    assert json.loads(data)["reasons"] == [
        {"signal": "network.device_accounts.freshness", "value": 31.0, "weight": 2.5, "second": 0.0},
        {"signal": "age.age_days", "value": None, "weight": 0.25},
        {"signal": "tempo.burst", "value": 0.5, "weight": -0.4},
    ]
