"""States of the second and the third layout become states of the one in force: nobody starts anew."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from streams.core.beats import gaps_ms
from streams.core.crowd import Surroundings
from streams.core.events import time_us
from streams.core.facts import VERSION, Facts, latest_us, pack, unpack
from streams.core.features import PLACE, features, recent
from streams.core.fold import fold
from streams.core.migration import WEEK_US, shortened, trimmed
from streams.core.window import value
from tests.unit.test_fold_mutants import HASHES, WEB, story


def states_of(version: int) -> list[bytes]:
    kept: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / f"states.v{version}.json").read_text())
    return [base64.b64decode(one["state"]) for one in kept]


def marks_cut(ring: bytes) -> bytes:
    """The first three of every four bytes."""
    return bytes(byte for at, byte in enumerate(ring) if at % 4 < 3)


STATES = states_of(2)
THIRD = states_of(3)


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
def test_what_was_counted_is_kept(state: bytes) -> None:
    former: list[Any] = msgspec.msgpack.decode(state[1:])

    facts = unpack(state)

    assert [facts.events, facts.offset, facts.digest] == former[:3]
    assert (facts.created_us, facts.first_us, facts.last_us, facts.uploads) == tuple(former[3:7])
    assert [facts.contents, facts.templates, facts.hosts] == [marks_cut(ring) for ring in former[13:16]]
    assert (facts.refused, facts.completed) == (former[34], former[30])
    assert recent(facts.networks, facts.latest_us) == [former[26]] * bool(former[26])
    assert recent(facts.devices, facts.latest_us) == [former[27]] * bool(former[27])


@pytest.mark.parametrize("state", THIRD, ids=range(len(THIRD)))
def test_of_the_third_layout_all_but_the_last_bytes_of_marks_is_kept(state: bytes) -> None:
    former = msgspec.msgpack.decode(state[1:], type=Facts)

    facts = unpack(state)

    cut = {name: marks_cut(getattr(former, name)) for name in ("contents", "templates", "hosts")}
    assert facts.layouts + [0] * (len(former.layouts) - len(facts.layouts)) == former.layouts
    assert not facts.layouts or facts.layouts[-1]
    assert facts == msgspec.structs.replace(former, layouts=facts.layouts, **cut)
    assert latest_us(state) == former.latest_us


def test_what_the_third_layout_remembers_is_known_again() -> None:
    state, upload = pack(Facts()), story()[1][1]
    facts = unpack(state)
    fold(facts, upload, time_us(upload), 1, b"", HASHES, WEB)
    long = {name: getattr(facts, name) + b"\x07" for name in ("contents", "templates", "hosts")}
    former = b"\x03" + msgspec.msgpack.encode(msgspec.structs.replace(facts, layouts=[1] + [0] * 15, **long))

    again = unpack(former)
    fold(again, msgspec.structs.replace(upload, id="e-later"), time_us(upload), 2, b"", HASHES, WEB)

    assert (again.content_repeats, again.template_repeats, again.host_repeats) == (1, 1, 1)


@pytest.mark.parametrize("state", STATES + THIRD, ids=range(len(STATES + THIRD)))
def test_a_migrated_state_is_kept_in_the_new_layout(state: bytes) -> None:
    kept = pack(unpack(state))

    assert kept[0] == VERSION
    assert len(kept) < 1024
    assert unpack(kept) == unpack(state)
    assert features(unpack(kept), Surroundings()) == features(unpack(state), Surroundings())


@pytest.mark.parametrize("body", [b"", b"\xff", msgspec.msgpack.encode({"events": 1})])
def test_what_the_third_layout_did_not_write_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(b"\x03" + body)


@pytest.mark.parametrize(("place", "number"), [(26, -1), (26, 1 << 63), (31, math.inf), (31, math.nan), (11, math.nan)])
def test_numbers_that_the_second_layout_could_not_hold_are_refused_or_read(place: int, number: float) -> None:
    former: list[Any] = msgspec.msgpack.decode(STATES[-1][1:])
    former[place] = number

    try:
        facts = unpack(b"\x02" + msgspec.msgpack.encode(former))
    except msgspec.DecodeError:
        return
    assert unpack(pack(facts)) == facts


@pytest.mark.parametrize("body", [b"", b"\x90", b"\xff", msgspec.msgpack.encode({"events": 1})])
def test_what_the_second_layout_did_not_write_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(b"\x02" + body)


FIELDS = (
    "events", "offset", "digest", "created_us", "first_us", "last_us", "uploads", "minute", "hour", "day", "gaps", "gap_mean",
    "gap_variance", "contents", "templates", "hosts", "content_repeats", "template_repeats", "host_repeats", "texts",
    "layouts", "layout_squares", "mentions", "spam", "linked", "suspicion", "ip", "device", "content", "host", "completed",
    "reports", "removals", "blamed_us", "refused",
)  # fmt: skip
AT_US = 1_795_428_000_000_000


def migrated_with(**values: Any) -> Facts:
    """The facts of a state of the second layout with these values, and nothing else."""
    nothing: dict[str, Any] = dict.fromkeys(FIELDS, 0) | {
        "contents": b"",
        "templates": b"",
        "hosts": b"",
        "layouts": [],
    }
    former = nothing | values
    return unpack(b"\x02" + msgspec.msgpack.encode([former[name] for name in FIELDS]))


def test_decaying_counts_are_worth_what_they_were() -> None:
    facts = migrated_with(last_us=AT_US, blamed_us=AT_US - DAY_US, minute=2.0, hour=5.5, day=30.0, removals=3.0)

    assert value(facts.minute, AT_US, MINUTE_US) == pytest.approx(2.0, rel=0.01)
    assert value(facts.hour, AT_US, HOUR_US) == pytest.approx(5.5, rel=0.01)
    assert value(facts.day, AT_US, DAY_US) == pytest.approx(30.0, rel=0.01)
    assert value(facts.removals, AT_US - DAY_US, WEEK_US) == pytest.approx(3.0, rel=0.01)


@pytest.mark.parametrize("gaps", [1, 2, 3, 4, 10, 11])
def test_gaps_keep_their_mean_and_their_variance(gaps: int) -> None:
    facts = migrated_with(uploads=gaps + 1, last_us=AT_US, gaps=gaps, gap_mean=4.0, gap_variance=0.49)

    logs = [math.log(gap / 1_000) for gap in gaps_ms(facts.beats)]
    mean = sum(logs) / gaps
    assert facts.beats[:2] == [AT_US // 1_000, 0]
    assert len(logs) == gaps
    assert mean == pytest.approx(4.0, abs=0.001)
    assert sum((log - mean) ** 2 for log in logs) / gaps == pytest.approx(0.49 if gaps > 1 else 0.0, abs=0.001)
    assert facts.beats[3::2] == [0] * gaps


def test_more_gaps_than_beats_are_kept_become_eleven_and_none_become_one_beat() -> None:
    assert len(gaps_ms(migrated_with(uploads=90, last_us=AT_US, gaps=80, gap_mean=3.0).beats)) == 11
    assert migrated_with(uploads=1, last_us=AT_US).beats == [AT_US // 1_000, 0]
    assert migrated_with(last_us=AT_US, gaps=3).beats == []
    assert migrated_with(uploads=1, last_us=-5_000).beats == [0, 0]


@pytest.mark.parametrize(("mean", "gap_ms"), [(-9.0, 100), (30.0, 400 * 86_400_000), (0.0, 1_000), (-2.0, 135)])
def test_a_gap_lies_between_a_tenth_of_a_second_and_400_days(mean: float, gap_ms: int) -> None:
    assert gaps_ms(migrated_with(uploads=2, last_us=AT_US, gaps=1, gap_mean=mean, gap_variance=-1.0).beats) == [gap_ms]


def reports(**values: Any) -> list[int]:
    """The minutes before `AT_US` at which reporters reported."""
    kept = migrated_with(blamed_us=AT_US, **values).reporters
    return [AT_US // MINUTE_US - int.from_bytes(kept[at : at + 4], "big") for at in range(0, len(kept), 8)]


@pytest.mark.parametrize(
    ("count", "minutes"),
    [
        (0.0, []), (1.0, [0]), (3.0, [0, 0, 0]), (1.5, [0, 10_080]), (0.25, [20_160]), (0.009, []), (2.009, [0, 0]),
        (0.0625, [40_320]), (16.0, [0] * 16), (40.5, [0] * 16),
    ],
)  # fmt: skip
def test_reports_become_reporters_and_a_part_of_one_an_earlier_one(count: float, minutes: list[int]) -> None:
    assert reports(reports=count) == minutes


def test_reporters_are_apart_and_none_is_before_1970() -> None:
    kept = migrated_with(blamed_us=60_000_000, reports=3.25).reporters

    assert len({kept[at + 4 : at + 8] for at in range(0, len(kept), 8)}) == 4
    assert kept[-8:-4] == bytes(4)


@pytest.mark.parametrize(
    ("created_us", "last_us", "blamed_us", "kept_us"),
    [
        (5, 9, 0, 5),
        (9, 9, 0, 9),
        (10, 9, 0, 0),
        (10, 9, 10, 10),
        (5, 0, 0, 5),
        (-5, 9, 0, 0),
        (0, 9, 0, 0),
        (1, 9, 0, 1),
    ],
)
def test_a_creation_time_is_kept_where_it_is_not_after_the_last_event(
    created_us: int, last_us: int, blamed_us: int, kept_us: int
) -> None:
    facts = migrated_with(created_us=created_us, last_us=last_us, blamed_us=blamed_us)

    assert (facts.created_us, facts.latest_us) == (kept_us, max(last_us, blamed_us))


def test_a_network_and_a_device_are_dated_by_the_last_event() -> None:
    facts = migrated_with(ip=7, device=9, last_us=AT_US - DAY_US, blamed_us=AT_US)
    day = (AT_US // DAY_US).to_bytes(2, "big")

    assert facts.networks == day + (7).to_bytes(8, "big")
    assert facts.devices == day + (9).to_bytes(8, "big")
    assert (migrated_with().networks, migrated_with().devices) == (b"", b"")
    assert migrated_with(ip=1, last_us=DAY_US << 17).networks[:2] == b"\xff\xff"


def test_counts_by_layout_end_with_the_last_that_was_met() -> None:
    assert migrated_with(layouts=[1, 0, 2] + [0] * 13).layouts == [1, 0, 2]
    assert trimmed([0, 0]) == []
    assert migrated_with(layouts=[0] * 16).layouts == migrated_with(layouts=[]).layouts == []


def test_the_marks_of_a_ring_lose_their_last_byte() -> None:
    assert shortened(b"abcdefghijkl") == b"abcefgijk"
    assert shortened(b"") == b""


def clean_completed(facts: Facts) -> float:
    return features(facts, Surroundings())[PLACE["clean_completed"]]


def test_what_arrived_of_an_account_that_was_blamed_does_not_speak_for_it_in_the_new_layout_either() -> None:
    clean, blamed = (migrated_with(uploads=9, completed=9, last_us=AT_US, blamed_us=us) for us in (0, AT_US - DAY_US))

    assert (clean_completed(clean), clean_completed(blamed)) == (9, 0)


def test_a_removal_in_a_state_of_the_third_layout_is_blame_also_where_it_did_not_say_so() -> None:
    def third(**values: Any) -> Facts:
        return unpack(
            b"\x03"
            + msgspec.msgpack.encode(Facts(events=9, uploads=9, completed=9, latest_us=AT_US, last_us=AT_US, **values))
        )

    removed = [AT_US // WEEK_US, 1_024]

    assert [clean_completed(third()), clean_completed(third(removals=removed))] == [9, 0]
    assert third(removals=removed, blamed=3).blamed == 3
