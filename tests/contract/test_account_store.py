"""What every AccountStore promises, over the one in memory and the one in Redis; then what only a server can lose."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from charges import one_limit, plan
from servers import running_redis
from waiting import eventually

from gate.core.bucket import Charge, Rate
from gate.core.score import Reason, Score, Stamp
from gate.core.standing import Ask, Override, Taken
from gate.errors import StoreUnavailable
from gate.ports import AccountStore
from gate.records.score import spell
from gate.stores.memory import MemoryAccountStore
from gate.stores.redis import RedisAccountStore
from gate.stores.redis_connection import Line

MINUTE_US = 60_000_000
DAY_US = 86_400_000_000


class WallClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000


NOW_US = WallClock().now_us()


def charge(
    limit: str, burst: int, entity: str = "account:{a}", *, shadow: bool = False, by_bytes: bool = False
) -> Charge:
    """A charge on a limit of `burst` a minute."""
    return one_limit(entity, limit, Rate(burst, MINUTE_US, burst), shadow=shadow, by_bytes=by_bytes)


def ask(
    upload: str, *charges: Charge, account: str = "a", size: int = 0, now_us: int | None = NOW_US,
    at: float | None = 0.9,
) -> Ask:  # fmt: skip
    asked = plan(*charges, refuse_at=at, max_score_age_us=DAY_US, lifetime_us=10 * MINUTE_US)
    return Ask(account, upload, asked, size=size, now_us=now_us)


def score(account: str = "a", risk: float = 0.95, offset: int = 1, epoch: str = "e", at_us: int = NOW_US) -> Score:
    reasons = (Reason("tempo.burst", 0.5, 0.25),)
    return Score(account, 0.5, 0.25, risk, reasons, at_us, NOW_US, Stamp(epoch, offset), "9f2c")


def override(allow: bool, expires_at_us: int = NOW_US + 60 * MINUTE_US) -> Override:
    return Override(allow, "a known photographer", "ada", expires_at_us)


@pytest.fixture
async def redis_store(redis_url: str, unique: Callable[[], str]) -> AsyncIterator[RedisAccountStore]:
    store = RedisAccountStore(redis_url, prefix=f"{unique()}:", deadline_s=5.0)
    await store.open()
    yield store
    await store.close()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_store: RedisAccountStore) -> AccountStore:
    return MemoryAccountStore(WallClock()) if request.param == "memory" else redis_store


async def admitted(store: AccountStore, count: int, *charges: Charge, account: str = "a") -> int:
    """How many of `count` more uploads are let in, asked at once."""
    tag = time.monotonic_ns()
    asks = [ask(f"{tag}-{i}", *charges, account=account) for i in range(count)]
    return sum(taken.charged for taken in await asyncio.gather(*map(store.take, asks)))


@pytest.mark.parametrize("limit", [1, 5, 32, 33, 99])
async def test_exactly_as_many_as_the_limit_are_let_in_of_100_at_once(store: AccountStore, limit: int) -> None:
    assert await admitted(store, 100, charge("minute", limit)) == limit


async def test_a_store_that_was_never_told_of_an_account_knows_nothing_and_lets_in(store: AccountStore) -> None:
    taken = await store.take(ask("u", charge("minute", 1)))

    assert (taken.standing.risk, taken.standing.at_us, taken.standing.override) == (None, None, None)
    assert (taken.charged, taken.repeated, taken.refusal, taken.shadow) == (True, False, None, ())
    assert taken.now_us == NOW_US


async def test_a_check_without_any_limit_is_let_in(store: AccountStore) -> None:
    assert (await store.take(ask("u"))).charged


async def test_without_a_recorded_time_the_stores_own_clock_judges(store: AccountStore) -> None:
    taken = await store.take(ask("u", charge("minute", 1), now_us=None))

    assert abs(taken.now_us - WallClock().now_us()) < MINUTE_US


async def test_a_refusal_names_the_limit_that_must_be_waited_for_longest_and_charges_nobody(
    store: AccountStore,
) -> None:
    roomy, tight = charge("roomy", 10), charge("tight", 2, "ip:1")
    for i in range(2):
        await store.take(ask(f"u{i}", roomy, tight))

    refused = await store.take(ask("u2", roomy, tight))

    assert refused.refusal is not None
    assert (refused.refusal.limit, refused.refusal.retry_after_us) == ("tight", MINUTE_US // 2)
    assert not refused.charged
    assert await admitted(store, 20, roomy) == 8


async def test_what_exceeds_the_burst_is_never_let_in_and_says_so(store: AccountStore) -> None:
    taken = await store.take(ask("u", charge("bytes", 100, by_bytes=True), size=101))

    assert taken.refusal is not None
    assert (taken.refusal.limit, taken.refusal.retry_after_us) == ("bytes", None)
    assert not taken.charged


async def test_a_shadow_limit_counts_and_is_named_but_cannot_refuse(store: AccountStore) -> None:
    shadow = charge("tried", 2, shadow=True)

    taken = [await store.take(ask(f"u{i}", shadow)) for i in range(4)]

    assert [t.charged for t in taken] == [True] * 4
    assert [t.shadow for t in taken] == [(), (), ("tried",), ("tried",)]


async def test_limits_of_one_entity_can_be_reordered_added_and_removed(store: AccountStore) -> None:
    one, two, three = charge("one", 3), charge("two", 4), charge("three", 5)
    await store.take(ask("u0", one, two))
    await store.take(ask("u1", two, three))
    await store.take(ask("u2", three))

    left = [await admitted(store, 10, limit) for limit in (three, one, two)]

    assert left == [3, 2, 2]


async def test_one_batch_with_a_shared_bucket_and_own_ones_counts_each_exactly(store: AccountStore) -> None:
    asks = [
        ask(f"u{i}", charge("own", 2, f"account:{{b{i % 10}}}"), charge("all", 15, "platform"), account=f"b{i % 10}")
        for i in range(50)
    ]

    taken = await asyncio.gather(*map(store.take, asks))

    assert sum(t.charged for t in taken) == 15
    assert await admitted(store, 50, charge("all", 15, "platform")) == 0


async def test_the_same_upload_spends_once_and_gets_the_same_answer(store: AccountStore) -> None:
    limit, shadow = charge("minute", 2), charge("tried", 1, shadow=True)
    await store.put_scores([*map(spell, [score(risk=0.5)])])
    await store.take(ask("u0", limit, shadow))
    first = await store.take(ask("u1", limit, shadow))
    await store.put_scores([*map(spell, [score(risk=0.6, offset=2)])])

    again = await asyncio.gather(*(store.take(ask("u1", limit, shadow, now_us=NOW_US + 5)) for _ in range(40)))

    assert first.charged
    assert not first.repeated
    assert {(t.charged, t.repeated, t.refusal) for t in again} == {(True, True, None)}
    assert {(t.shadow, t.standing.risk, t.now_us) for t in again} == {(("tried",), 0.5, NOW_US)}


async def test_forty_askers_of_one_new_upload_spend_once(store: AccountStore) -> None:
    limit = charge("minute", 10)

    taken = await asyncio.gather(*(store.take(ask("u", limit)) for _ in range(40)))

    assert all(t.charged for t in taken)
    assert sum(not t.repeated for t in taken) == 1
    assert await admitted(store, 20, limit) == 9


async def test_an_upload_is_forgotten_after_its_lifetime(store: AccountStore) -> None:
    limit = charge("minute", 100)
    await store.take(ask("u", limit))

    before = await store.take(ask("u", limit, now_us=NOW_US + 10 * MINUTE_US - 1))
    after = await store.take(ask("u", limit, now_us=NOW_US + 10 * MINUTE_US))

    assert (before.repeated, after.repeated) == (True, False)


async def test_an_upload_that_was_refused_is_judged_anew(store: AccountStore) -> None:
    limit = charge("minute", 1)
    await store.take(ask("u0", limit))
    refused = await store.take(ask("u1", limit))

    later = await store.take(ask("u1", limit, now_us=NOW_US + MINUTE_US))

    assert not refused.charged
    assert (later.charged, later.repeated) == (True, False)


async def test_upload_ids_belong_to_their_account_whatever_the_ids_contain(store: AccountStore) -> None:
    pairs = [("a", "u"), ("b", "u"), ("a}:b", "c"), ("a", "b}:c"), ("a", "1:x}:6:c"), ("a}:1:x", "c")]

    taken = [await store.take(ask(upload, account=account)) for account, upload in pairs]

    assert [t.repeated for t in taken] == [False] * len(pairs)


async def test_a_score_from_the_threshold_on_refuses_and_moves_no_token(store: AccountStore) -> None:
    limit = charge("minute", 5)
    await store.put_scores([*map(spell, [score(risk=0.9), score("b", risk=0.899999)])])

    taken = await store.take(ask("u", limit, charge("tried", 1, shadow=True)))

    assert (taken.charged, taken.refusal, taken.shadow, taken.standing.risk) == (False, None, (), 0.9)
    assert await admitted(store, 10, limit, account="b") == 5


async def test_a_score_that_is_too_old_or_a_class_without_threshold_refuses_nobody(store: AccountStore) -> None:
    await store.put_scores(
        [*map(spell, [score("old", at_us=NOW_US - DAY_US - 1), score("edge", at_us=NOW_US - DAY_US), score("free")])]
    )

    old, edge, free = [
        await store.take(ask("u", account="old")),
        await store.take(ask("u", account="edge")),
        await store.take(ask("u", account="free", at=None)),
    ]

    assert (old.charged, edge.charged, free.charged) == (True, False, True)
    assert old.standing.risk == 0.95


async def test_an_upload_once_let_in_is_refused_when_the_score_refuses_by_now(store: AccountStore) -> None:
    await store.take(ask("u"))
    await store.put_scores([*map(spell, [score()])])

    taken = await store.take(ask("u"))

    assert (taken.charged, taken.repeated, taken.standing.risk) == (False, False, 0.95)


async def test_an_override_that_denies_charges_nothing_and_reaches_a_repeated_upload(store: AccountStore) -> None:
    limit = charge("minute", 5)
    await store.take(ask("u", limit))
    await store.put_override("a", override(allow=False))

    again, other = await store.take(ask("u", limit)), await store.take(ask("v", limit))

    assert (again.charged, other.charged) == (False, False)
    assert other.standing.override == override(allow=False)
    assert await admitted(store, 10, limit, account="b") == 4


async def test_an_override_that_allows_outweighs_score_and_limits_and_charges_where_it_fits(
    store: AccountStore,
) -> None:
    tight, roomy, tried = charge("tight", 1), charge("roomy", 10, "ip:1"), charge("tried", 1, shadow=True)
    await store.put_scores([*map(spell, [score()])])
    await store.put_override("a", override(allow=True))

    taken = [await store.take(ask(f"u{i}", tight, roomy, tried)) for i in range(3)]

    assert [t.charged for t in taken] == [True] * 3
    assert [t.shadow for t in taken] == [(), ("tried",), ("tried",)]
    assert taken[0].standing.override == override(allow=True)
    assert await admitted(store, 20, roomy, account="b") == 7


async def test_an_override_ends_by_itself(store: AccountStore) -> None:
    await store.put_override("a", override(allow=False, expires_at_us=NOW_US + MINUTE_US))

    before = await store.take(ask("u", now_us=NOW_US + MINUTE_US - 1))
    after = await store.take(ask("u", now_us=NOW_US + MINUTE_US))

    assert (before.charged, after.charged) == (False, True)
    assert after.standing.override is None


async def test_scores_come_back_whole_in_the_order_asked_for(store: AccountStore) -> None:
    await store.put_scores([*map(spell, [score("a"), score("ü", risk=0.25)])])

    found = await store.scores(["ü", "nobody", "a"])

    assert found == [score("ü", risk=0.25), None, score("a")]


async def test_an_older_stamp_never_replaces_a_newer_and_a_new_epoch_always_does(store: AccountStore) -> None:
    async def put(*scores: Score) -> tuple[int, float | None]:
        stored = await store.put_scores([*map(spell, scores)])
        (found,) = await store.scores(["a"])
        return stored, None if found is None else found.risk

    assert await put(score(risk=0.1, offset=10)) == (1, 0.1)
    assert await put(score(risk=0.2, offset=9)) == (0, 0.1)
    assert await put(score(risk=0.1, offset=10)) == (0, 0.1)
    assert await put(score(risk=0.3, offset=11), score(risk=0.4, offset=12), score(risk=0.5, offset=11)) == (2, 0.4)
    assert await put(score(risk=0.6, offset=1, epoch="f")) == (1, 0.6)


async def test_thousands_of_scores_are_stored_at_once(store: AccountStore) -> None:
    many = [score(f"m{i}", risk=i / 10_000) for i in range(3_000)]

    stored = await store.put_scores([*map(spell, many)])
    again = await store.put_scores([*map(spell, many)])

    assert (stored, again) == (3_000, 0)
    assert await store.scores([s.account for s in many]) == many


async def test_fractions_of_a_second_are_not_lost(store: AccountStore) -> None:
    limit = charge("minute", 50)
    assert await admitted(store, 60, limit) == 50

    due = [await store.take(ask(f"due{i}", limit, now_us=NOW_US + i * 1_200_000)) for i in range(1, 13)]

    assert sum(t.charged for t in due) == 12


async def test_a_clock_that_steps_back_earns_no_second_twice(store: AccountStore) -> None:
    limit = charge("minute", 60)
    assert await admitted(store, 70, limit) == 60

    taken: list[Taken] = []
    for i, step_us in enumerate((1_000_000, 0, 1_000_000, 0, 1_000_000)):
        taken.append(await store.take(ask(f"step{i}", limit, now_us=NOW_US + step_us)))

    assert sum(t.charged for t in taken) == 1


async def keys_of(store: RedisAccountStore, redis_url: str) -> dict[bytes, int]:
    """Each key of the store with its remaining ms; -1 where it would stay for ever."""
    line = Line(redis_url)
    keys = await line.ask(b"KEYS", f"{store._prefix}*", within_s=5.0)
    left = {key: await line.ask(b"PTTL", key, within_s=5.0) for key in keys}
    await line.close()
    return left


async def test_every_key_in_redis_expires_and_a_bucket_not_before_it_is_full(
    redis_store: RedisAccountStore, redis_url: str
) -> None:
    await redis_store.take(ask("u", charge("minute", 1), charge("fast", 100_000, "platform"), now_us=None))
    await redis_store.put_scores([*map(spell, [score()])])
    await redis_store.put_override("a", override(allow=True))
    await redis_store.take(ask("replayed", charge("minute", 1, "ip:2")))

    left = await keys_of(redis_store, redis_url)

    assert len(left) == 7
    assert all(0 < ms <= 90 * 86_400_000 for ms in left.values())
    assert min(ms for key, ms in left.items() if b":b:account" in key) > 59_000
    assert max(ms for key, ms in left.items() if b":b:platform" in key) < 90_000


async def test_a_limit_so_fast_that_its_seconds_round_to_zero_still_refuses(redis_store: RedisAccountStore) -> None:
    fast = one_limit("platform", "fast", Rate(1_000, 1_000_000, 10))

    taken = await asyncio.gather(*(redis_store.take(ask(f"u{i}", fast, now_us=None)) for i in range(30)))

    assert 10 <= sum(t.charged for t in taken) < 30


async def test_scripts_lost_by_the_server_are_loaded_again_and_each_check_charged_once(
    redis_store: RedisAccountStore, redis_url: str
) -> None:
    limit = charge("minute", 50)
    line = Line(redis_url)

    async def flush() -> None:
        for _ in range(20):
            await line.ask(b"SCRIPT", b"FLUSH", within_s=5.0)

    let_in, _ = await asyncio.gather(admitted(redis_store, 100, limit), flush())
    await flush()
    stored = await redis_store.put_scores([*map(spell, [score()])])
    later = await admitted(redis_store, 10, limit, account="b")
    await line.close()

    assert (let_in, stored, later) == (50, 1, 0)
    assert redis_store.stats.noscript >= 2


async def test_callers_who_give_up_open_no_connection(redis_store: RedisAccountStore) -> None:
    async def give_up(i: int) -> None:
        task = asyncio.create_task(redis_store.take(ask(f"u{i}", charge("minute", 5))))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*(give_up(i) for i in range(500)))

    assert (await redis_store.take(ask("last"))).charged
    assert redis_store.stats.reconnects == 0


async def test_keys_of_another_kind_where_ours_should_be_take_nobody_down(
    redis_store: RedisAccountStore, redis_url: str
) -> None:
    line = Line(redis_url)
    for key in ("score:{a}", "override:{a}", "b:account:{a}"):
        await line.ask(b"LPUSH", f"{redis_store._prefix}{key}", b"x", within_s=5.0)
    for key in ("score:{b}", "override:{b}", "b:account:{b}"):
        await line.ask(b"SET", f"{redis_store._prefix}{key}", b"xyz", within_s=5.0)
    await line.close()

    taken = [await redis_store.take(ask("u", charge("m", 1, f"account:{{{a}}}"), account=a)) for a in "ab"]

    assert [t.charged for t in taken] == [True, True]


async def fails(attempt: Callable[[], Awaitable[object]]) -> bool:
    try:
        await attempt()
    except StoreUnavailable:
        return True
    return False


async def test_a_server_killed_and_back_opens_and_closes_the_breaker_by_itself(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        store = RedisAccountStore(server.url, deadline_s=1.0)
        await store.open()
        limit = charge("minute", 10)
        assert await admitted(store, 4, limit) == 4

        server.kill()
        await eventually(lambda: fails(lambda: store.take(ask("x", limit))))
        at_once = await asyncio.gather(*(fails(lambda: store.take(ask("x", limit))) for _ in range(200)))
        down, sent = store.down, store.stats.checks
        assert all(at_once)
        assert await fails(lambda: store.put_scores([*map(spell, [score()])]))
        assert await fails(store.ping)
        assert store.stats.checks == sent

        server.start()
        await eventually(lambda: store.down is None)

        assert down is not None
        assert await store.put_scores([*map(spell, [score("z")])]) == 1
        assert (await store.take(ask("y", limit))).charged
        assert store.stats.reconnects >= 1
        await store.close()


async def test_a_frozen_server_costs_no_check_more_than_its_deadline_and_is_used_again_once_it_thaws(
    tmp_path: Path,
) -> None:
    with running_redis(tmp_path) as server:
        store = RedisAccountStore(server.url, deadline_s=0.1)
        await store.open()
        assert (await store.take(ask("u"))).charged
        assert server.pid is not None

        os.kill(server.pid, signal.SIGSTOP)
        try:
            frozen = await asyncio.gather(*(fails(lambda: store.take(ask("v"))) for _ in range(100)))
            at_once = await fails(lambda: store.take(ask("v")))
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await eventually(lambda: store.down is None)

        assert all(frozen)
        assert at_once
        assert (await store.take(ask("v"))).charged
        await store.close()


async def test_a_server_that_is_not_there_yet_is_found_once_it_is(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        server.kill()
        store = RedisAccountStore(server.url, deadline_s=1.0)

        await store.open()
        missing = await fails(lambda: store.take(ask("u")))
        server.start()
        await eventually(lambda: store.down is None)

        assert missing
        assert (await store.take(ask("u"))).charged
        await store.close()


async def test_a_check_whose_reply_was_lost_is_asked_again_and_spends_once(
    redis_url: str, unique: Callable[[], str]
) -> None:
    lost = 0
    upstream_port = int(redis_url.rsplit(":", 1)[1].split("/")[0])

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes everything on, but swallows the reply to every third script and closes."""
        nonlocal lost
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", upstream_port)
        try:
            while data := await reader.read(65536):
                up_writer.write(data)
                reply = await up_reader.read(65536)
                if b"EVAL" in data:
                    lost += 1
                    if lost % 3 == 0:
                        break
                writer.write(reply)
        finally:
            for each in (writer, up_writer):
                each.close()

    proxy = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    store = RedisAccountStore(f"redis://127.0.0.1:{port}/0", prefix=f"{unique()}:", deadline_s=5.0, lanes=1)
    await store.open()

    taken = [await store.take(ask(f"u{i}", charge("minute", 100))) for i in range(20)]
    left = await admitted(store, 100, charge("minute", 100))

    await store.close()
    proxy.close()
    await proxy.wait_closed()
    assert all(t.charged for t in taken)
    assert sum(t.repeated for t in taken) >= 6
    assert left == 80


async def test_many_asked_at_once_are_answered_in_their_order_and_share_one_bucket(store: AccountStore) -> None:
    five = one_limit("account:{a}", "limit", Rate(1, MINUTE_US, 5))
    asks = [ask(f"u-{number}", five) for number in range(100)]

    answers = await store.take_many(asks)
    again = await store.take_many(asks)

    charged = [isinstance(answer, Taken) and answer.charged for answer in answers]
    assert charged == [True] * 5 + [False] * 95
    assert [isinstance(answer, Taken) and answer.repeated for answer in again] == charged
