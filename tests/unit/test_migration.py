"""States of the second and the third layout become states of the one in force: nobody starts anew."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.core.crowd import Surroundings
from streams.core.events import time_us
from streams.core.facts import VERSION, Facts, latest_us, pack, unpack
from streams.core.features import features, recent
from streams.core.fold import fold
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


@pytest.mark.parametrize(("place", "value"), [(26, -1), (26, 1 << 63), (31, math.inf), (31, math.nan), (11, math.nan)])
def test_numbers_that_the_second_layout_could_not_hold_are_refused_or_read(place: int, value: float) -> None:
    former: list[Any] = msgspec.msgpack.decode(STATES[-1][1:])
    former[place] = value

    try:
        facts = unpack(b"\x02" + msgspec.msgpack.encode(former))
    except msgspec.DecodeError:
        return
    assert unpack(pack(facts)) == facts


@pytest.mark.parametrize("body", [b"", b"\x90", b"\xff", msgspec.msgpack.encode({"events": 1})])
def test_what_the_second_layout_did_not_write_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(b"\x02" + body)
