"""The complete vector of named features that an account's facts and surroundings give, zeros included.

Signals and scores read this vector and nothing else; a replay writes it out for fitting. A batch of vectors is a
two-dimensional array as it stands. To add a feature, add it at the end of `Features` and of `FEATURES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, sqrt
from operator import mul
from struct import Struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from streams.core.beats import Beats, gaps_ms
from streams.core.crowd import Surroundings
from streams.core.facts import Facts
from streams.core.migration import WEEK_US
from streams.core.window import decayed, value

RECENT_DAYS = 3
"""How long a network or a device counts as one of the account's, since the account last came from it."""
_LOG_SECOND_MS = log(1_000.0)
_PLACE_BYTES = 10
_PLACE = np.dtype([("day", ">u2"), ("place", ">u8")])
_one_place = Struct(">HQ").unpack
_places = Struct(">HQ").iter_unpack
_reports = Struct(">IL").iter_unpack


class Feature(NamedTuple):
    """The meaning of one number of the vector, its unit, and its range."""

    name: str
    meaning: str
    unit: str
    low: float = 0.0
    high: float = inf


class Features(NamedTuple):
    """One number for each of `FEATURES`, in its order. All are as of the account's last event."""

    uploads: float
    minute: float
    hour: float
    day: float
    gaps: float
    gap_log_mean: float
    gap_log_deviation: float
    age_known: float
    age_days: float
    freshness: float
    first_action_minutes: float
    content_repeats: float
    texts: float
    template_repeats: float
    layout_concentration: float
    mentions: float
    spam: float
    linked: float
    host_repeats: float
    suspicion: float
    ip_accounts: float
    device_accounts: float
    content_accounts: float
    link_accounts: float
    completed: float
    refused: float
    reporters: float
    removals: float
    passed: float
    failed: float
    quiet_days: float
    late: float
    malformed: float
    networks: float
    devices: float


FEATURES: Final = (
    Feature("uploads", "uploads that were let through", "uploads"),
    Feature("minute", "uploads lately, each halving in worth with every minute", "uploads"),
    Feature("hour", "uploads lately, each halving in worth with every hour", "uploads"),
    Feature("day", "uploads lately, each halving in worth with every day", "uploads"),
    Feature("gaps", "gaps between uploads that the next two features describe", "gaps"),
    Feature("gap_log_mean", "mean of the natural logarithm of the gaps in seconds", "ln s", -inf),
    Feature("gap_log_deviation", "standard deviation of the same", "ln s"),
    Feature("age_known", "1 if it is known when the account was created", "", 0.0, 1.0),
    Feature("age_days", "age of the account, 0 where unknown", "days"),
    Feature("freshness", "1 for a newborn account, halving with each day, 0 where the age is unknown", "", 0.0, 1.0),
    Feature("first_action_minutes", "from the account's creation to its first upload, 0 where unknown", "minutes"),
    Feature("content_repeats", "uploads of a content that the account uploaded shortly before", "uploads"),
    Feature("texts", "uploads with a caption", "uploads"),
    Feature("template_repeats", "captions that begin like one shortly before", "captions"),
    Feature("layout_concentration", "how alike captions are laid out: the sum of squared shares", "", 0.0, 1.0),
    Feature("mentions", "captions that address somebody", "captions"),
    Feature("spam", "how much captions look like advertisements, a running mean", "", 0.0, 1.0),
    Feature("linked", "uploads with links", "uploads"),
    Feature("host_repeats", "uploads with a link host shortly before", "uploads"),
    Feature("suspicion", "how suspicious the worst link host of an upload looks, a running mean", "", 0.0, 1.0),
    Feature("ip_accounts", "accounts known to share a network with the account, itself among them", "accounts"),
    Feature("device_accounts", "accounts known to share a device with the account, itself among them", "accounts"),
    Feature("content_accounts", "accounts known to share the account's last content", "accounts"),
    Feature("link_accounts", "accounts known to share the account's last link host", "accounts"),
    Feature("completed", "uploads that arrived in full", "uploads"),
    Feature("refused", "attempts that were refused", "attempts"),
    Feature("reporters", "distinct reporters lately, each halving in worth with every week", "reporters"),
    Feature("removals", "uploads removed by others than the owner lately, halving with every week", "uploads"),
    Feature("passed", "challenges passed lately, each halving in worth with every week", "challenges"),
    Feature("failed", "challenges failed lately, each halving in worth with every week", "challenges"),
    Feature("quiet_days", "from the last upload to the last event, 0 without an upload", "days"),
    Feature("late", "uploads whose events came too late to count as a burst or a gap", "uploads"),
    Feature("malformed", "fields of events that broke their rule", "fields"),
    Feature("networks", "distinct networks the account came from last, four at most", "networks", 0.0, 4.0),
    Feature("devices", "distinct devices the account came from last, four at most", "devices", 0.0, 4.0),
)
"""The closed, ordered list: what each number of `Features` means."""


def features(facts: Facts, around: Surroundings) -> Features:
    """The vector of an account with these surroundings."""
    now_us = facts.latest_us
    created_us = facts.created_us
    age_days = (now_us - created_us) / DAY_US if 0 < created_us < now_us else 0.0
    texts = facts.texts
    uploads = facts.uploads
    gaps, gap_log_mean, gap_log_deviation = _gaps(facts.beats) if len(facts.beats) > 2 else (0, 0.0, 0.0)
    numbers = (
        uploads,
        value(facts.minute, now_us, MINUTE_US),
        value(facts.hour, now_us, HOUR_US),
        value(facts.day, now_us, DAY_US),
        gaps,
        gap_log_mean,
        gap_log_deviation,
        1.0 if created_us else 0.0,
        age_days,
        2.0**-age_days if created_us else 0.0,
        (facts.first_us - created_us) / MINUTE_US if uploads and 0 < created_us < facts.first_us else 0.0,
        facts.content_repeats,
        texts,
        facts.template_repeats,
        facts.layout_squares / (texts * texts) if texts else 0.0,
        facts.mentions,
        facts.spam,
        facts.linked,
        facts.host_repeats,
        facts.suspicion,
        around.ip_accounts,
        around.device_accounts,
        around.content_accounts,
        around.link_accounts,
        facts.completed,
        facts.refused,
        reporters_lately(facts) if facts.reporters else 0.0,
        value(facts.removals, now_us, WEEK_US) if facts.removals else 0.0,
        value(facts.passed, now_us, WEEK_US) if facts.passed else 0.0,
        value(facts.failed, now_us, WEEK_US) if facts.failed else 0.0,
        (now_us - facts.last_us) / DAY_US if uploads else 0.0,
        facts.late,
        facts.malformed,
        len(facts.networks) // _PLACE_BYTES,
        len(facts.devices) // _PLACE_BYTES,
    )
    return tuple.__new__(Features, numbers)  # the constructor takes each of them by name, which is slow


def recent(places: bytes, now_us: int) -> list[int]:
    """The networks or the devices that the account came from in the last days, as keyed hashes, the latest first."""
    since = now_us // DAY_US - RECENT_DAYS
    if len(places) == _PLACE_BYTES:  # most accounts come from one place
        day, place = _one_place(places)
        return [place] if day >= since else []
    return [place for day, place in _places(places) if day >= since]


def recent_of(packed: Sequence[bytes], now_us: Sequence[int]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The networks or the devices of many accounts, and which account each is of, by its place among them."""
    counts = np.array([len(places) // _PLACE_BYTES for places in packed], np.int64)
    places = np.frombuffer(b"".join(packed), _PLACE)
    owners = np.repeat(np.arange(len(packed)), counts)
    since = np.array(now_us, np.int64) // DAY_US - RECENT_DAYS
    late = places["day"] >= since[owners]
    return places["place"][late].astype(np.uint64), owners[late]


def _gaps(beats: Beats) -> tuple[int, float, float]:
    """How many gaps there are between beats, at least one, and the mean and standard deviation of their logarithms."""
    gaps = gaps_ms(beats)
    count = len(gaps)
    logs = list(map(log, gaps))
    mean = sum(logs) / count
    variance = sum(map(mul, logs, logs)) / count - mean * mean
    return count, mean - _LOG_SECOND_MS, sqrt(variance) if variance > 0.0 else 0.0


def reporters_lately(facts: Facts) -> float:
    """Distinct reporters as of the account's last event: each counts in full and halves with every week."""
    if not facts.reporters:
        return 0.0
    minutes = facts.latest_us // MINUTE_US
    week = WEEK_US // MINUTE_US
    return sum([decayed(1.0, max(0, minutes - at), week) for at, _ in _reports(facts.reporters)])


def last_evidence_us(facts: Facts) -> int:
    """The time of the last evidence against the account, µs of event time: from then on its score decays.

    An upload that was let in is evidence, and so are a report, a removal by others and a failed challenge. A refused
    attempt is not, as otherwise repeated attempts would keep a score up; nor is a passed challenge. Removals and failed
    challenges are counted by the week, so one counts until the end of its week. Without evidence, the last event's time.
    """
    latest_us, at_us = facts.latest_us, facts.last_us
    if facts.reporters:  # the latest comes first
        at_us = max(at_us, int.from_bytes(facts.reporters[:4], "big") * MINUTE_US)
    for counter in (facts.removals, facts.failed):
        if counter:
            at_us = max(at_us, (counter[0] + 1) * WEEK_US)
    return min(at_us, latest_us) if at_us else latest_us
