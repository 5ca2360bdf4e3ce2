"""An account's state: what moves it, what does not, how large it gets and what it never holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import msgspec
import pytest

from gate.core.account import Account
from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.event import Attempted, Challenged, Completed, Event, Removed, Reported
from gate.core.media import Media
from streams.core.crowd import Surroundings
from streams.core.events import encode, time_us
from streams.core.facts import Facts, pack, unpack
from streams.core.features import PLACE, features, recent
from streams.core.fold import REFUSALS, fold
from streams.core.migration import WEEK_US
from streams.core.rings import remembered
from streams.core.window import value
from streams.files.public_suffixes import load_web_links
from streams.pipeline.hashes import Hashes
from tests.unit.test_chosen_ids import EQUAL, PLAIN

BEGAN = datetime(2026, 11, 23, 10, tzinfo=UTC)
HASHES = Hashes(b"salt")
WEB = load_web_links()
REPORTER_BYTES = 8
ACCOUNT = Account("a-17", created_at=BEGAN - timedelta(days=90))


def upload(second: float = 0.0, account: Account = ACCOUNT, **given: Any) -> Attempted:
    return Attempted(f"e-{second}", BEGAN + timedelta(seconds=second), account, **given)


def worth(counter: list[int], half_life_us: int, second: float = 0.0) -> float:
    return value(counter, time_us(upload(second)), half_life_us)


def folded(*events: Event, state: Facts | None = None) -> Facts:
    state = Facts() if state is None else state
    for event in events:
        fold(state, event, time_us(event), state.offset + 1, encode(event), HASHES, WEB)
    return state


def test_the_digest_depends_on_every_event_and_on_their_order() -> None:
    one, two = upload(1), upload(2)

    assert folded(one, two).digest == folded(one, two).digest
    assert folded(one, two).digest != folded(two, one).digest
    assert folded(one, two).digest != folded(one, two, upload(3)).digest


def test_what_an_upload_shows_the_crowd_is_its_own_and_not_that_of_the_upload_before() -> None:
    linked = upload(1, ip="203.0.113.9", device="d", media=Media("image", sha256="ab"), links=("https://a.example/x",))
    bare, unreadable = upload(2), upload(3, ip="2001:zz::", device="d")
    facts, shown = Facts(), list[int]()

    for event in (linked, bare, unreadable):
        fold(facts, event, time_us(event), 0, b"", HASHES, WEB, shown=shown)

    network, device = HASHES.networks["203.0.113.9"], HASHES.devices["d"]
    assert shown == [
        *(time_us(linked), network, device, HASHES.content("ab"), HASHES.hosts["a.example"]),
        *(time_us(bare), 0, 0, 0, 0),
        *(time_us(unreadable), 0, device, 0, 0),
    ]


def test_a_refused_attempt_a_repeated_event_and_a_followup_show_the_crowd_nothing() -> None:
    facts, shown = Facts(), list[int]()
    event = upload(1, device="d")
    fold(facts, event, time_us(event), 0, b"", HASHES, WEB)

    for other in (upload(2, device="d", decision="deny"), event, Completed("c", BEGAN, ACCOUNT)):
        fold(facts, other, time_us(other), 1, b"", HASHES, WEB, shown=shown)

    assert shown == []


def test_each_kind_of_event_is_counted() -> None:
    state = folded(
        upload(), Completed("c", BEGAN, ACCOUNT), Removed("d", BEGAN, ACCOUNT), Reported("r", BEGAN, ACCOUNT)
    )

    assert (state.events, state.offset) == (4, 3)
    assert (state.uploads, state.completed) == (1, 1)
    assert worth(state.removals, WEEK_US) == pytest.approx(1.0, rel=0.002)
    assert len(state.reporters) == REPORTER_BYTES


def test_what_the_owner_removes_is_nobodys_blame() -> None:
    assert folded(upload(), Removed("d", BEGAN, ACCOUNT, by="owner")).removals == []


def test_an_event_out_of_order_does_not_move_time_back() -> None:
    state = folded(upload(100), upload(40))

    assert state.last_us == time_us(upload(100))
    assert state.uploads == 2
    assert 1.0 < worth(state.minute, MINUTE_US, 100) < 2.0


def test_blame_out_of_order_does_not_move_time_back() -> None:
    state = folded(
        Reported("r", BEGAN + timedelta(days=7), ACCOUNT), Reported("s", BEGAN, ACCOUNT), Removed("d", BEGAN, ACCOUNT)
    )

    vector = features(state, Surroundings())
    assert state.latest_us == time_us(upload(7 * 86_400))
    assert vector.reporters == pytest.approx(1.5, rel=0.002)
    assert vector.removals == pytest.approx(0.5, rel=0.002)


def test_a_backlog_read_at_once_is_no_burst() -> None:
    state = folded(*(upload(hour * 3600) for hour in range(50)))

    assert worth(state.minute, MINUTE_US, 49 * 3600) < 1.1
    assert worth(state.hour, HOUR_US, 49 * 3600) < 2.1


@pytest.mark.parametrize("decision", sorted(REFUSALS))
def test_a_refused_attempt_moves_time_and_surroundings_and_no_counter_but_its_own(decision: str) -> None:
    before = folded(upload(text="hello", ip="203.0.113.9"))
    refused = upload(
        1, text="BUY NOW $$$", ip="198.51.100.1", device="d", links=("https://x.top",), media=Media(sha256="s"), decision=decision
    )  # fmt: skip

    after = msgspec.to_builtins(folded(refused, state=unpack(pack(before))))

    names = Facts.__struct_fields__
    moved = {n for n, old, new in zip(names, msgspec.to_builtins(before), after, strict=True) if old != new}
    assert moved == {"events", "offset", "digest", "event_ids", "latest_us", "refused", "networks", "devices"}


@pytest.mark.parametrize("decision", [None, "allow", "review"])
def test_an_attempt_that_went_ahead_is_an_upload(decision: str | None) -> None:
    assert folded(upload(decision=decision)).uploads == 1


def test_the_first_creation_time_stays() -> None:
    other = Account("a-17", created_at=BEGAN)

    assert folded(upload(), upload(1, other)).created_us == time_us(upload(-90 * 86_400))


def test_addresses_of_one_ipv6_network_are_one_and_of_two_are_two() -> None:
    def seen(ip: str) -> bytes:
        return folded(upload(ip=ip)).networks

    assert seen("2001:db8::1") == seen("2001:db8::ffff")
    assert seen("2001:db8::1") != seen("2001:db8:0:1::1")
    assert seen("::ffff:203.0.113.9") == seen("203.0.113.9")
    assert seen("no address") != b""


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


def test_counts_by_layout_reach_to_the_last_layout_that_was_met() -> None:
    plain, tagged = upload(1.0, text="a cat"), upload(2.0, text="a cat #cat")

    assert folded(plain).layouts == [1]
    assert folded(plain, tagged).layouts == folded(tagged, plain).layouts == [1, 0, 1]


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
    event = upload(ip="203.0.113.9", device="d", media=Media(sha256="5ec2e7"), links=("https://host.example/p",))
    one, two = Facts(), Facts()

    fold(one, event, 1, 0, b"", Hashes(b"one"), WEB)
    fold(two, event, 1, 0, b"", Hashes(b"two"), WEB)

    assert one.networks != two.networks
    assert one.devices != two.devices
    assert (one.content, one.contents) != (two.content, two.contents)
    assert (one.host, one.hosts) != (two.host, two.hosts)
    assert one.event_ids != two.event_ids


def test_a_host_and_a_content_made_to_have_the_checksum_of_another_one_are_not_taken_for_it() -> None:
    honest, forged = (f"{name}.example" for name in (PLAIN, EQUAL[0]))
    one, two = (folded(upload(links=(f"https://{name}/p",), media=Media(sha256=name))) for name in (honest, forged))

    assert crc32(honest.encode()) == crc32(forged.encode())
    assert one.host != two.host
    assert one.content != two.content


def test_no_state_is_a_fresh_state_and_fresh_states_share_nothing() -> None:
    touched = folded(upload(text="x", links=("https://a.example",), media=Media(sha256="s")))

    assert touched.contents
    assert unpack(None) == Facts()
    assert unpack(None).contents == b""


def test_what_was_not_packed_here_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        unpack(msgspec.msgpack.encode({"events": 1}))


def test_a_hash_that_only_shows_across_two_neighbours_is_not_remembered_yet() -> None:
    ring = remembered(remembered(b"", b"\1\2\3\4", 12), b"\5\6\7\x08", 12)

    grown = remembered(ring, b"\3\4\5\6", 12)

    assert b"\3\4\5\6" in ring
    assert grown == ring + b"\3\4\5\6"
    assert remembered(grown, b"\3\4\5\6", 12) is grown


def test_an_event_that_is_delivered_again_changes_nothing_at_all() -> None:
    events = [upload(n, text="hello", ip="203.0.113.9") for n in range(32)]
    once = pack(folded(*events))

    again = folded(*events, *events)
    refolded = [fold(again, event, time_us(event), 99, encode(event), HASHES, WEB) for event in events]

    assert pack(again) == once
    assert refolded == [False] * 32


def test_the_id_of_one_type_of_event_is_not_that_of_another() -> None:
    state = folded(Attempted("u-1", BEGAN, ACCOUNT), Completed("u-1", BEGAN, ACCOUNT))

    assert (state.uploads, state.completed) == (1, 1)


def test_eight_uploads_delivered_twice_score_as_if_they_were_delivered_once() -> None:
    events = [upload(n * 4_000, media=Media(sha256=f"{n}"), text=f"day {n} at the lake") for n in range(8)]

    twice = folded(*(event for event in events for _ in range(2)))

    assert features(twice, Surroundings()) == features(folded(*events), Surroundings())


def test_a_refused_account_that_comes_home_is_what_it_is_now() -> None:
    away = folded(*(upload(n, ip="203.0.113.9", device="tablet") for n in range(10)))

    home = folded(upload(160 * 3600, ip="198.51.100.1", device="own", decision="challenge"), state=unpack(pack(away)))

    vector = features(home, Surroundings())
    assert vector.minute < 0.001
    assert vector.quiet_days == pytest.approx(160 / 24, rel=0.01)
    assert recent(home.networks, home.latest_us) == [HASHES.networks["198.51.100.1"]]
    assert recent(home.devices, home.latest_us) == [HASHES.devices["own"]]
    assert vector.uploads == 10


def test_a_late_upload_counts_where_it_belongs() -> None:
    steady = [upload(n * 60) for n in range(10)]
    late = [*steady[:4], *steady[5:], steady[4]]

    assert features(folded(*late), Surroundings()) == features(folded(*steady), Surroundings())
    assert features(folded(*late), Surroundings()).gap_log_deviation == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("behind_s", "late"), [(600.0, 0), (600.001, 1), (86_400.0, 1)])
def test_what_comes_later_than_ten_minutes_is_counted_as_late_and_feeds_no_gap_and_no_burst(
    behind_s: float, late: int
) -> None:
    before = folded(upload(0), upload(30))

    state = folded(upload(30 - behind_s), state=unpack(pack(before)))

    assert (state.uploads, state.late) == (3, late)
    assert state.first_us == time_us(upload(30 - behind_s))
    assert (state.beats == before.beats) is bool(late)
    assert (state.day == before.day) is bool(late)


def test_what_is_older_than_every_kept_beat_is_late_as_well() -> None:
    state = folded(*(upload(n * 10) for n in range(13)), upload(5))

    assert state.late == 1
    assert len(state.beats) == 24


def test_a_creation_time_after_its_event_is_refused_and_the_first_that_can_be_believed_stays() -> None:
    future = Account("a-17", created_at=BEGAN + timedelta(days=9))

    state = folded(upload(0, future), upload(1), upload(2, future))

    assert state.created_us == time_us(upload(-90 * 86_400))
    assert state.malformed == 1


def test_a_creation_time_a_little_after_its_event_is_no_fault_and_tells_no_age() -> None:
    soon = Account("a-17", created_at=BEGAN + timedelta(minutes=5))

    state = folded(upload(0, soon))

    assert (state.created_us, state.malformed) == (0, 0)


def test_parts_of_an_album_are_one_beat() -> None:
    at_once = folded(*(upload(n * 0.9) for n in range(30)))
    grouped = folded(*(upload(n * 30, media_group="g-1") for n in range(10)))
    two = folded(*(upload(n * 0.5) for n in range(10)), *(upload(60 + n * 0.5) for n in range(10)))

    assert features(at_once, Surroundings()).gaps == 0
    assert features(grouped, Surroundings()).gaps == 0
    assert features(two, Surroundings()).gaps == 1
    assert grouped.uploads == 10


def test_a_dozen_reports_of_one_reporter_are_one_reporter() -> None:
    def worth_of(reporters: list[str | None]) -> float:
        events = [Reported(f"r-{n}", BEGAN, ACCOUNT, reporter=who) for n, who in enumerate(reporters)]
        return features(folded(upload(), *events), Surroundings()).reporters

    assert worth_of(["ann"] * 12) == pytest.approx(1.0)
    assert worth_of(["ann", "bob", "ann"]) == pytest.approx(2.0)
    assert worth_of([None] * 5) == pytest.approx(5.0)
    assert worth_of([f"{n}" for n in range(40)]) == pytest.approx(16.0)


@pytest.mark.parametrize(
    ("outcome", "passed", "failed", "malformed"),
    [("passed", 1.0, 0.0, 0), ("failed", 0.0, 1.0, 0), ("maybe", 0.0, 0.0, 1), (None, 0.0, 0.0, 1)],
)
def test_a_challenge_speaks_for_or_against_the_account(
    outcome: str | None, passed: float, failed: float, malformed: int
) -> None:
    state = folded(upload(), Challenged("c", BEGAN, ACCOUNT, outcome=outcome))

    vector = features(state, Surroundings())
    assert (vector.passed, vector.failed) == pytest.approx((passed, failed), rel=0.002)
    assert state.malformed == malformed


def test_the_last_four_networks_and_devices_are_kept_and_those_of_the_last_days_count() -> None:
    state = folded(*(upload(day * 86_400, ip=f"203.0.113.{day}", device=f"d-{day}") for day in range(6)))

    assert [len(state.networks), len(state.devices)] == [40, 40]
    assert recent(state.devices, state.latest_us) == [HASHES.devices[f"d-{day}"] for day in (5, 4, 3, 2)]
    assert recent(state.devices, state.latest_us + 86_400_000_000) == [HASHES.devices[f"d-{day}"] for day in (5, 4, 3)]


def test_fields_that_broke_their_rule_are_counted() -> None:
    state = Facts()

    fold(state, upload(ip="2001:zz::"), time_us(upload()), 0, b"", HASHES, WEB, malformed=2)

    assert state.malformed == 3
    assert state.networks == b""


def test_sessions_gaps_and_what_the_owner_removes_are_counted() -> None:
    begin = BEGAN
    account = Account("a")
    events: list[Event] = [
        Attempted("e1", begin, account),
        Attempted("e2", begin + timedelta(minutes=5), account),
        Removed("e3", begin + timedelta(minutes=9), account, by="owner"),
        Attempted("e4", begin + timedelta(days=40), account),
        Removed("e5", begin + timedelta(days=41), account, by="owner"),
        Completed("e6", begin + timedelta(days=41), account),
    ]
    facts = Facts()

    for offset, event in enumerate(events):
        fold(facts, event, time_us(event), offset, b"", HASHES, WEB)

    assert (facts.sessions, facts.longest_gap) == (2, 40 * 1440 - 5)
    assert (facts.deleted, facts.deleted_soon, facts.blamed) == (2, 1, 0)
    vector = features(facts, Surroundings())
    assert vector[PLACE["clean_completed"]] == 1
    assert vector[PLACE["deleted_soon_share"]] == 1 / 5


def test_an_account_that_was_reported_once_has_no_clean_history() -> None:
    begin = BEGAN
    facts = Facts()

    for offset, event in enumerate(
        (Completed("c", begin, Account("a")), Reported("r", begin, Account("a"), reporter="x"))
    ):
        fold(facts, event, time_us(event), offset, b"", HASHES, WEB)

    assert facts.blamed == 1
    assert features(facts, Surroundings())[PLACE["clean_completed"]] == 0
