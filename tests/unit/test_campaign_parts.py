"""The parts of campaigns, one by one: shapes and pages of links, marks of captions, groups of pictures, what is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gate.core.duration import DAY_US, MINUTE_US
from streams.core.campaigns import CampaignKind, Membership, campaign_id, parsed_id
from streams.core.campaigns.campaign import Sighting, parsed_record, written_alias, written_record
from streams.core.campaigns.captions_alike import CaptionGroups, marks_of, read, written
from streams.core.campaigns.catalogue import Catalogue, day_of
from streams.core.campaigns.first_sight import FirstSight
from streams.core.campaigns.known import KnownCampaigns
from streams.core.campaigns.links_alike import link_shape, pages
from streams.core.campaigns.mixing import number_of, number_of_hash, numbers_of, numbers_of_hashes
from streams.core.campaigns.pictures import Pictures
from streams.core.campaigns.popular import PopularPages, _is_popular
from streams.core.crowd import HOST, Crowd
from streams.core.crowd.kinds import LINK_CAMPAIGN, NAME_CAMPAIGN, PICTURE_CAMPAIGN, TEXT_CAMPAIGN
from streams.core.models.alphabet import build_alphabet
from streams.core.near import LONG_HASH, SHORT_HASH, NearShape
from tests.unit.test_near import flipped, some_hashes

ALPHABET = build_alphabet()
TODAY = 20_780
NOW_US = TODAY * DAY_US
PICTURE = (PICTURE_CAMPAIGN, 7)


@pytest.mark.parametrize(
    ("link", "shape"),
    [
        ("https://a.example/one/two/three/four/five", "a.example/one/two/three/four"),
        ("https://a.example/x1y22/3beef-z", "a.example/x*y*/*-z"),
        (f"https://a.example/{'w' * 20}/{'w' * 21}", f"a.example/{'w' * 20}/*"),
        (r"\\a.example\Win\now", "a.example/win/now"),
        ("//a.example//win///now/", "a.example/win/now"),
        ("a.example/win#x/y?z", "a.example/win"),
        ("  https://a.example/win  ", "a.example/win"),
        (" " * 2_050, ""),
        ("https://a.example?x=/win", ""),
    ],
)
def test_a_shape_has_four_segments_without_what_varies(link: str, shape: str) -> None:
    assert link_shape(link) == shape


@pytest.mark.parametrize(
    ("query", "popular", "found"),
    [
        ("", False, ["v.example/watch"]),
        ("", True, ["v.example/watch"]),
        ("?v=abcde", False, ["v.example/watch"]),
        ("?v=abcde", True, ["v.example/watch?v=abcde"]),
        ("?v=abcd", True, ["v.example/watch"]),
        (
            "?v=abcde&utm_source=abcdef&ref=abcdef&t=abcdef&list=fghij",
            True,
            ["v.example/watch?v=abcde", "v.example/watch?list=fghij"],
        ),
        ("?" + "&".join(f"k{n}=valued" for n in range(9)), True, [f"v.example/watch?k{n}=valued" for n in range(4)]),
        ("#a?v=abcde", True, ["v.example/watch"]),
        ("?v=abcde#a?list=fghij", True, ["v.example/watch?v=abcde"]),
        ("#?to=https://prize.example/win/5", False, ["v.example/watch"]),
        ("?to=https://prize.example/win/5", False, ["prize.example/win/*"]),
        ("?to=https%3A%2F%2Fprize.example&x=abcdef", True, ["prize.example"]),
        ("?to=https://youtube.com/x", False, ["v.example/watch"]),
        ("?" + "&".join(["k=v"] * 15) + "&to=http://prize.example", False, ["prize.example"]),
        ("?" + "&".join(["k=v"] * 16) + "&to=http://prize.example", False, ["v.example/watch"]),
        ("?" + "&".join(f"k=http://p{n}.example" for n in "abcdef"), False, [f"p{n}.example" for n in "abcd"]),
    ],
)
def test_a_page_of_a_popular_host_is_its_path_or_a_long_value_or_the_link_in_it(
    query: str, popular: bool, found: list[str]
) -> None:
    assert pages(f"https://v.example/watch{query}", "v.example", popular) == found


def test_a_popular_host_without_a_path_is_no_page() -> None:
    assert pages("https://v.example/", "v.example", False) == []


TEXT = "earn five thousand dollars a week from home"


def test_a_caption_of_32_letters_has_four_marks_and_a_shorter_one_none() -> None:
    letters = "abcdefghijklmnopqrstuvwxyzabcdef"

    marks = marks_of([letters[:31], letters, "", letters + "g", letters[:31]], ALPHABET)

    assert [len(each) for each in marks] == [0, 4, 0, 4, 0]
    assert marks_of([letters], ALPHABET) == [marks[1]]
    assert marks_of([], ALPHABET) == []
    assert marks_of(["", "a"], ALPHABET) == [(), ()]
    assert all(0 <= mark < 1 << 32 for mark in marks[1])
    assert len(set(marks[1])) == 4


def test_marks_stay_those_that_other_workers_and_the_topic_know() -> None:
    assert written(marks_of([TEXT], ALPHABET)[0]) == "031a5f9c08cb2ec1100a176902985d4a"


def test_marks_are_shared_with_the_share_of_5_grams_that_captions_share() -> None:
    rng = np.random.default_rng(4)
    texts = []
    for _ in range(400):
        ends = ["".join(chr(97 + code) for code in rng.integers(0, 26, 30)) for _ in range(3)]
        texts += [ends[0] + ends[1], ends[0] + ends[2]]
    marks = np.array(marks_of(texts, ALPHABET)).reshape(-1, 2, 4)

    assert (marks[:, 0] == marks[:, 1]).mean() == pytest.approx(26 / 94, abs=0.05)


@pytest.mark.parametrize(
    ("marks", "joins"),
    [((1, 2, 8, 9), True), ((7, 2, 3, 9), True), ((1, 2, 3, 4), True), ((1, 7, 8, 9), False), ((2, 1, 4, 3), False)],
)
def test_a_caption_joins_the_group_that_two_of_its_marks_have(marks: tuple[int, ...], joins: bool) -> None:
    groups = CaptionGroups()
    first = groups.group((1, 2, 3, 4))

    assert (groups.group(marks) == first) is joins
    assert first == number_of(written((1, 2, 3, 4)))
    assert groups.group(()) == 0


def test_of_two_groups_the_one_with_more_marks_is_joined_and_of_equals_the_smaller() -> None:
    def joined(*sizes: int) -> int:
        groups = CaptionGroups()
        marks = (10, 20, 30, 40)
        at = 0
        for group, size in enumerate(sizes, start=5):
            groups.learn(
                written(tuple(mark if at <= n < at + size else 99 * group + n for n, mark in enumerate(marks))), group
            )
            at += size
        return groups.group(marks)

    assert [joined(2, 2), joined(1, 3), joined(3, 1), joined(1, 2), joined(2, 1)] == [5, 6, 5, 6, 5]
    assert joined(1, 1, 1, 1) not in (5, 6, 7, 8)


def test_marks_that_were_shown_longest_ago_make_room() -> None:
    groups = CaptionGroups(most=8)
    first, second = groups.group((1, 2, 3, 4)), groups.group((5, 6, 7, 8))
    groups.group((1, 2, 3, 4))
    groups.group((9, 10, 11, 12))

    assert groups.group((1, 2, 50, 51)) == first
    assert groups.group((5, 6, 60, 61)) != second


def test_marks_that_another_worker_wrote_are_learned_where_none_are_known() -> None:
    groups = CaptionGroups()
    held = groups.group((1, 2, 3, 4))
    new = written((5, 6, 7, 8))

    assert groups.learn(written((1, 2, 3, 9)), 77) == held
    assert [groups.learn(new, 77), groups.learn(new, 78), groups.group((5, 6, 7, 8))] == [77, 77, 77]
    assert [groups.learn(text, 7) for text in ("", new[:-1], new + "0", new[:-1] + "g", new.upper()[:-1] + "A")] == [
        0
    ] * 5
    assert read(written((1, 2, 3, 4))) == (1, 2, 3, 4)


def hex_of(rows: np.ndarray) -> list[str]:
    return ["".join(f"{int(word):016x}" for word in row) for row in rows]


def test_blank_pictures_and_what_is_no_hash_belong_to_no_group() -> None:
    def of_bits(count: int, digits: int = 16) -> str:
        return f"{(1 << count) - 1:0{digits}x}"

    def has_group(*texts: str) -> list[bool]:
        return [group > 0 for group in Pictures(64).groups(texts)]

    assert (
        has_group(of_bits(0), of_bits(5), of_bits(6), of_bits(58), of_bits(59), of_bits(64))
        == [False] * 2 + [True] * 2 + [False] * 2
    )
    assert has_group(of_bits(5, 64), of_bits(6, 64), of_bits(250, 64), of_bits(251, 64)) == [False, True, True, False]
    assert has_group("", "g" * 16, "0f" * 7, "0f" * 9, "0F" * 8, "0f" * 32) == [False] * 4 + [True] * 2


@pytest.mark.parametrize("shape", [SHORT_HASH, LONG_HASH], ids=["64 bits", "256 bits"])
def test_pictures_of_one_batch_join_the_first_that_is_near(shape: NearShape) -> None:
    base = some_hashes(shape, 400)
    texts = [
        text
        for pair in zip(hex_of(base), hex_of(flipped(base, shape.distance // 2, shape.bits)), strict=True)
        for text in pair
    ]

    groups = Pictures(1 << 10).groups(texts)

    assert groups[0::2] == groups[1::2]
    assert len(set(groups)) == 400
    assert groups[0::2] == numbers_of(base).tolist()


def test_a_picture_is_in_the_group_that_another_worker_has_for_it_unless_this_one_has_another() -> None:
    pictures = Pictures(64)
    known, new, near = hex_of(some_hashes(SHORT_HASH, 2)) + hex_of(flipped(some_hashes(SHORT_HASH, 2)[1:], 3, 64))
    own = pictures.groups([known])[0]

    assert pictures.learn(known, 5) == own
    assert [pictures.learn(new, 5), pictures.learn(near, 6), pictures.groups([near])[0]] == [5, 5, 5]
    assert pictures.learn("nothing", 5) == pictures.learn("g" * 16, 5) == 0


def test_numbers_are_of_63_bits_never_0_and_the_same_on_every_worker() -> None:
    rows = np.array([[0, 1], [1, 0], [2**64 - 1, 5]], np.uint64)

    assert numbers_of(rows).tolist() == [313702574736366215, 3395948882924712079, 1923329087015097400]
    assert (number_of("a"), number_of("")) == (5289089741838818340, 2624913546601661780)
    assert number_of_hash("8" + "0" * 31) == 1 << 62
    assert number_of_hash("0" * 64) == 1
    assert number_of_hash("0" * 31) == number_of("0" * 31)
    assert number_of_hash("+" + "0" * 40) == number_of("+" + "0" * 40)
    assert number_of("\ud800") > 0


@pytest.mark.parametrize(
    "beside",
    ["ab" * 16, "ab" * 15, "ab cd ef 01 23 45" + "a" * 40, " " + "ab" * 32, " " * 8 + "ab" * 28, "+" + "ab" * 32,
     "0x" + "ab" * 31, "zz" * 32, "\u0661" * 64, "\ud800" * 32, "ab" * 7 + "\n\n" + "ab" * 24, "AB" * 32, "0" * 64, ""],
)  # fmt: skip
def test_hashes_have_the_number_of_each_one_whatever_is_with_them(beside: str) -> None:
    plain = [f"{n:064x}"[::-1] for n in range(1, 20)]

    for hashes in ([*plain, beside], [beside, *plain], [beside] * 20, [beside]):
        assert numbers_of_hashes(hashes) == [number_of_hash(one) for one in hashes]


def test_an_item_was_first_shown_when_its_slot_saw_it_first() -> None:
    first = FirstSight(slots=4)

    first.see([5, 6, 5], [NOW_US, NOW_US + MINUTE_US, NOW_US + 9 * MINUTE_US])
    first.see([5], [NOW_US + 5 * MINUTE_US])

    assert [first.first_us(item) for item in (5, 6, 9, 7)] == [NOW_US, NOW_US + MINUTE_US, None, None]
    first.see([9], [NOW_US + 2 * MINUTE_US + 59_000_000])
    assert [first.first_us(item) for item in (5, 9)] == [None, NOW_US + 2 * MINUTE_US]
    first.see([3, 2], [-5, 1 << 62])
    assert [first.first_us(item) for item in (3, 2)] == [0, 0xFFFF_FFFF * MINUTE_US]


def test_a_sighting_has_its_first_and_last_time_and_three_examples() -> None:
    sighting = Sighting(50, 60)

    sighting.extend(40, 55, ["a", "a", "b"])
    sighting.extend(45, 90, ["b", "c", "d"])
    sighting.count((9, 4))

    assert (sighting.first_us, sighting.last_us, sighting.examples) == (40, 90, ["a", "b", "c"])
    assert (sighting.accounts, sighting.strangers) == (9, 5)


def test_a_record_reads_back_and_one_out_of_bounds_is_passed_over() -> None:
    counts = b"[2,20780,[5,5,5],[1,1,1]]"
    value = written_record(Sighting(40, 90, ["a"]), counts)
    record = parsed_record(value)
    assert record is not None
    assert (record.first_us, record.last_us, record.examples, bytes(record.counts)) == (40, 90, ["a"], counts)
    alias = parsed_record(written_alias(PICTURE))
    assert alias is not None
    assert alias.same_as == campaign_id(PICTURE) == "content-0000000000000007"

    def is_read(**given: object) -> bool:
        return parsed_record(json.dumps({"version": 1} | given).encode()) is not None

    assert is_read(first_us=5, last_us=5, examples=["x" * 128] * 3)
    assert is_read(last_us=(1 << 56) - 1)
    assert not is_read(last_us=1 << 56)
    assert not is_read(first_us=6, last_us=5)
    assert not is_read(first_us=-1, last_us=5)
    assert not is_read(examples=["x"] * 4)
    assert not is_read(examples=["x" * 129])
    assert not is_read(version=2)
    assert parsed_record(b'{"version":1}' + b" " * (4_096 - 13)) is not None
    assert parsed_record(b'{"version":1}' + b" " * (4_097 - 13)) is None
    assert [parsed_id(f"{kind}-{7:016x}") for kind in CampaignKind] == [
        (PICTURE_CAMPAIGN, 7),
        (LINK_CAMPAIGN, 7),
        (TEXT_CAMPAIGN, 7),
        (NAME_CAMPAIGN, 7),
    ]


def with_accounts(crowd: Crowd, feature: tuple[int, int], accounts: int, established: int = 0, first: int = 0) -> None:
    for account in range(first, first + accounts):
        crowd.note(0, *feature, account, NOW_US, established=account - first < established)


def described(feature: tuple[int, int]) -> tuple[int, int, list[str]]:
    return NOW_US, NOW_US + 5, [str(feature[1])]


def test_a_campaign_is_visible_from_four_accounts_on_and_they_belong_to_it() -> None:
    crowd = Crowd()
    known = KnownCampaigns(crowd)
    with_accounts(crowd, PICTURE, 3)
    known.look(described)
    before = (dict(known.sightings), known.has_members)

    with_accounts(crowd, PICTURE, 1, first=3)
    known.look(described)

    assert before == ({}, False)
    assert known.of(0) == known.of(3) == Membership(content=4)
    assert known.of(9) == Membership()
    assert known.among([0, 3, 9]) == {0, 3}
    assert known.largest(CampaignKind.CONTENT) == (1, 4)
    assert known.largest(CampaignKind.TEXT) == (0, 0)


def test_an_account_belongs_to_the_largest_of_its_last_two_campaigns_of_a_kind() -> None:
    crowd = Crowd()
    known = KnownCampaigns(crowd)
    features = [(PICTURE_CAMPAIGN, 1), (PICTURE_CAMPAIGN, 2), (PICTURE_CAMPAIGN, 3), (LINK_CAMPAIGN, 4)]
    for feature, size in zip(features, (9, 5, 7, 6), strict=True):
        with_accounts(crowd, feature, size, established=2, first=100 * feature[1])
    known.look(described)

    for feature in (features[0], features[3], features[1]):
        known.join(5, [feature])
    two = known.of(5)
    known.join(5, [features[2], features[2]])

    assert two == Membership(9, 6, 0, 0, 2, 2, 0, 0)
    assert known.of(5) == Membership(7, 6, 0, 0, 2, 2, 0, 0)
    assert known.largest(CampaignKind.CONTENT) == (3, 7)
    known.join(6, [(TEXT_CAMPAIGN, 8)])
    assert known.of(6) == Membership()


def test_two_campaigns_that_are_one_have_the_smaller_number_and_all_members() -> None:
    crowd = Crowd()
    known = KnownCampaigns(crowd)
    low, high = (PICTURE_CAMPAIGN, 1), (PICTURE_CAMPAIGN, 2)
    with_accounts(crowd, low, 4)
    with_accounts(crowd, high, 5, first=50)
    known.look(described)

    stays = known.unite(high, low)
    known.look(described)

    assert stays == known.resolved(high) == known.unite(low, high) == known.resolved(low) == low
    assert known.of(0).content == known.of(50).content == 9
    assert set(known.sightings) == {low}
    assert known.sightings[low].examples == ["1", "2"]


@pytest.mark.parametrize(
    ("established", "others", "popular"), [(4, 0, False), (5, 0, True), (5, 20, True), (5, 21, False), (32, 128, True)]
)
def test_a_page_is_popular_with_five_established_accounts_and_four_others_for_each(
    established: int, others: int, popular: bool
) -> None:
    crowd = Crowd()
    with_accounts(crowd, (HOST, 7), established + others, established)
    pages = PopularPages(crowd)

    assert _is_popular(established, others) is popular
    if established + others <= 64:
        assert pages.has_host(7) is popular


def test_an_account_that_becomes_established_counts_no_longer_with_the_others() -> None:
    crowd = Crowd()
    crowd.note(0, HOST, 1, 1, NOW_US)
    pages = PopularPages(crowd)
    for account in range(5):
        pages.note(7, account, NOW_US, True)
    for account in range(100, 121):
        pages.note(7, account, NOW_US, False)
    before = pages.has_page(7)

    pages.note(7, 100, NOW_US, True)

    assert (before, pages.has_page(7), pages.has_page(8)) == (False, True, False)


def test_with_32_established_accounts_no_number_of_others_makes_a_page_unpopular() -> None:
    crowd = Crowd()
    crowd.note(0, HOST, 1, 1, NOW_US)
    pages = PopularPages(crowd)
    for account in range(40):
        pages.note(7, account, NOW_US, True)
    for account in range(1_000, 2_000):
        pages.note(7, account, NOW_US, False)

    assert pages.has_page(7)
    assert len(pages._linked[7].established) == 32
    assert len(pages._linked[7].others) == 128


def record(
    first_us: int, last_us: int, accounts: int, established: int = 0, day: int = TODAY, example: str = "e"
) -> bytes:
    counts = json.dumps([2, day, [accounts] * 3, [established] * 3]).encode()
    return written_record(Sighting(first_us, last_us, [example]), counts)


def test_a_catalogue_adds_up_partitions_and_lists_the_largest_first() -> None:
    catalogue = Catalogue()
    ids = [campaign_id((PICTURE_CAMPAIGN, number)) for number in (1, 2, 3)]
    catalogue.add(0, ids[0], record(5, 9, 4, 1, example="a"))
    catalogue.add(1, ids[0], record(4, 7, 5, 2, example="b"))
    catalogue.add(0, ids[1], record(1, 2, 30))
    catalogue.add(0, ids[2], record(1, 2, 9))
    catalogue.add(0, "nothing", record(1, 2, 9))
    catalogue.add(0, ids[1], b"damaged")

    listed = catalogue.all(TODAY)

    assert [(one.id, one.members, one.established) for one in listed] == [
        (ids[1], 30, 0),
        (ids[0], 9, 3),
        (ids[2], 9, 0),
    ]
    assert (listed[1].first_us, listed[1].last_us, listed[1].examples) == (4, 9, ("a", "b"))
    assert [len(catalogue.all(TODAY + days)) for days in (2, 3)] == [3, 0]
    assert catalogue.one(ids[0], TODAY) == listed[1]
    assert catalogue.one("nothing", TODAY) is None
    assert catalogue.one(campaign_id((PICTURE_CAMPAIGN, 9)), TODAY) is None


def test_in_a_catalogue_a_campaign_that_turned_out_to_be_another_is_part_of_it() -> None:
    catalogue = Catalogue()
    ids = [campaign_id((PICTURE_CAMPAIGN, number)) for number in (1, 2, 3)]
    for number, accounts in enumerate((4, 6, 5)):
        catalogue.add(0, ids[number], record(5, 9, accounts))
    catalogue.add(0, ids[2], written_alias((PICTURE_CAMPAIGN, 2)))
    catalogue.add(0, ids[1], written_alias((PICTURE_CAMPAIGN, 1)))
    catalogue.add(0, ids[0], written_alias((PICTURE_CAMPAIGN, 1)))
    catalogue.add(0, ids[0], written_alias((PICTURE_CAMPAIGN, 2)))

    (one,) = catalogue.all(TODAY)

    assert (one.id, one.members, one.also) == (ids[0], 6, (ids[1], ids[2]))
    assert catalogue.one(ids[2], TODAY) == one
    assert day_of(NOW_US + DAY_US - 1) == TODAY


def test_in_a_catalogue_no_campaign_is_part_of_one_of_another_kind() -> None:
    catalogue = Catalogue()
    link, picture = campaign_id((LINK_CAMPAIGN, 7)), campaign_id((PICTURE_CAMPAIGN, 7))
    catalogue.add(0, link, record(5, 9, 6))
    catalogue.add(0, picture, record(5, 9, 4))

    catalogue.add(0, link, written_alias((PICTURE_CAMPAIGN, 7)))

    assert [(one.id, one.members) for one in catalogue.all(TODAY)] == [(link, 6), (picture, 4)]


def test_a_catalogue_follows_each_campaign_that_turned_out_to_be_another_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    follows: list[tuple[int, int]] = []
    resolved = Catalogue._resolved

    def counted(catalogue: Catalogue, feature: tuple[int, int]) -> tuple[int, int]:
        follows.append(feature)
        return resolved(catalogue, feature)

    monkeypatch.setattr(Catalogue, "_resolved", counted)
    catalogue = Catalogue()
    for number in range(0, 200, 2):
        catalogue.add(0, campaign_id((PICTURE_CAMPAIGN, number)), record(5, 9, 4))
        catalogue.add(1, campaign_id((PICTURE_CAMPAIGN, number + 1)), written_alias((PICTURE_CAMPAIGN, number)))

    listed = catalogue.all(TODAY)

    assert [len(one.also) for one in listed] == [1] * 100
    assert len(follows) == 200


@pytest.mark.parametrize(
    "text",
    [
        "content" + "0" * 16, "content-" + "0" * 15, "content-" + "0" * 17, "moon-" + "0" * 16, "-" + "0" * 16,
        "content-" + "A" * 16, "content-" + "g" * 16, "contentx" + "0" * 16, "", "content--" + "0" * 15,
    ],
)  # fmt: skip
def test_an_id_is_a_kind_a_dash_and_sixteen_digits(text: str) -> None:
    assert parsed_id(text) is None
