"""What only a server can lose: keys, scripts, connections, replies, itself. The account store in Redis bears all of it."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gate.app.check import Check
from gate.core.limits.limit import Rate
from gate.core.limits.reservation import Report, SettledAs, Settlement, UploadOutcome
from gate.core.pseudonym import Pseudonyms
from gate.errors import StoreOverloaded, StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy, load_policy_file, policy_text
from gate.records.score import with_bytes
from gate.serve.clock import SystemClock
from gate.serve.policy_in_force import PolicyInForce
from gate.stores.local_buckets import LocalBuckets
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.connections.line import Line, Stats
from gate.stores.redis.reservations import RedisReservationStore
from gate.stores.redis.take_scripts import ScriptPair
from gate.stores.redis.takes import RedisTakeStore, TakeLane
from tests.servers import running_redis
from tests.take_requests import admitted, one_limit, override, per_minute, score, take_request
from tests.waiting import eventually

MOST_CALLS = 15
"""Callers that queue for a server that hangs make a call each, 30 and more; on a busy machine a few slip through."""


async def keys_of(store: RedisAccountStore, redis_url: str) -> dict[bytes, int]:
    """Each key of the store with its remaining ms; -1 where it would stay for ever."""
    line = Line(redis_url)
    keys = await line.execute(b"KEYS", f"{store.prefix}*", within_s=5.0)
    left = {key: await line.execute(b"PTTL", key, within_s=5.0) for key in keys}
    await line.close()
    return left


async def until_probes_left(store: RedisAccountStore, redis_url: str) -> None:
    """Returns once the keys of the first probes have expired."""

    async def is_empty() -> bool:
        return await keys_of(store, redis_url) == {}

    await eventually(is_empty)


async def test_every_key_in_redis_expires_and_a_bucket_not_before_it_is_full(
    redis_store: RedisAccountStore, redis_url: str
) -> None:
    await until_probes_left(redis_store, redis_url)
    await redis_store.take(
        take_request("u", per_minute("minute", 1), per_minute("fast", 100_000, "platform"), now_us=None)
    )
    await redis_store.put_scores([*map(with_bytes, [score()])])
    await redis_store.put_override("a", override(allow=True))
    await redis_store.take(take_request("replayed", per_minute("minute", 1, "ip:2")))

    left = await keys_of(redis_store, redis_url)

    assert len(left) == 7
    assert all(0 < ms <= 90 * 86_400_000 for ms in left.values())
    assert min(ms for key, ms in left.items() if b"2b:account" in key) > 59_000
    assert max(ms for key, ms in left.items() if b"2b:platform" in key) < 90_000


async def test_after_an_outage_the_limits_behind_the_tags_of_reservations_are_stored_again(redis_url: str) -> None:
    line, check = Line(redis_url), take_request("u", per_minute("minute", 1))
    lane = TakeLane(line, ScriptPair(), "tags-again:", Stats())
    await lane.probe(5.0)
    await lane.call((check,), 5.0)
    lost = await line.delete([b"tags-again:2limits"], 5.0)

    await lane.probe(5.0)
    await lane.call((check,), 5.0)
    found = await line.delete([b"tags-again:2limits"], 5.0)
    await line.close()

    assert (lost, found) == (1, 1)


async def test_a_limit_so_fast_that_its_seconds_round_to_zero_still_refuses(redis_store: RedisAccountStore) -> None:
    fast = one_limit("platform", "fast", Rate(1_000, 1_000_000, 10))

    results = await asyncio.gather(*(redis_store.take(take_request(f"u{i}", fast, now_us=None)) for i in range(30)))

    assert 10 <= sum(t.charged for t in results) < 30


async def test_scripts_lost_by_the_server_are_loaded_again_and_each_check_charged_once(
    redis_store: RedisAccountStore, redis_url: str
) -> None:
    limit = per_minute("minute", 50)
    line = Line(redis_url)

    async def flush() -> None:
        for _ in range(20):
            await line.execute(b"SCRIPT", b"FLUSH", within_s=5.0)

    let_in, _ = await asyncio.gather(admitted(redis_store, 100, limit), flush())
    await flush()
    stored = await redis_store.put_scores([*map(with_bytes, [score()])])
    later = await admitted(redis_store, 10, limit, account="b")
    await line.close()

    assert (let_in, stored, later) == (50, 1, 0)
    assert redis_store.stats.noscript >= 2


async def test_callers_who_give_up_open_no_connection(redis_store: RedisAccountStore) -> None:
    async def give_up(i: int) -> None:
        task = asyncio.create_task(redis_store.take(take_request(f"u{i}", per_minute("minute", 5))))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    await asyncio.gather(*(give_up(i) for i in range(500)))

    assert (await redis_store.take(take_request("last"))).charged
    assert redis_store.stats.reconnects == 0


async def test_keys_of_another_kind_where_ours_should_be_take_nobody_down(
    redis_store: RedisAccountStore, redis_url: str
) -> None:
    line = Line(redis_url)
    for key in ("score:{a}", "override:{a}", "2a:{a}", "2b:account:{a}"):
        await line.execute(b"LPUSH", f"{redis_store.prefix}{key}", b"x", within_s=5.0)
    for key in ("score:{b}", "2a:{b}", "2b:account:{b}"):
        await line.execute(b"SET", f"{redis_store.prefix}{key}", b"xyz", within_s=5.0)
    await line.close()

    results = [
        await redis_store.take(take_request("u", per_minute("m", 1, f"account:{{{a}}}"), account=a)) for a in "ab"
    ]

    assert [t.charged for t in results] == [True, True]


async def fails(attempt: Callable[[], Awaitable[object]]) -> bool:
    try:
        await attempt()
    except (StoreUnavailable, StoreOverloaded):
        return True
    return False


async def test_a_server_killed_and_back_opens_and_closes_the_breaker_by_itself(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        store = RedisAccountStore(server.url, deadline_s=1.0)
        await store.open()
        limit = per_minute("minute", 10)
        assert await admitted(store, 4, limit) == 4

        server.kill()
        await eventually(lambda: fails(lambda: store.take(take_request("x", limit))))
        at_once = await asyncio.gather(*(fails(lambda: store.take(take_request("x", limit))) for _ in range(200)))
        down, sent = store.down, store.stats.checks
        assert all(at_once)
        assert await fails(lambda: store.put_scores([*map(with_bytes, [score()])]))
        assert await fails(store.ping)
        assert store.stats.checks == sent

        server.start()
        await eventually(lambda: store.down is None)

        assert down is not None
        assert await store.put_scores([*map(with_bytes, [score("z")])]) == 1
        assert (await store.take(take_request("y", limit))).charged
        assert store.stats.reconnects >= 1
        await store.close()


async def test_a_frozen_server_costs_no_check_more_than_its_deadline_and_is_used_again_once_it_thaws(
    tmp_path: Path,
) -> None:
    with running_redis(tmp_path) as server:
        store = RedisAccountStore(server.url, deadline_s=0.1)
        await store.open()
        assert (await store.take(take_request("u"))).charged
        assert server.pid is not None

        os.kill(server.pid, signal.SIGSTOP)
        try:
            frozen = await asyncio.gather(*(fails(lambda: store.take(take_request("v"))) for _ in range(100)))
            at_once = await fails(lambda: store.take(take_request("v")))
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await eventually(lambda: store.down is None)

        assert all(frozen)
        assert at_once
        assert (await store.take(take_request("v"))).charged
        await store.close()


async def test_a_server_that_is_not_there_yet_is_found_once_it_is(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        server.kill()
        store = RedisAccountStore(server.url, deadline_s=1.0)

        await store.open()
        missing = await fails(lambda: store.take(take_request("u")))
        server.start()
        await eventually(lambda: store.down is None)

        assert missing
        assert (await store.take(take_request("u"))).charged
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
        reading = asyncio.create_task(reader.read(65536))
        replying = asyncio.create_task(up_reader.read(65536))
        scripts = 0
        try:
            while True:
                await asyncio.wait([reading, replying], return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    data = reading.result()
                    if not data:
                        break
                    scripts += b"EVAL" in data
                    up_writer.write(data)
                    reading = asyncio.create_task(reader.read(65536))
                if replying.done():
                    if scripts:
                        scripts, lost = 0, lost + 1
                        if lost % 3 == 0:
                            break
                    writer.write(replying.result())
                    replying = asyncio.create_task(up_reader.read(65536))
        finally:
            for task in (reading, replying):
                task.cancel()
            for each in (writer, up_writer):
                each.close()

    proxy = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    store = RedisAccountStore(f"redis://127.0.0.1:{port}/0", prefix=f"{unique()}:", deadline_s=5.0, lanes=1)
    await store.open()

    results = [await store.take(take_request(f"u{i}", per_minute("minute", 100))) for i in range(20)]
    left = await admitted(store, 100, per_minute("minute", 100))

    await store.close()
    proxy.close()
    await proxy.wait_closed()
    assert all(t.charged for t in results)
    assert sum(t.repeated for t in results) >= 6
    assert left == 80


async def test_a_server_that_is_full_keeps_the_breaker_open_until_it_takes_writes_again(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        line, store = Line(server.url), RedisAccountStore(server.url, deadline_s=1.0)
        await store.open()
        await line.execute(b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction", within_s=5.0)
        await line.execute(b"CONFIG", b"SET", b"maxmemory", b"1", within_s=5.0)

        refused = await fails(lambda: store.take(take_request("u", per_minute("minute", 5))))
        await eventually(lambda: store.stats.probes >= 4)
        down, sent = store.down, store.stats.checks
        at_once = await fails(lambda: store.take(take_request("v", per_minute("minute", 5))))
        await line.execute(b"CONFIG", b"SET", b"maxmemory", b"0", within_s=5.0)
        await eventually(lambda: store.down is None)

        assert refused
        assert at_once
        assert down is not None
        assert "OOM" in down
        assert sent == 1
        assert await admitted(store, 10, per_minute("minute", 5)) == 5
        await line.close()
        await store.close()


async def test_a_server_that_became_a_replica_keeps_the_breaker_open_until_it_is_a_master_again(tmp_path: Path) -> None:
    (tmp_path / "master").mkdir()
    (tmp_path / "replica").mkdir()
    with running_redis(tmp_path / "master") as master, running_redis(tmp_path / "replica") as replica:
        line, store = Line(replica.url), RedisAccountStore(replica.url, deadline_s=1.0)
        await store.open()
        await line.execute(b"REPLICAOF", b"127.0.0.1", master.port, within_s=5.0)

        refused = await fails(lambda: store.take(take_request("u", per_minute("minute", 5))))
        await eventually(lambda: store.stats.probes >= 4)
        down, sent = store.down, store.stats.checks
        await line.execute(b"REPLICAOF", b"NO", b"ONE", within_s=5.0)
        await eventually(lambda: store.down is None)

        assert refused
        assert down is not None
        assert "read only replica" in down
        assert sent == 1
        assert await admitted(store, 10, per_minute("minute", 5)) == 5
        await line.close()
        await store.close()


async def test_more_checks_than_may_wait_are_shed_as_overload_and_the_breaker_stays_closed(
    redis_url: str, unique: Callable[[], str]
) -> None:
    store = RedisAccountStore(redis_url, prefix=f"{unique()}:", deadline_s=5.0, lanes=1, max_batch=4, max_queue=8)
    await store.open()

    results = await store.take_many([take_request(f"u{i}", per_minute("minute", 10)) for i in range(100)])

    shed = [isinstance(result, StoreOverloaded) for result in results]
    assert shed == [False] * 8 + [True] * 92
    assert (store.stats.shed, store.down) == (92, None)
    assert await admitted(store, 8, per_minute("minute", 10)) == 2
    await store.close()


async def test_a_probe_leaves_no_key_behind(redis_store: RedisAccountStore, redis_url: str) -> None:
    await until_probes_left(redis_store, redis_url)

    assert redis_store.stats.probes == 2
    assert redis_store.down is None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[bytes]]:
    """The calls that go over any line, as they are sent."""
    made: list[Sequence[bytes]] = []
    plain = Line.call

    async def counted(line: Line, packed: Sequence[bytes], until_s: float) -> list[Any]:
        made.append(packed)
        return await plain(line, packed, until_s)

    monkeypatch.setattr(Line, "call", counted)
    return made


async def test_reports_to_a_server_that_hangs_all_fail_within_one_deadline_and_do_not_queue(
    tmp_path: Path, calls: list[Sequence[bytes]]
) -> None:
    with running_redis(tmp_path) as server:
        store = RedisReservationStore(server.url, deadline_s=0.1)
        await store.settle([Report("a", "u", UploadOutcome.FAILED)])
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        calls.clear()

        reports = [Report("a", f"u-{n}", UploadOutcome.FAILED) for n in range(200)]
        answers = await asyncio.gather(store.settle(reports), *(store.settle([each]) for each in reports[:30]))

        os.kill(server.pid, signal.SIGCONT)
        after = await store.settle(reports[:1])
        await store.close()
    assert [len(each) for each in answers] == [200, *[1] * 30]
    assert all(isinstance(each, StoreUnavailable) for some in answers for each in some)
    assert len(calls) <= MOST_CALLS
    assert after == [Settlement(SettledAs.UNKNOWN, None)]


async def test_peeks_at_a_server_that_hangs_do_not_queue(tmp_path: Path, calls: list[Sequence[bytes]]) -> None:
    with running_redis(tmp_path) as server:
        store = RedisAccountStore(server.url, deadline_s=0.1)
        await store.open()
        await store.peek(take_request("u"))
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        calls.clear()

        answers = await asyncio.gather(*(store.peek(take_request("u")) for _ in range(30)), return_exceptions=True)

        os.kill(server.pid, signal.SIGCONT)
        await store.close()
    assert all(isinstance(each, StoreUnavailable) for each in answers)
    assert len(calls) <= MOST_CALLS


async def test_the_deadline_of_a_reloaded_policy_bounds_takes_from_then_on(tmp_path: Path) -> None:
    file, said = tmp_path / "policy.toml", list[str]()
    text = policy_text(None)[0]
    file.write_text(text)
    with running_redis(tmp_path) as server:
        store = RedisTakeStore(server.url, deadline_s=30.0)
        await store.open()
        check = Check(
            load_policy(file), store, SystemClock(), Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets
        )
        in_force = PolicyInForce(
            file,
            load_policy_file(file),
            check,
            said.append,
            lambda policy: store.answer_within(policy.deadline_us / 1e6),
        )
        assert (await store.take(take_request("u"))).charged
        file.write_text(re.sub('deadline = "[0-9]+ms"', 'deadline = "60ms"', text))

        await in_force.read()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(10.0):
                answer = await asyncio.gather(store.take(take_request("v")), return_exceptions=True)
        finally:
            os.kill(server.pid, signal.SIGCONT)
            await store.close()

    assert "is in force" in said[-1]
    assert isinstance(answer[0], StoreUnavailable)
