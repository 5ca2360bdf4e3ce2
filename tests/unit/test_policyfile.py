"""Policy files: what is wrong with one is told with file, line, key and remedy; the packaged one lets people upload."""

from pathlib import Path

import pytest

from gate.core.account import Account
from gate.core.duration import HOUR_US, MINUTE_US
from gate.core.limits.gcra import take
from gate.core.limits.limit import Rate
from gate.core.media import Media
from gate.core.pause.scope import Scope
from gate.core.policy import Mode, OnStoreError, Subject, Unit
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.errors import PolicyInvalid
from gate.policyfile import check_policy, load_policy, parse_policy
from gate.records.check import decode_check

GOOD = """version = 1
default_class = "regular"

[classes.regular]
score = { review = 0.5, deny = 0.9 }

[classes.new]

[limits."account.uploads.minute"]
on = "account"
per = "1m"
mode = "enforce"
on_store_error = "local"
[limits."account.uploads.minute".rates]
regular = { rate = 10, burst = 15 }
"""


def complaints(text: str) -> list[str]:
    return [str(complaint) for complaint in check_policy(text, "policy.toml")[1]]


def test_a_sound_file_becomes_a_policy() -> None:
    policy = parse_policy(GOOD, "policy.toml")

    limit = policy.limits[0]
    assert policy.classes == ("regular", "new")
    assert (policy.thresholds["regular"].review, policy.thresholds["regular"].refuse_at) == (0.5, 0.9)
    assert (limit.subject, limit.unit, limit.mode) == (Subject.ACCOUNT, Unit.UPLOADS, Mode.ENFORCE)
    assert (limit.rates["regular"].per_us, limit.rates["regular"].burst) == (MINUTE_US, 15)
    assert limit.on_store_error is OnStoreError.LOCAL


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("burst = 15", "brust = 15", ".rates.regular.brust: unknown key; did you mean 'burst'?"),
        ("burst = 15", "burst = -1", "policy.toml:15: limits.\"account.uploads.minute\".rates.regular.burst: -1 is not"),
        ("[classes.new]", "[classes.New]", "policy.toml:7: classes.New: 'New' would match nothing"),
        ("[classes.new]", '[classes." new"]', "write 'new'"),
        ('default_class =', 'reasons = ["raid", "Legal"]\ndefault_class =', "policy.toml:2: reasons: 'Legal' would"),
        ("rate = 10", "rate = -1", "is not a whole number from 0 on"),
        ("rate = 10", "rate = 1.5", "is not a whole number from 0 on"),
        ("rate = 10", "rate = true", "is not a whole number from 0 on"),
        ("rate = 10, ", "", "rate: is missing"),
        ("deny = 0.9", "deny = 1.5", "policy.toml:5: classes.regular.score.deny: 1.5 is not in [0, 1]"),
        ("deny = 0.9", "deny = nan", "is not in [0, 1]"),
        ("deny = 0.9", "deny = 0.1", "must not fall"),
        ('default_class = "regular"', 'default_class = "regulr"', "policy.toml:2: default_class: class 'regulr' is not declared"),
        ('default_class = "regular"', "", "default_class: is missing"),
        ("regular = { rate", "bots = { rate", ".rates.bots: a rate for a class that is not declared"),
        ('on = "account"', 'on = "acount"', "policy.toml:10: limits.\"account.uploads.minute\".on: 'acount'"),
        ('on = "account"\n', "", "on: is missing"),
        ('mode = "enforce"', 'mode = "dry"', ".mode: 'dry' is not one of enforce, shadow, off"),
        ('per = "1m"', 'per = "1 minute"', "is not a duration"),
        ('per = "1m"', 'per = "0m"', "is not a duration"),
        ("version = 1", "version = 2", "policy.toml:1: version: must be 1"),
        ("burst = 15", "burst = 100000000000000", "more than a year"),
        ("[classes.new]", "[classes.new", "policy.toml:7: is not TOML"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_place(old: str, new: str, expected: str) -> None:
    text = GOOD.replace(old, new, 1)

    found = complaints(text)

    assert any(expected in complaint for complaint in found), found


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ('["clips"]', "'clips' is not among the kinds of [known]; did you mean 'clip'?"),
        ('["voice"]', "'voice' is not among the kinds of [known]; known here: clip, live-*, photo"),
        ('["clip", "live-video"]', None),
    ],
)
def test_a_limit_names_kinds_that_uploads_may_have(kinds: str, expected: str | None) -> None:
    listed = GOOD.replace("[classes.regular", '[known]\nkinds = ["photo", "clip", "live-*"]\n\n[classes.regular', 1)
    text = listed.replace('on = "account"\n', f'on = "account"\nkinds = {kinds}\n', 1)

    found = complaints(text)

    assert [complaint.split(": ", 2)[2] for complaint in found] == ([] if expected is None else [expected])
    assert complaints(text.replace('kinds = ["photo", "clip", "live-*"]\n', "")) == []


def test_of_a_limit_with_a_wrong_unit_only_the_unit_is_complained_of() -> None:
    text = GOOD.replace('on = "account"\n', 'on = "account"\nunit = "byte"\n', 1).replace(
        "rate = 10", 'rate = "10GiB"', 1
    )

    found = complaints(text)

    assert len(found) == 1
    assert "did you mean 'bytes'?" in found[0]


@pytest.mark.parametrize(("count", "expected"), [(100, []), (101, ["class 'new' has 101 limits; 100 are the most"])])
def test_a_class_has_no_more_limits_than_a_script_of_the_store_can_hold(count: int, expected: list[str]) -> None:
    limits = "".join(
        f'[limits."n{n}"]\non = "{"account" if n < 60 else "ip"}"\nper = "1m"\nrates.new = {{ rate = 1, burst = 1 }}\n'
        for n in range(count)
    )
    found = complaints(f'version = 1\ndefault_class = "new"\n[classes.new]\n{limits}')

    assert [complaint.partition(": limits: ")[2] for complaint in found] == expected


@pytest.mark.parametrize(
    ("count", "reserved", "expected"),
    [
        (60, "", []),
        (61, "", ['on "platform" there are 61 limits; 60 are the most']),
        (30, "reserved = { new = 0.5 }", []),
        (31, "reserved = { new = 0.5 }", ['on "platform" there are 62 limits, each reserved part counted; 60 are the most']),
    ],
)  # fmt: skip
def test_an_entity_has_no_more_limits_than_its_value_in_the_store_can_hold(
    count: int, reserved: str, expected: list[str]
) -> None:
    limits = "".join(
        f'[limits."n{n}"]\non = "platform"\nper = "1m"\n{reserved}\nrates.new = {{ rate = 2, burst = 2 }}\n'
        for n in range(count)
    )
    found = complaints(f'version = 1\ndefault_class = "new"\n[classes.new]\n{limits}')

    assert [complaint.partition(": limits: ")[2] for complaint in found] == expected


@pytest.mark.parametrize(("name", "place"), [("n" * 128, 0), ("n" * 129, 2), ("ü" * 65, 2)])
def test_a_name_of_a_class_or_a_limit_has_at_most_128_bytes(name: str, place: int) -> None:
    text = f'''version = 1
default_class = "{name}"
[classes."{name}"]
[limits."{name}"]
on = "account"
per = "1m"
rates."{name}" = {{ rate = 1, burst = 1 }}
'''

    assert sum("bytes; 128 are the most" in complaint for complaint in complaints(text)) == place


def test_all_mistakes_of_a_file_come_at_once_in_the_order_of_its_lines() -> None:
    text = GOOD.replace("deny = 0.9", "deny = 9").replace("burst = 15", "brust = 15")

    _, found = check_policy(text, "policy.toml")

    assert [complaint.line for complaint in found] == sorted(complaint.line or 0 for complaint in found)
    assert len(found) >= 3
    with pytest.raises(PolicyInvalid, match=r"policy\.toml:5"):
        parse_policy(text, "policy.toml")


def test_the_hash_follows_from_the_content_alone() -> None:
    same = "# a comment\n" + GOOD.replace("rate = 10, burst = 15", "burst = 15, rate = 10")
    other = GOOD.replace("burst = 15", "burst = 16")

    hashes = [parse_policy(text, "p").hash for text in (GOOD, same, other)]

    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[0]) == 12


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match=r"none\.toml: cannot be read"):
        load_policy(tmp_path / "none.toml")


def test_a_class_given_by_the_caller_wins_and_an_unknown_one_does_not() -> None:
    policy = load_policy(None)

    assert policy.class_of(Account("a", class_="business"), 0) == "business"
    assert policy.class_of(Account("a", class_="vip"), 0) == "regular"
    assert policy.class_of(Account("a", verified=False), 0) == "unverified"


def uploads_within(class_: str, gap_us: int, until_us: int) -> int:
    """How many uploads of one account get through when it tries once each gap."""
    policy = load_policy(None)
    tats: dict[tuple[str, str], int] = {}
    start_us = 1_700_000_000_000_000
    through = 0
    for at_us in range(start_us, start_us + until_us, gap_us):
        request = CheckRequest("u", Account("a"), Media("image", bytes=200_000), ip="203.0.113.9", device="d")
        take_request = policy.take_request(request, class_, Pseudonyms(b"salt"))
        refusal, _ = take(tats, take_request.buckets, take_request.size, at_us)
        through += refusal is None
    return through


def test_a_new_account_gets_a_handful_at_once_and_tens_in_an_hour() -> None:
    assert 3 <= uploads_within("new", 1000, 100_000) <= 8
    assert 10 <= uploads_within("new", 1_000_000, HOUR_US) <= 60


def test_the_busiest_person_loses_nothing() -> None:
    assert uploads_within("regular", HOUR_US // 41, HOUR_US) == 42
    assert uploads_within("regular", 1_000_000, 15_000_000) == 15
    assert uploads_within("new", HOUR_US // 11, HOUR_US) == 12


def test_a_score_above_the_deny_threshold_refuses_in_every_class() -> None:
    policy = load_policy(None)

    assert all(0.8 <= (thresholds.deny or 0) <= 0.95 for thresholds in policy.thresholds.values())
    assert policy.reasons == ("raid", "scam-wave", "bot-wave", "legal", "capacity", "drill", "other")


def test_a_class_is_one_however_a_check_a_pause_and_the_policy_write_it() -> None:
    policy = parse_policy(GOOD.replace("classes.new", "classes.vip"), "policy.toml")
    body = b'{"upload_id":"u","account":{"id":"a","class":"VIP "},"media":{"kind":"IMAGE"},"country":"de"}'

    request, ignored = decode_check(body, 0)

    class_ = policy.class_of(request.account, 0)
    assert (class_, dict(ignored)) == ("vip", {})
    assert Scope(classes=frozenset(["VIP"])).matches(class_, None, None, None)
    assert Scope(kinds=frozenset(["Image"]), countries=frozenset(["De"])).matches(
        class_, None, request.media.kind, request.country
    )


RESERVED = (
    GOOD.replace(
        "[classes.new]",
        """[classes.new]
assumed_bytes = "10MiB"

[reservations]
lifetime = "2h"
unreported = "give_back"
""",
    )
    + """
[limits."account.videos"]
on = "account"
unit = "in_flight"
kinds = ["video"]
rates = { regular = { burst = 2 }, new = { burst = 0 } }
"""
)


def test_reservations_kinds_and_what_is_in_flight_are_read() -> None:
    policy = parse_policy(RESERVED, "policy.toml")

    names = Pseudonyms(b"salt")
    video, image = (
        policy.take_request(CheckRequest("u", Account("a"), Media(kind)), "new", names) for kind in ("video", "image")
    )
    assert (policy.upload_lifetime_us, policy.unreported_returns) == (2 * HOUR_US, True)
    assert (video.size, image.size) == (10 << 20, 10 << 20)
    assert policy.take_request(CheckRequest("u", Account("a"), Media("image", 0)), "new", names).size == 0
    assert [limit.name for each in video.buckets for limit in each.limits.limits] == ["account.videos"]
    assert image.buckets == ()
    assert video.class_limits.returns


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('unreported = "give_back"', 'unreported = "forget"', "'forget' is not one of keep, give_back"),
        ('lifetime = "2h"', 'lifetime = "40d"', "longer than 31 days"),
        ("[reservations]", '[check]\nupload_lifetime = "1h"\n[reservations]', "its older name"),
        ('kinds = ["video"]', 'kinds = ["Video"]', "'Video' would match nothing"),
        ('on = "account"\nunit = "in_flight"', 'on = "platform"\nunit = "in_flight"', "a class has too many at once"),
        ("burst = 2", "burst = 2000", "at most 1000 in flight"),
    ],
)
def test_what_is_wrong_with_reservations_is_told_with_its_remedy(old: str, new: str, expected: str) -> None:
    found = complaints(RESERVED.replace(old, new))

    assert len(found) == 1
    assert expected in found[0]


def test_zero_is_a_legal_rate_and_burst() -> None:
    policy = parse_policy(GOOD.replace("burst = 15", "burst = 0").replace("rate = 10", "rate = 0"), "policy.toml")

    assert policy.limits[0].rates["regular"].tolerance_us == 0


def test_the_older_name_of_the_lifetime_is_still_read() -> None:
    policy = parse_policy(GOOD + '\n[check]\nupload_lifetime = "3h"\n', "policy.toml")

    assert policy.upload_lifetime_us == 3 * HOUR_US


def test_an_unknown_kind_falls_under_every_limit_that_has_kinds() -> None:
    policy = parse_policy(RESERVED + '\n[known]\nkinds = ["image", "video", "clip-*"]\n', "policy.toml")

    names = Pseudonyms(b"salt")
    limits = {
        kind: policy.take_request(CheckRequest("u", Account("a"), Media(kind)), "new", names).buckets
        for kind in ("image", "video", "clip-7", "vidoe")
    }
    assert [kind for kind, buckets in limits.items() if buckets] == ["video", "vidoe"]


SHARED = """version = 1
default_class = "new"
[classes.new]
[classes.trusted]
[limits."platform.uploads"]
on = "platform"
per = "1s"
lease = 50
reserved = { trusted = 0.25 }
[limits."platform.uploads".rates]
new = { rate = 10, burst = 101 }
trusted = { rate = 10, burst = 101 }
[limits."account.uploads"]
on = "account"
per = "1s"
[limits."account.uploads".rates]
new = { rate = 10, burst = 10 }
"""


def test_a_class_has_its_part_of_the_platform_and_the_others_have_the_rest() -> None:
    (platform, account) = parse_policy(SHARED, "policy.toml").limits

    reserve, rest = platform.limits_of("trusted")
    (of_others,) = platform.limits_of("new")
    (own,) = account.limits_of("new")

    assert (reserve.rate, rest.rate) == (Rate(2, 1_000_000, 25), Rate(7, 1_000_000, 75))
    assert (reserve.name, reserve.reserve_of) == ("platform.uploads reserved for trusted", "platform.uploads")
    assert (of_others.name, of_others.rate) == (rest.name, rest.rate)
    assert (reserve.lease, of_others.lease, own.lease) == (50, 50, 0)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("lease = 50", 'lease = "some"', 'neither "auto" nor a whole number of uploads'),
        ("lease = 50", "lease = 102", "102 is more than a burst of the limit, 101"),
        ("lease = 50", "lease = -1", "-1 is not a whole number from 0 on"),
        ('on = "account"', 'on = "account"\nlease = 5', 'lease: is for limits on "class" and "platform"'),
        ("trusted = 0.25", "trusted = 1.5", "1.5 is not in [0, 1], the range of a part of the limit"),
        ("trusted = 0.25", "trusted = 0.6, new = 0.6", "is 1.2 of the limit together"),
        ("trusted = 0.25", "trusted = 0.05", "less than one unit"),
        ("trusted = 0.25", "vip = 0.25", "a class without a rate of this limit"),
        ('on = "platform"', 'on = "class"', 'reserved: is for limits on "platform"'),
    ],
)
def test_a_mistake_in_a_shared_limit_is_named_with_its_remedy(old: str, new: str, expected: str) -> None:
    found = complaints(SHARED.replace(old, new))

    assert len(found) == 1
    assert expected in found[0]


def test_the_deny_list_reads_ids_as_checks_do() -> None:
    listed = '[deny]\naccounts = [" a-17 ", "b-2\\t", "a-17"]\n'
    check = b'{"upload_id":"u-1","account":{"id":" a-17 "},"media":{"kind":"image"}}'

    policy = parse_policy(GOOD + listed, "policy.toml")

    assert policy.deny_accounts == {"a-17", "b-2"}
    request, _ = decode_check(check, 0)
    assert request.account.id in policy.deny_accounts
    assert policy.hash == parse_policy(GOOD + '[deny]\naccounts = ["b-2", "a-17"]\n', "policy.toml").hash


@pytest.mark.parametrize(
    ("id_", "reason"),
    [("unknown", "value.unknown"), ("a\\u200bb", "value.invisible"), ("x" * 257, "value.too_long")],
)
def test_an_id_that_no_upload_can_have_is_no_entry_of_the_deny_list(id_: str, reason: str) -> None:
    found = complaints(f'{GOOD}[deny]\naccounts = ["a-1", "{id_}"]\n')

    assert len(found) == 1
    assert found[0].startswith("policy.toml:17: deny.accounts: no upload can have the account id ")
    assert found[0].endswith(f"({reason})")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())

    assert load_policy(tmp_path / "policy.toml").hash == parse_policy(GOOD, "policy.toml").hash
