"""An account's facts as bytes: what nothing is, which layouts are read, and what is told of a state without reading it."""

from __future__ import annotations

import msgspec
import pytest

from streams.core.facts import READABLE, VERSION, CaptionFacts, Facts, LinkFacts, latest_us, pack, unpack, version

LIST = msgspec.msgpack.encode([5, 6, 7, b"", 8, 99])
"""The beginning of a state: five events, the last at offset 6, the latest at 99 µs."""


@pytest.mark.parametrize("kind", [Facts, CaptionFacts, LinkFacts])
def test_of_an_account_without_events_nothing_is_known(kind: type[msgspec.Struct]) -> None:
    known = {name: value for name, value in msgspec.structs.asdict(kind()).items() if value}

    assert known == ({"offset": -1} if kind is Facts else {})


def test_fields_that_an_older_state_lacks_are_those_of_nothing() -> None:
    facts = unpack(bytes((VERSION,)) + LIST)

    assert facts == Facts(events=5, offset=6, digest=7, created_us=8, latest_us=99)
    assert pack(facts)[:1] == bytes((VERSION,))
    assert unpack(pack(facts)) == facts
    assert unpack(None) == Facts()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (bytes((VERSION,)) + LIST, VERSION),
        (bytes((VERSION,)) + b"anything", VERSION),
        (b"\x02" + LIST, 2),
        (b"\x03" + LIST, 3),
        (b"\x05" + LIST, 5),
        (b"\x7f" + LIST, 127),
        (LIST, 1),
        (b"\x03anything", None),
        (b"\x01" + LIST, None),
        (b"\x00" + LIST, None),
        (b"\x80" + LIST, None),
        (b"anything", None),
        (b"", None),
    ],
)
def test_the_version_of_a_state_is_its_first_byte_and_the_first_layout_had_none(data: bytes, told: int | None) -> None:
    assert version(data) == told


def test_the_layout_in_force_and_the_two_before_are_read() -> None:
    assert {b"\x02", b"\x03", b"\x04"} == READABLE
    for data in (LIST, b"\x01" + LIST, b"\x05" + LIST, b""):
        with pytest.raises(msgspec.DecodeError, match="not a state of version 4"):
            unpack(data)
        with pytest.raises(msgspec.DecodeError):
            latest_us(data)


def test_the_time_of_the_latest_event_is_read_without_the_rest() -> None:
    assert latest_us(b"\x04" + LIST) == latest_us(b"\x03" + LIST) == 99
    assert latest_us(pack(Facts(latest_us=7))) == 7
