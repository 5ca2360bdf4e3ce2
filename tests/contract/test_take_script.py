"""The take script as a whole: who is refused before the buckets, which upload is known, and how long everything is kept."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import hiredis
import pytest
from msgspec.structs import replace

from gate.core.hot_facts import MetFact
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.override import Override
from gate.core.score import Score, Stamp
from gate.records.score import with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.layout import account_key, located, read_buckets, read_reservation, upload_key
from gate.stores.redis.take_batch import Batch
from gate.stores.redis.unrolled import Unrolled
from tests.bucket_values import Value
from tests.redis_nodes import say
from tests.redis_scripts import left_by
from tests.servers import running_redis
from tests.take_requests import DAY_US, MINUTE_US, NOW_US, NoClock

LIFETIME_US = 10 * MINUTE_US


def minute(name: str, burst: int) -> Limit:
    return Limit(name, Rate(burst, MINUTE_US, burst))


OWN, IP, DEVICE, PLATFORM = minute("own", 50), minute("ip", 4), minute("device", 60), minute("platform", 4)
FLYING = Limit("flying", Rate(0, 1, 50), in_flight=True)
ALL = ClassLimits(
    EntityLimits((OWN, FLYING)), EntityLimits((IP,)), EntityLimits((DEVICE,)),
    (EntityBuckets("platform", EntityLimits((PLATFORM,))),), 0.9, DAY_US, LIFETIME_US, name="new",
)  # fmt: skip
WIDE = ClassLimits(EntityLimits((OWN,)), None, None, (), 0.9, DAY_US, LIFETIME_US, name="new")


@dataclass(frozen=True, slots=True)
class Taken:
    """The answers to a batch, and by key what is stored then and for how many ms it is kept."""

    results: Sequence[TakeResult]
    unreadable: int
    values: Mapping[str, bytes | None]
    kept_ms: Mapping[str, int]


async def taken(
    line: Line, prefix: str, requests: Sequence[TakeRequest], stored: Mapping[str, bytes] | None = None
) -> Taken:
    """The batch in one call on what is stored."""
    classes = tuple(dict.fromkeys(request.class_limits for request in requests))
    batch = Batch(requests, Unrolled(classes), prefix)
    reader = hiredis.Reader()
    reader.feed(batch.packed(False))
    _, source, _, *keys, argument = reader.gets()  # type: ignore[misc]
    names = [key.decode() for key in keys]
    left = await left_by(line, source, {name: (stored or {}).get(name) for name in names}, [argument])
    values, kept = dict(zip(names, left.values, strict=True)), dict(zip(names, left.kept_ms, strict=True))
    return Taken(batch.read(left.reply), batch.unreadable, values, kept)


def checks(count: int, limits: ClassLimits, now_us: int | None = None) -> list[TakeRequest]:
    """Uploads of one account, network and device."""
    of = TakeRequest("a", "", limits, "1f", "1d", now_us=now_us, class_="new", kind="image")
    return [replace(of, upload_id=f"u{n}", attempt=1 + n) for n in range(count)]


HOUR_MS = 3_900_000
"""The next of the usual times beyond twice a lifetime of ten minutes."""


@pytest.mark.parametrize(
    ("count", "kept_ms"),
    [
        # the buckets of network and platform are full again after 15 s an upload; they have a minute of grace
        (1, {"2a:{a}": HOUR_MS, "2b:ip:1f": 75_000, "2b:device:1d": 75_000, "2b:platform": 75_000, "2f:account:{a}": 600_000}),
        (2, {"2a:{a}": HOUR_MS, "2b:ip:1f": 600_000, "2b:device:1d": 75_000, "2b:platform": 600_000, "2f:account:{a}": 600_000}),
    ],
)  # fmt: skip
async def test_each_key_is_kept_until_its_buckets_are_full_and_its_reservations_over(
    line: Line, unique: Callable[[], str], count: int, kept_ms: dict[str, int]
) -> None:
    prefix = f"{unique()}:"

    found = await taken(line, prefix, checks(count, ALL))

    assert [result.charged for result in found.results] == [True] * count
    assert {key.removeprefix(prefix): ms for key, ms in found.kept_ms.items() if ms >= 0} == kept_ms


async def test_a_recorded_clock_says_nothing_about_when_the_server_may_forget(
    line: Line, unique: Callable[[], str]
) -> None:
    found = await taken(line, f"{unique()}:", checks(3, ALL, NOW_US - DAY_US))

    assert sorted(ms for ms in found.kept_ms.values() if ms >= 0) == [3_600_000] * 5


async def test_a_refusal_is_kept_until_it_may_be_repeated_no_more(line: Line, unique: Callable[[], str]) -> None:
    prefix = f"{unique()}:"
    narrow = ClassLimits(
        EntityLimits((Limit("hours", Rate(1, 180 * MINUTE_US, 1)),)), None, None, (), 0.9, DAY_US, 1_000_000
    )

    found = await taken(line, prefix, checks(2, narrow))

    (first, second) = found.results
    assert first.charged
    assert second.refusal is not None
    assert second.refusal.retry_after_us == 180 * MINUTE_US
    assert found.kept_ms[f"{prefix}2a:{{a}}"] == 14_400_000


THEN_US = NOW_US + 60 * MINUTE_US
"""A recorded time at which no override is over by the server's clock."""


def decisions() -> list[tuple[TakeRequest, Score | None, Override | None]]:
    """Checks of accounts of their own, with all that decides before the buckets."""
    kinds = {
        "allow": (True, None),
        "deny": (False, None),
        "its own limits": (False, "new"),
        "others' limits": (False, "other"),
    }
    overrides = [Override(allow, "r", "ann", THEN_US + 1, limits) for allow, limits in kinds.values()]
    overrides += [replace(override, expires_at_us=THEN_US) for override in overrides]
    scores = [None, *itertools.product((0.899, 0.9, 1.0), (-5, 0, DAY_US, DAY_US + 1), (True, False))]
    hot = [None, MetFact(0.9, "device:1d", True), MetFact(0.9, "device:1d", False), MetFact(0.5, "device:1d", True)]
    found: list[tuple[TakeRequest, Score | None, Override | None]] = []
    for n, (made, override, fact, keeps) in enumerate(
        itertools.product(scores, [None, *overrides], hot, (False, True))
    ):
        account = f"a{n}"
        score = made and Score(
            account, 0, 0, made[0], (), THEN_US - made[1], THEN_US, Stamp("e", 1, 0, 4, 1), "s", {}, 0, 0.0, made[2]
        )
        request = TakeRequest(account, "u", WIDE, now_us=THEN_US, hot=fact, class_="new", attempt=1, keep_limits=keeps)
        found.append((request, score, override))
    return found


async def test_overrides_scores_and_hot_facts_decide_as_in_the_model_in_every_combination(
    redis_url: str, unique: Callable[[], str]
) -> None:
    cases, model = decisions(), MemoryAccountStore(NoClock())
    redis = RedisAccountStore(redis_url, f"{unique()}:", 10.0, lanes=1)
    await redis.open()
    for store in (model, redis):
        await store.put_scores([with_bytes(score) for _, score, _ in cases if score is not None])
        for request, _, override in cases:
            if override is not None:
                await store.put_override(request.account, override)
    requests = [request for request, _, _ in cases]

    by_model = await model.take_many(requests)
    by_script = [each for n in range(0, len(requests), 500) for each in await redis.take_many(requests[n : n + 500])]

    await redis.close()
    for met, expected, case in zip(by_script, by_model, cases, strict=True):
        assert met == expected, case
    charged = sum(isinstance(each, TakeResult) and each.charged for each in by_model)
    assert len(cases) // 5 < charged < len(cases) // 2


REPEATED, ANEW, CONFLICT, AGAIN_REFUSED = "repeated", "anew", "conflict", "refused again"


def a_record(name: bytes, what: bytes, state: int, flags: int, attempt: int, began: int, span: int) -> bytes:
    rest = struct.pack("<dd", 0.25, NOW_US - 77) if flags & 1 else b""
    names = b"minute" if state == 5 else b"shadowed"
    rest = (struct.pack("<H", len(names)) + names if flags & 64 else b"") + rest
    behind = struct.pack("<BBId6sH", state, flags, attempt, began, span.to_bytes(6, "little"), len(what)) + what + rest
    return struct.pack("<HB", 3 + len(name) + len(behind), len(name)) + name + behind


CHECK = replace(checks(1, WIDE, NOW_US)[0], ip="1f" * 8, device="1d" * 8)
WHAT = Batch.fingerprint(CHECK, {})
OTHER = a_record(b"1:other", WHAT, 1, 0, 9, NOW_US, 60)


@pytest.mark.parametrize(
    ("state", "began", "span", "what", "answer"),
    [
        (1, NOW_US, 1, WHAT, REPEATED),
        (1, NOW_US - 1, 1, WHAT, ANEW),
        (1, NOW_US - 1, 2, WHAT, REPEATED),
        (1, NOW_US + 5, 1, WHAT, REPEATED),
        (2, NOW_US, 1, WHAT, REPEATED),
        (3, NOW_US, 1, WHAT, ANEW),
        (4, NOW_US, 1, WHAT, ANEW),
        (5, NOW_US, 1, WHAT, AGAIN_REFUSED),
        (5, NOW_US - 1, 1, WHAT, ANEW),
        (5, NOW_US + 1, 1, WHAT, ANEW),
        (5, NOW_US, 1, b"other content", CONFLICT),
        (6, NOW_US, 1, WHAT, REPEATED),
        (7, NOW_US, 1, WHAT, ANEW),
        (1, NOW_US, 1, b"other content", CONFLICT),
        (1, NOW_US, 1, WHAT + b"x", CONFLICT),
        (1, NOW_US, 1, WHAT[:-1], CONFLICT),
        (1, NOW_US, 1, replace(CHECK, size=1).fingerprint.encode(), CONFLICT),
        (1, NOW_US, 1, CHECK.fingerprint.encode(), REPEATED),
    ],
)
@pytest.mark.parametrize("is_apart", [False, True], ids=["in the account's value", "under its own key"])
@pytest.mark.parametrize("attempt", [0, 1, 2])
async def test_an_upload_is_known_while_its_reservation_lasts_and_has_not_ended(
    line: Line, unique: Callable[[], str], state: int, began: int, span: int, what: bytes, answer: str, is_apart: bool,
    attempt: int,
) -> None:  # fmt: skip
    prefix = f"{unique()}:"
    record = a_record(b"1:u0", what, state, 64 + (state != 5), attempt, began, span)
    account = Value(
        "account", [(OWN.id, float(NOW_US))], [], OTHER if is_apart else OTHER + record,
        NOW_US // 1_000_000 + 1, 129 if is_apart else 2,
    )  # fmt: skip
    keys = account_key(prefix, "a"), upload_key(prefix, "a", "u0")
    stored = {keys[0]: bytes(account)} | ({keys[1]: record} if is_apart else {})

    found = await taken(line, prefix, [CHECK], stored)

    (result,) = found.results
    met = (
        CONFLICT if result.conflict else REPEATED if result.repeated
        else AGAIN_REFUSED if result.refusal else ANEW if result.charged else ""
    )  # fmt: skip
    assert (met, found.unreadable) == (answer, 0)
    assert result.resent == (answer == REPEATED and attempt == CHECK.attempt)
    if answer == REPEATED:
        assert (result.charged, result.now_us, result.shadow) == (True, began, ("shadowed",))
        assert (result.standing.risk, result.standing.at_us, result.standing.acts) == (0.25, NOW_US - 77, True)
    if answer == AGAIN_REFUSED:
        assert result.refusal is not None
        assert (result.refusal.limit, result.refusal.retry_after_us) == ("minute", span)
    is_shared = answer == REPEATED and attempt == 2
    if answer != ANEW:
        after = [value != stored.get(key) for key, value in found.values.items() if key in keys]
        assert after == [is_shared and not is_apart, is_shared and is_apart]


@pytest.mark.parametrize(("ahead_s", "repeated"), [(1, True), (0, False)])
async def test_keys_of_their_own_are_read_while_the_account_says_that_there_may_be_some(
    line: Line, unique: Callable[[], str], ahead_s: int, repeated: bool
) -> None:
    prefix, now_us = f"{unique()}:", NOW_US - NOW_US % 1_000_000
    record = a_record(b"1:u0", WHAT, 1, 0, 1, now_us, 60)
    account = Value("account", [(OWN.id, 0.0)], [], OTHER, now_us // 1_000_000 + ahead_s, 129)
    stored = {account_key(prefix, "a"): bytes(account), upload_key(prefix, "a", "u0"): record}

    found = await taken(line, prefix, [replace(CHECK, now_us=now_us)], stored)

    (result,) = found.results
    assert (result.charged, result.repeated) == (True, repeated)
    if not repeated:
        value = found.values[account_key(prefix, "a")]
        assert value is not None
        assert value[1 + 12 + 5] == 2


GONE, STALE = (b"gone", NOW_US + 5.0), (b"olds", NOW_US - MINUTE_US - 1.0)
BEFORE, AFTER = OTHER, a_record(b"1:after", WHAT, 1, 0, 9, NOW_US, 60)


def mine(count: int) -> bytes:
    """An ended reservation of the upload that is checked, and other ones around it."""
    ended = a_record(b"1:u0", WHAT, 3, 0, 9, NOW_US, 60)
    return b"".join([BEFORE, ended, AFTER][: count if count != 1 else 2][-count:]) if count else b""


@pytest.mark.parametrize("entries", [[], [GONE], [STALE], [GONE, STALE, (b"more", NOW_US + 9.0)]])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
async def test_a_take_moves_its_bucket_and_replaces_its_reservation_and_leaves_the_rest_as_it_is(
    line: Line, unique: Callable[[], str], entries: list[tuple[bytes, float]], count: int
) -> None:
    prefix, now_us, cost_us = f"{unique()}:", NOW_US - NOW_US % 1_000_000, MINUTE_US // 50
    known = mine(count)
    account = Value("account", [(OWN.id, now_us + 7.0)], entries, known, 0, count)
    key = account_key(prefix, "a")

    found = await taken(line, prefix, [replace(CHECK, now_us=now_us)], {key: bytes(account)})

    raw = found.values[key] or b""
    new = located(read_buckets(raw, account=True)[1], b"1:u0") or b""
    kept = read_reservation(new)[0]
    others = b"".join(each for each in (BEFORE, AFTER) if each in known)
    lasts = (now_us + 2 * LIFETIME_US) // 1_000_000
    expected = Value(
        "account", [(OWN.id, now_us + 7 + cost_us)], entries, others + new, lasts, max(1, count),
    )  # fmt: skip
    assert (found.results[0].charged, found.results[0].repeated, found.unreadable) == (True, False, 0)
    assert raw == bytes(expected)
    assert (kept.began_us, kept.until_us, kept.attempt) == (now_us, now_us + LIFETIME_US, CHECK.attempt)


@pytest.mark.parametrize(("debt_us", "is_debt"), [(0, True), (1, True), (-1, False)])
@pytest.mark.parametrize("before", [0, 2])
async def test_a_debt_among_limits_that_are_gone_counts(
    line: Line, unique: Callable[[], str], debt_us: int, is_debt: bool, before: int
) -> None:
    prefix, late_us = f"{unique()}:", NOW_US + 10 * MINUTE_US
    entries = [(b"gon%d" % n, NOW_US + 1.0) for n in range(before)] + [(OWN.debt_id, float(late_us + debt_us))]
    account = Value("account", [(OWN.id, float(late_us))], entries, OTHER, 0, 1)
    cost_us = MINUTE_US // 50

    found = await taken(line, prefix, [CHECK], {account_key(prefix, "a"): bytes(account)})

    (result,) = found.results
    assert result.refusal is not None
    assert result.refusal.retry_after_us == (late_us - NOW_US - MINUTE_US if is_debt else 0) + cost_us
    assert found.unreadable == (not is_debt)
    tats, _ = read_buckets(found.values[account_key(prefix, "a")], account=True)
    assert tats[OWN.id] == (late_us if is_debt else NOW_US + MINUTE_US)


@pytest.mark.parametrize("records", [b"", OTHER])
async def test_a_reservation_under_its_own_key_is_known_however_few_the_account_has(
    line: Line, unique: Callable[[], str], records: bytes
) -> None:
    prefix = f"{unique()}:"
    account = Value("account", [(OWN.id, 0.0)], [], records, NOW_US // 1_000_000 + 1, 128 + bool(records))
    record = a_record(b"1:u0", WHAT, 1, 0, 1, NOW_US, MINUTE_US)
    stored = {account_key(prefix, "a"): bytes(account), upload_key(prefix, "a", "u0"): record}

    known = await taken(line, prefix, [CHECK], stored)
    later = await taken(line, prefix, [replace(CHECK, now_us=NOW_US + 2_000_000)], stored)

    assert (known.results[0].repeated, later.results[0].repeated, later.results[0].charged) == (True, False, True)


@pytest.mark.parametrize(("accounts", "at_once"), [(1, 0), (7, 0), (8, 1), (9, 1)])
async def test_from_eight_values_on_one_command_writes_those_that_are_kept_equally_long(
    tmp_path: Path, accounts: int, at_once: int
) -> None:
    with running_redis(tmp_path) as server:
        known = say(server.port, "COMMAND", "INFO", "MSETEX")[0] is not None
        line = Line(server.url)
        requests = [replace(CHECK, account=f"a{n}", now_us=None) for n in range(accounts)]

        found = await taken(line, "ug:", requests)

        await line.close()
        calls = say(server.port, "INFO", "commandstats").decode()
        assert [result.charged for result in found.results] == [True] * accounts
        assert [ms for ms in found.kept_ms.values() if ms >= 0] == [HOUR_MS] * accounts
        assert calls.count("cmdstat_msetex:calls=1,") == (at_once if known else 0)
        assert f"cmdstat_set:calls={1 if known and at_once else 1 + accounts}," in calls  # one of them notes the clock
