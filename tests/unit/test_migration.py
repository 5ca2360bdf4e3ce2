"""A state of the second layout becomes one of the third: nobody starts anew."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.core.crowd import Surroundings
from streams.core.facts import VERSION, pack, unpack
from streams.core.features import features, recent

GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "states.v2.json").read_text())
STATES = [base64.b64decode(golden["state"]) for golden in GOLDEN]


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
def test_what_was_counted_is_kept(state: bytes) -> None:
    former: list[Any] = msgspec.msgpack.decode(state[1:])

    facts = unpack(state)

    assert [facts.events, facts.offset, facts.digest] == former[:3]
    assert (facts.created_us, facts.first_us, facts.last_us, facts.uploads) == tuple(former[3:7])
    assert [facts.contents, facts.templates, facts.hosts] == former[13:16]
    assert (facts.refused, facts.completed) == (former[34], former[30])
    assert recent(facts.networks, facts.latest_us) == [former[26]] * bool(former[26])
    assert recent(facts.devices, facts.latest_us) == [former[27]] * bool(former[27])


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
def test_a_migrated_state_is_kept_in_the_new_layout(state: bytes) -> None:
    kept = pack(unpack(state))

    assert kept[0] == VERSION
    assert len(kept) < 1024
    assert unpack(kept) == unpack(state)
    assert features(unpack(kept), Surroundings()) == features(unpack(state), Surroundings())


@pytest.mark.parametrize("body", [b"", b"\x90", b"\xff", msgspec.msgpack.encode({"events": 1})])
def test_what_the_second_layout_did_not_write_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(b"\x02" + body)
