"""An account's state: what moves it, what does not, how large it gets and what it never holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gate.core.account import Account
from gate.core.event import Attempted, Completed, Event, Removed, Reported
from gate.core.media import Media
from streams.core.events import encode, time_us
from streams.core.facts import Facts, pack, unpack
from streams.core.fold import REFUSALS, fold, remembered

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
SALT = b"salt"
ACCOUNT = Account("a-17", created_at=BEGAN - timedelta(days=90))


def upload(second: float = 0.0, account: Account = ACCOUNT, **given: Any) -> Attempted:
    return Attempted(f"e-{second}", BEGAN + timedelta(seconds=second), account, **given)


def folded(*events: Event, state: Facts | None = None) -> Facts:
    state = Facts() if state is None else state
    for event in events:
        fold(state, event, time_us(event), state.offset + 1, encode(event), SALT)
    return state


def test_the_digest_depends_on_every_event_and_on_their_order() -> None:
    one, two = upload(1), upload(2)

    assert folded(one, two).digest == folded(one, two).digest
    assert folded(one, two).digest != folded(two, one).digest
    assert folded(one, two).digest != folded(one, two, two).digest


def test_each_kind_of_event_is_counted() -> None:
    state = folded(
        upload(), Completed("c", BEGAN, ACCOUNT), Removed("d", BEGAN, ACCOUNT), Reported("r", BEGAN, ACCOUNT)
    )

    assert (state.events, state.offset) == (4, 3)
    assert (state.uploads, state.completed) == (1, 1)
    assert (state.removals, state.reports) == (1.0, 1.0)


def test_what_the_owner_removes_is_nobodys_blame() -> None:
    assert folded(upload(), Removed("d", BEGAN, ACCOUNT, by="owner")).removals == 0.0


def test_an_event_out_of_order_does_not_move_time_back() -> None:
    state = folded(upload(100), upload(40))

    assert state.last_us == time_us(upload(100))
    assert state.uploads == 2
    assert 1.0 < state.minute < 2.0


def test_blame_out_of_order_does_not_move_time_back() -> None:
    state = folded(
        Reported("r", BEGAN + timedelta(days=7), ACCOUNT), Reported("s", BEGAN, ACCOUNT), Removed("d", BEGAN, ACCOUNT)
    )

    assert state.blamed_us == time_us(upload(7 * 86_400))
    assert state.reports == pytest.approx(1.5)
    assert state.removals == pytest.approx(0.5)


def test_a_backlog_read_at_once_is_no_burst() -> None:
    state = folded(*(upload(hour * 3600) for hour in range(50)))

    assert state.minute < 1.1
    assert state.hour < 2.1


@pytest.mark.parametrize("decision", sorted(REFUSALS))
def test_a_refused_attempt_moves_its_own_counter_and_no_other(decision: str) -> None:
    before = folded(upload(text="hello", ip="203.0.113.9"))
    refused = upload(
        1, text="BUY NOW $$$", ip="198.51.100.1", device="d", links=("https://x.top",), media=Media(sha256="s"), decision=decision
    )  # fmt: skip

    after = msgspec.to_builtins(folded(refused, state=unpack(pack(before))))

    names = Facts.__struct_fields__
    moved = {n for n, old, new in zip(names, msgspec.to_builtins(before), after, strict=True) if old != new}
    assert moved == {"events", "offset", "digest", "refused"}


@pytest.mark.parametrize("decision", [None, "allow", "review"])
def test_an_attempt_that_went_ahead_is_an_upload(decision: str | None) -> None:
    assert folded(upload(decision=decision)).uploads == 1


def test_the_first_creation_time_stays() -> None:
    other = Account("a-17", created_at=BEGAN)

    assert folded(upload(), upload(1, other)).created_us == time_us(upload(-90 * 86_400))


def test_addresses_of_one_ipv6_network_are_one_and_of_two_are_two() -> None:
    def seen(ip: str) -> int:
        return folded(upload(ip=ip)).ip

    assert seen("2001:db8::1") == seen("2001:db8::ffff")
    assert seen("2001:db8::1") != seen("2001:db8:0:1::1")
    assert seen("::ffff:203.0.113.9") == seen("203.0.113.9")
    assert seen("no address") != 0


def adversarial(number: int) -> Event:
    text = f"unique {number} " + "𝕏" * 5_000 + f" #{number} @{number} https://x{number}.example"
    links = tuple(f"https://{'h' * 300}{number}-{n}.example/{n}" for n in range(200))
    media = Media(kind="x" * 1000, bytes=2**63 - 1, sha256=f"{number}" * 50)
    account = Account("a" * 256, created_at=datetime.max.replace(tzinfo=UTC))
    at = BEGAN + timedelta(days=number * 37 % 1000, microseconds=number)
    if number % 5 == 4:
        return Reported(f"{number}", at, account, reason="x" * 9_000)
    return Attempted(
        f"{number}", at, account, media=media, ip=f"evil {number}", device=f"d{number}" * 9, text=text, links=links
    )


def test_no_sequence_of_events_makes_the_state_large() -> None:
    state = folded(*(adversarial(number) for number in range(1_000)))

    assert len(pack(state)) < 1024


def test_the_packed_state_holds_nothing_that_was_written_or_whereabouts() -> None:
    secrets = {
        "text": "meet me at noon",
        "ip": "203.0.113.77",
        "device": "device-0815",
        "links": ("https://host.example/p",),
    }
    packed = pack(folded(upload(media=Media(sha256="5ec2e7", phash="9a5h"), **secrets), upload(1, **secrets)))  # type: ignore[arg-type]

    for secret in (b"meet", b"noon", b"203.0.113", b"0815", b"host.example", b"5ec2e7", b"9a5h", b"a-17"):
        assert secret not in packed


def test_hashes_are_keyed_by_the_salt() -> None:
    event = upload(ip="203.0.113.9", device="d")
    one, two = Facts(), Facts()

    fold(one, event, 1, 0, b"", b"one")
    fold(two, event, 1, 0, b"", b"two")

    assert one.ip != two.ip
    assert one.device != two.device


def test_no_state_is_a_fresh_state_and_fresh_states_share_nothing() -> None:
    touched = folded(upload(text="x", links=("https://a.example",), media=Media(sha256="s")))

    assert touched.contents
    assert unpack(None) == Facts()
    assert unpack(None).contents == b""


def test_what_was_not_packed_here_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(msgspec.msgpack.encode({"events": 1}))


def test_a_hash_that_only_shows_across_two_neighbours_is_not_remembered_yet() -> None:
    ring = remembered(remembered(b"", 0x04030201), 0x08070605)

    grown = remembered(ring, 0x06050403)

    assert (0x06050403).to_bytes(4, "little") in ring
    assert grown == ring + (0x06050403).to_bytes(4, "little")
    assert remembered(grown, 0x06050403) is grown
