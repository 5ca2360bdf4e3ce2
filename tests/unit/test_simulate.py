"""Simulated uploads: repeatable, in order, and each kind of account looks like what it is."""

from collections import defaultdict
from datetime import timedelta
from itertools import islice, pairwise
from random import Random
from statistics import median, pstdev

import pytest

from gate.core.event import Completed, Reported
from streams.traffic.simulate import (
    DAY_US,
    HOUR_US,
    LiveTraffic,
    Simulation,
    Truth,
    Upload,
    aftermath,
    labelled_rows,
)

START_US = 1_750_000_000_000_000


def first(count: int, seed: int = 1, **sizes: int) -> list[Upload]:
    return list(islice(Simulation(seed, START_US, **sizes), count))


def by_account(uploads: list[Upload], truth: Truth) -> dict[str, list[Upload]]:
    found: dict[str, list[Upload]] = defaultdict(list)
    for upload in uploads:
        if upload.truth is truth:
            found[upload.request.account.id].append(upload)
    return found


def gaps_s(uploads: list[Upload]) -> list[float]:
    return [(b.at_us - a.at_us) / 1e6 for a, b in pairwise(uploads)]


def test_the_same_seed_gives_the_same_uploads_and_another_gives_others() -> None:
    assert first(500) == first(500)
    assert first(500) != first(500, seed=2)


def test_uploads_are_in_order_of_time_and_no_upload_id_comes_twice() -> None:
    uploads = first(5000)

    assert all(a.at_us <= b.at_us for a, b in pairwise(uploads))
    assert len({upload.request.upload_id for upload in uploads}) == len(uploads)


def test_each_kind_of_account_takes_part() -> None:
    uploads = first(5000, people=50, farm=10, scammers=4)

    assert len(by_account(uploads, Truth.PERSON)) == 50
    assert len(by_account(uploads, Truth.FARM)) >= 10
    assert len(by_account(uploads, Truth.SCAM)) == 4


def test_a_farm_shares_a_device_an_address_its_pictures_and_a_link() -> None:
    farm = [upload.request for upload in first(4000) if upload.truth is Truth.FARM and upload.at_us < START_US + DAY_US]

    assert len({request.account.id for request in farm}) == 30
    assert len({(request.device, request.ip, request.links) for request in farm}) == 1
    assert len({request.media.sha256 for request in farm}) == 3


def test_a_farm_uploads_by_metronome_from_accounts_that_are_hours_old() -> None:
    accounts = by_account([u for u in first(4000) if u.at_us < START_US + DAY_US], Truth.FARM)

    for uploads in accounts.values():
        created = uploads[0].request.account.created_at
        assert created is not None
        assert uploads[0].at_us - created.timestamp() * 1e6 < 2 * HOUR_US
        assert pstdev(gaps_s(uploads)) < 1


def test_people_have_a_device_each_unique_pictures_and_uneven_gaps() -> None:
    uploads = first(8000, people=100, farm=0, scammers=0)
    people = by_account(uploads, Truth.PERSON)

    assert len({upload.request.device for upload in uploads}) == 100
    assert len({upload.request.media.sha256 for upload in uploads}) == len(uploads)
    gaps = [gap for person in people.values() for gap in gaps_s(person)]
    assert min(gaps) >= 20
    assert pstdev(gaps) > median(gaps)


def test_people_sleep() -> None:
    uploads = first(8000, people=100, farm=0, scammers=0)

    nightly = sum(upload.at_us % DAY_US < 5 * HOUR_US for upload in uploads)

    assert nightly / len(uploads) < 0.1  # five of twenty-four hours would be a fifth


def test_some_people_share_a_campus_address() -> None:
    people = by_account(first(8000, people=200, farm=0, scammers=0), Truth.PERSON)

    campus = [a for a, uploads in people.items() if (uploads[0].request.ip or "").startswith("192.0.2.")]

    assert 5 <= len(campus) <= 50


def test_scammers_share_a_host_and_words_but_no_device() -> None:
    scams = by_account(first(4000), Truth.SCAM)

    assert len({uploads[0].request.device for uploads in scams.values()}) == len(scams)
    links = [link for uploads in scams.values() for upload in uploads for link in upload.request.links]
    assert links
    assert len({link.split("/")[2] for link in links}) == 1


def test_an_event_carries_the_request_and_the_decision() -> None:
    upload = first(1)[0]

    event = upload.event("throttle")

    assert (event.account, event.upload_id, event.decision) == (
        upload.request.account, upload.request.upload_id, "throttle",
    )  # fmt: skip
    assert round(event.at.timestamp() * 1e6) == upload.at_us


def test_live_traffic_mixes_all_kinds_and_no_person_bursts() -> None:
    live = LiveTraffic(3, START_US, rate=20)
    uploads = [live.next(START_US + i * 50_000) for i in range(12_000)]

    people = by_account(uploads, Truth.PERSON)

    assert {upload.truth for upload in uploads} == set(Truth)
    assert max(map(len, people.values())) <= 5  # within ten minutes


def test_live_attackers_come_back_with_new_accounts() -> None:
    live = LiveTraffic(3, START_US, rate=20)

    early = {u.request.account.id for u in (live.next(START_US + i) for i in range(2000)) if u.truth is Truth.FARM}
    later_us = START_US + 2 * HOUR_US
    late = {u.request.account.id for u in (live.next(later_us + i) for i in range(2000)) if u.truth is Truth.FARM}

    assert early
    assert late
    assert not early & late


def test_an_upload_that_was_let_in_completes_and_scams_are_reported_more_often() -> None:
    uploads = first(6000)
    rng = Random(1)

    reported = dict.fromkeys(Truth, 0)
    for upload in uploads:
        events = aftermath(upload, rng)
        assert isinstance(events[0][1], Completed)
        assert all(at_us > upload.at_us for at_us, _ in events)
        reported[upload.truth] += any(isinstance(event, Reported) for _, event in events)

    shares = {truth: count / sum(u.truth is truth for u in uploads) for truth, count in reported.items()}
    assert shares[Truth.SCAM] > 10 * shares[Truth.PERSON]


def test_a_report_says_when_its_reporter_was_made_and_a_reporter_is_always_of_one_age() -> None:
    rng = Random(1)
    scams = [upload for upload in first(20_000, people=0, farm=0, scammers=40) if upload.truth is Truth.SCAM]

    reports = [event for upload in scams for _, event in aftermath(upload, rng) if isinstance(event, Reported)]

    made = defaultdict(set)
    for report in reports:
        assert report.reporter_created_at is not None
        assert report.reporter_created_at <= report.at
        made[report.reporter].add(report.reporter_created_at)
    assert len(reports) > len(made) > 1000
    assert all(len(times) == 1 for times in made.values())
    young = [r for r in reports if r.reporter_created_at and r.at - r.reporter_created_at < timedelta(days=30)]
    assert 0.03 < len(young) / len(reports) < 0.07


@pytest.mark.parametrize("seed", [1, 2])
def test_labelled_rows_carry_the_truth(seed: int) -> None:
    rows = list(labelled_rows(seed, 3000))

    assert len(rows) == 3000
    assert {row["label"] for row in rows} == {0, 1}
    assert all(str(row["label_kind"]).endswith("person") == (row["label"] == 0) for row in rows)
