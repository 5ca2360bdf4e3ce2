"""Checks on a Cluster and on a master with Sentinels, of real servers: while a node dies, a slot moves, a replica takes over."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate
from gate.core.limits.reservation import Report, Settlement, UploadOutcome
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StoreUnavailable
from gate.ports.reservations import ReservationStore
from gate.records.score import with_bytes
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.cluster_reservations import reservation_store
from gate.stores.redis.connections.address import read_endpoints
from gate.stores.redis.connections.cluster import ClusterLine
from gate.stores.redis.connections.cluster_map import slot_of
from gate.stores.redis.connections.script_call import Run, Script
from gate.stores.redis.delete_keys import drop
from gate.stores.redis.hot_facts import RedisHotFacts
from gate.stores.redis.layout import account_key
from gate.stores.redis.overrides import RedisOverrideStore
from gate.stores.redis.reservations import MOST_AT_ONCE
from gate.stores.redis.scores import RedisScoreStore
from tests.redis_nodes import Cluster, Watched, running_cluster, running_sentinels, say
from tests.take_requests import MINUTE_US, NOW_US, override, score
from tests.waiting import eventually

pytestmark = pytest.mark.slow

DEADLINE_S = 0.25
LATE_S = 4 * DEADLINE_S
"""Far beyond the deadline, as the test's own loop may be kept waiting."""
BURST = 5
HOUR_US = 60 * MINUTE_US


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with running_sentinels(tmp_path_factory.mktemp("sentinels")) as running:
        yield running


@asynccontextmanager
async def store_at(url: str, prefix: str, deadline_s: float = DEADLINE_S) -> AsyncIterator[RedisAccountStore]:
    store = RedisAccountStore(url, prefix=f"{prefix}:", deadline_s=deadline_s)
    await store.open()
    await eventually(lambda: store.down is None)
    try:
        yield store
    finally:
        await store.close()


def an_hour(name: str, burst: int) -> EntityLimits:
    """A limit that gets nothing back while a test runs."""
    return EntityLimits((Limit(name, Rate(1, HOUR_US, burst)),))


OF_ACCOUNTS = ClassLimits(an_hour("account", BURST), None, None, (), None, 0, HOUR_US, name="new")


def check(account: str, upload: str, of: ClassLimits = OF_ACCOUNTS, ip: str | None = None) -> TakeRequest:
    return TakeRequest(account, upload, of, ip, class_=of.name, attempt=hash(upload) % 2**31 + 1)


class Load:
    """Checks new uploads of many accounts until each has one upload more than its burst. Each is checked until it is answered."""

    def __init__(self, store: RedisAccountStore, accounts: list[str], name: str = "u") -> None:
        self.store = store
        self.let_in: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.longest_s = 0.0
        self.unanswered = 0
        self._waiting = [check(account, f"{name}{n}") for n in range(BURST + 1) for account in accounts]

    async def run(self, meanwhile: Callable[[int], None] = lambda at: None) -> None:
        """`meanwhile` is called after each round with the number of checks that are answered."""
        clock = asyncio.get_running_loop().time
        answered = 0
        while self._waiting:
            some = self._waiting[:20]
            began_s = clock()
            results = await self.store.take_many(some)
            self.longest_s = max(self.longest_s, clock() - began_s)
            for each, result in zip(some, results, strict=True):
                if isinstance(result, TakeResult):
                    self._waiting.remove(each)
                    (self.let_in if result.charged else self.refused)[each.account] += 1
                    answered += 1
                else:
                    assert isinstance(result, StoreUnavailable), result
                    self.unanswered += 1
            failed = [each for each in some if each in self._waiting]
            self._waiting = [*self._waiting[len(failed) :], *failed]
            await asyncio.to_thread(meanwhile, answered)


def accounts_on(cluster: Cluster, count: int) -> list[tuple[str, int]]:
    """Accounts, each with the number of its master."""
    return [(f"a{n}", slot_of(account_key("", f"a{n}")) * 3 // 16384) for n in range(count)]


async def test_while_a_master_fails_over_the_others_answer_exactly_and_none_answers_late(
    cluster: Cluster, unique: Callable[[], str]
) -> None:
    placed = accounts_on(cluster, 30)
    killed = False

    def kill(answered: int) -> None:
        nonlocal killed
        if answered >= 60 and not killed:
            killed = True
            cluster.nodes[0].kill()

    async with store_at(cluster.url, unique()) as store:
        load = Load(store, [account for account, _ in placed])
        await load.run(kill)
    cluster.nodes[0].start()
    await asyncio.to_thread(cluster.settle)

    assert killed
    assert load.unanswered > 0
    assert load.longest_s < LATE_S
    for account, node in placed:
        assert load.let_in[account] + load.refused[account] == BURST + 1
        if node != 0:
            assert load.let_in[account] == BURST, account
    # a failover may lose the last moment's takes; those who were let in by them are let in again, at most
    assert all(load.let_in[account] <= BURST + 1 for account, _ in placed)


async def test_while_a_slot_moves_key_by_key_its_checks_stay_exact(cluster: Cluster, unique: Callable[[], str]) -> None:
    prefix = unique()
    account = "moving"
    slot = slot_of(account_key("", account))
    masters = [node for node in cluster.nodes if node not in cluster.replicas]
    source = cluster.master_of(slot)
    target = next(node for node in masters if node is not source)
    loop = asyncio.get_running_loop()
    let_in, failed = [], []

    async with store_at(cluster.url, prefix) as store:
        await store.put_scores([*map(with_bytes, [score(account, risk=0.1)])])
        await store.put_override("another", override(allow=True))

        async def one_more() -> None:
            (result,) = await store.take_many([check(account, f"u{len(let_in)}")])
            (let_in if isinstance(result, TakeResult) else failed).append(result)

        await one_more()
        await asyncio.to_thread(
            cluster.move_slot, slot, source, target,
            lambda: asyncio.run_coroutine_threadsafe(one_more(), loop).result(),
        )  # fmt: skip
        while len(let_in) <= BURST:
            await one_more()
            await asyncio.sleep(0.01 if failed else 0)  # the pace of a caller who tries again

    assert say(target.port, "CLUSTER", "COUNTKEYSINSLOT", slot) >= 2
    assert all(isinstance(each, StoreUnavailable) for each in failed)
    assert sum(each.charged for each in let_in) == BURST
    assert not let_in[-1].charged


async def test_what_other_slots_refuse_is_given_back_and_moves_no_token(
    cluster: Cluster, unique: Callable[[], str]
) -> None:
    of = ClassLimits(
        an_hour("account", 100), an_hour("network", 3), None, (EntityBuckets("platform", an_hour("platform", 50)),),
        None, 0, HOUR_US, name="new",
    )  # fmt: skip
    async with store_at(cluster.url, unique(), deadline_s=5.0) as store:
        results = await store.take_many([check(f"a{n}", "u", of, ip="1f") for n in range(40)])
        peeks = [await store.peek(check(f"a{n}", "v", of, ip="1f")) for n in range(40)]

    answers = [each for each in results if isinstance(each, TakeResult)]
    assert len(answers) == 40, [each for each in results if not isinstance(each, TakeResult)][:2]
    assert sum(each.charged for each in answers) == 3
    assert {each.refusal.limit for each in answers if each.refusal is not None} == {"network"}
    left = Counter(
        (room.limit.name, room.left(peek.result.now_us)) for peek in peeks for room in peek.rooms
    )  # fmt: skip
    assert left == {("account", 99): 3, ("account", 100): 37, ("network", 0): 40, ("platform", 47): 40}


async def test_a_node_that_was_left_no_time_does_not_count_as_away(cluster: Cluster, unique: Callable[[], str]) -> None:
    endpoints = read_endpoints(cluster.url)
    assert endpoints is not None
    line, clock = ClusterLine(endpoints, patient=False), asyncio.get_running_loop().time
    run = Run(Script(b"return 1"), [unique()], ())
    (first,) = await line.outcomes([run], clock() + 5.0, again=True)

    (late,) = await line.outcomes([run], clock() - 1.0, again=True)
    (after,) = await line.outcomes([run], clock() + 5.0, again=True)
    await line.close()

    assert isinstance(late, StoreUnavailable)
    assert not late.may_have_run
    assert (first, after) == (1, 1)


async def test_the_board_survives_the_failover_of_its_node(cluster: Cluster, unique: Callable[[], str]) -> None:
    store = RedisBoardStore(cluster.url, f"{unique()}:", deadline_s=2.0)
    written = await store.replace(0, board(1))
    durable = await store.durable()
    replica = cluster.replica_of(slot_of(store._board_key))

    await asyncio.to_thread(say, replica.port, "CLUSTER", "FAILOVER")
    await eventually(lambda: replica not in cluster.replicas)

    assert (written, durable) == (True, True)
    assert await store.read() == board(1)
    assert await store.replace(1, board(2))
    await store.close()
    await asyncio.to_thread(cluster.settle)


async def test_scores_marks_overrides_and_hot_facts_reach_every_slot(
    cluster_url: str, unique: Callable[[], str]
) -> None:
    prefix = f"{unique()}:"
    scores, overrides, hot = (
        kind(cluster_url, prefix) for kind in (RedisScoreStore, RedisOverrideStore, RedisHotFacts)
    )
    accounts = [f"a{n}" for n in range(3_000)]
    heard: list[bytes | None] = []

    stored = await scores.put_scores([with_bytes(score(account)) for account in accounts])
    older = await scores.put_scores([with_bytes(score(account, offset=0)) for account in accounts[:100]])
    marks = [await scores.mark_filled({"0": ("", "x"), "1": ("y", "z")}) for _ in range(2)]
    claims = [await scores.claim("filled-by", expected, "ours") for expected in ("", "theirs", "ours")]
    for account in accounts[:50]:
        await overrides.put_override(account, override(allow=True))
    await hot.send([(b"k%d" % n, b"v") for n in range(10)])
    await hot.read(lambda key, value: heard.append(key))

    assert (stored, older) == (3_000, 0)
    assert [each.account for each in await scores.scores(accounts) if each is not None] == accounts
    assert set(await scores.some_accounts(10_000)) == set(accounts)
    assert marks == [{"0": "", "1": ""}, {"0": "x", "1": ""}]
    assert claims == ["", "ours", "ours"]
    assert set(await overrides.all_overrides(1_000)) == set(accounts[:50])
    assert await scores.forget_scores(accounts, NOW_US + 1) == 3_000
    assert heard == [b"k%d" % n for n in range(10)]
    assert await drop(cluster_url, prefix) > 50
    for store in (scores, overrides, hot):
        await store.close()


def board(rev: int) -> Board:
    pause = Pause(f"p-{rev}", rev, Scope(), Action.STOP, "raid", "", "ada", None, NOW_US + HOUR_US, set_at_us=NOW_US)
    return Board({pause.id: pause})


async def on_the_master(store: RedisAccountStore, watched: Watched) -> None:
    """Wait until takes go to the server that is the master now: the old one is left a second later, at most."""

    async def arrives() -> bool:
        account = f"there-{time.monotonic_ns()}"
        await store.take_many([check(account, "u")])
        return bool(say(watched.now().port, "EXISTS", account_key(store.prefix, account)))

    await eventually(arrives)


async def test_a_failover_that_an_operator_orders_loses_no_token(watched: Watched, unique: Callable[[], str]) -> None:
    accounts = [f"a{n}" for n in range(20)]
    before = watched.now()

    async with store_at(watched.url, unique()) as store:
        first, second = Load(store, accounts), Load(store, accounts, "later")
        await first.run()
        await asyncio.to_thread(say, watched.sentinels[0].port, "SENTINEL", "FAILOVER", "uploads")
        await eventually(lambda: watched.now() is not before)
        await on_the_master(store, watched)
        await second.run()

    assert set(first.let_in.values()) == {BURST}
    assert not second.let_in
    assert set(second.refused.values()) == {BURST + 1}
    assert max(first.longest_s, second.longest_s) < LATE_S


async def test_takes_follow_the_master_that_sentinels_name_when_one_dies(
    watched: Watched, unique: Callable[[], str]
) -> None:
    accounts = [f"a{n}" for n in range(20)]
    killed = False

    def kill(answered: int) -> None:
        nonlocal killed
        if answered >= 40 and not killed:
            killed = True
            watched.now().kill()

    async with store_at(watched.url, unique()) as store:
        await on_the_master(store, watched)
        load = Load(store, accounts)
        await load.run(kill)

    assert killed
    assert load.unanswered > 0
    assert load.longest_s < LATE_S
    # a failover may lose the last moment's takes; those who were let in by them are let in again, at most
    assert all(BURST <= load.let_in[account] <= BURST + 1 for account in accounts)
    assert sum(load.let_in.values()) + sum(load.refused.values()) == len(accounts) * (BURST + 1)


@pytest.fixture
def without_replicas(tmp_path: Path) -> Iterator[Cluster]:
    """A Cluster none of whose masters is replaced."""
    with running_cluster(tmp_path) as running:
        for replica in running.replicas:
            replica.kill()
        yield running


@asynccontextmanager
async def settling(url: str, prefix: str, of: ClassLimits) -> AsyncIterator[ReservationStore]:
    """A reservation store that gives a busy machine time."""
    settler = reservation_store(url, f"{prefix}:", 6.0)
    settler.expect((of,))
    try:
        yield settler
    finally:
        await settler.close()


async def test_uploads_on_the_nodes_that_answer_are_settled_while_another_is_frozen(without_replicas: Cluster) -> None:
    cluster, accounts = without_replicas, accounts_on(without_replicas, 60)
    of = OF_ACCOUNTS
    reports = [Report(account, "u", UploadOutcome.FAILED) for account, _ in accounts]
    async with store_at(cluster.url, "frozen", deadline_s=5.0) as store, settling(cluster.url, "frozen", of) as settler:
        store.expect((of,))
        assert all(
            isinstance(each, TakeResult) for each in await store.take_many([check(a, "u", of) for a, _ in accounts])
        )
        frozen = cluster.nodes[0]
        assert frozen.pid is not None
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            settled = await settler.settle(reports)
            alone = await asyncio.gather(*(settler.settle([report]) for report in reports))
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        thawed = [each for each, (_, node) in zip(reports, accounts, strict=True) if node == 0]
        await eventually(lambda: all_settled(settler, thawed))

    for found in (settled, [each for (each,) in alone]):
        by_node = {(node, isinstance(each, Settlement)) for (_, node), each in zip(accounts, found, strict=True)}
        assert by_node == {(0, False), (1, True), (2, True)}


async def test_what_an_upload_got_from_a_lease_is_told_where_a_part_of_it_could_not_be_settled(
    without_replicas: Cluster,
) -> None:
    cluster = without_replicas
    account = next(name for name, node in accounts_on(cluster, 60) if node == 1)
    networks = (f"{n:016x}" for n in range(60))
    network = next(each for each in networks if slot_of(account_key("", f"ip:{each}")) * 3 // 16384 == 0)
    platform = EntityBuckets("platform", an_hour("platform", 1_000))
    of = replace(OF_ACCOUNTS, ip=an_hour("network", BURST), leased=(platform,))
    async with store_at(cluster.url, "untold", deadline_s=5.0) as store, settling(cluster.url, "untold", of) as settler:
        store.expect((of,))
        taken = await store.take(check(account, "u", of, network))
        frozen = cluster.nodes[0]
        assert frozen.pid is not None
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            (failed,) = await settler.settle([Report(account, "u", UploadOutcome.FAILED)])
            told = await settler.unheard(0.0)
            again = await settler.unheard(0.0)
        finally:
            os.kill(frozen.pid, signal.SIGCONT)

    assert taken.charged
    assert isinstance(failed, StoreUnavailable)
    assert [[change.entity for change in each.leased] for each in told] == [["platform"]]
    assert again == []


async def test_settlements_without_a_reply_are_returned_while_the_node_of_others_is_frozen(
    without_replicas: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = without_replicas
    accounts = sorted(accounts_on(cluster, 4 * MOST_AT_ONCE), key=lambda each: each[1])
    of = replace(OF_ACCOUNTS, leased=(EntityBuckets("platform", an_hour("platform", 1_000)),))
    plain = ClusterLine.outcomes

    async def without_replies(line: ClusterLine, runs: Any, until_s: float, *, again: bool) -> list[Any]:
        return [StoreUnavailable("the reply was lost") for _ in await plain(line, runs, until_s, again=again)]

    async with (
        store_at(cluster.url, "unheard", deadline_s=5.0) as store,
        settling(cluster.url, "unheard", of) as settler,
    ):
        store.expect((of,))
        taken = await store.take_many([check(account, "u", of) for account, _ in accounts])
        assert all(isinstance(each, TakeResult) for each in taken)
        with monkeypatch.context() as patched:
            patched.setattr(ClusterLine, "outcomes", without_replies)
            for at in range(0, len(accounts), MOST_AT_ONCE):
                some = accounts[at : at + MOST_AT_ONCE]
                await settler.settle([Report(account, "u", UploadOutcome.FAILED) for account, _ in some])
        frozen = cluster.nodes[0]
        assert frozen.pid is not None
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            told = await settler.unheard(0.0)
            assert sum(node == 0 for _, node in accounts) > MOST_AT_ONCE
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        late: list[Settlement] = []

        async def all_are_told() -> bool:
            with suppress(StoreUnavailable):
                late.extend(await settler.unheard(0.0))
            return len(told) + len(late) >= len(accounts)

        await eventually(all_are_told)

    assert len(told) == sum(node != 0 for _, node in accounts)
    assert len(told) + len(late) == len(accounts)


async def all_settled(settler: ReservationStore, reports: list[Report]) -> bool:
    return all(isinstance(each, Settlement) for each in await settler.settle(reports))
