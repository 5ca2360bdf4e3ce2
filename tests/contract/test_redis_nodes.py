"""Checks on a Cluster and on a master with Sentinels, of real servers: while a node dies, a slot moves, a replica takes over."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from redis_nodes import Cluster, Watched, running_cluster, running_sentinels, say
from take_requests import MINUTE_US, override, per_minute, score
from waiting import eventually

from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.core.pause.board import Board
from gate.errors import StoreUnavailable
from gate.records.score import with_bytes
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.cluster_map import slot_of
from gate.stores.redis.layout import account_key

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
async def store_at(url: str, prefix: str) -> AsyncIterator[RedisAccountStore]:
    store = RedisAccountStore(url, prefix=f"{prefix}:", deadline_s=DEADLINE_S)
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

    def __init__(self, store: RedisAccountStore, accounts: list[str], uploads: int = BURST + 1) -> None:
        self.store = store
        self.let_in: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.longest_s = 0.0
        self.unanswered = 0
        self._waiting = [check(account, f"{account}-{n}") for n in range(uploads) for account in accounts]

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
            self._waiting.sort(key=lambda each: each in some and each in self._waiting)  # those that failed come last
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
    source = next(node for node in masters if say(node.port, "CLUSTER", "COUNTKEYSINSLOT", slot) or holds(node.port, slot))
    target = next(node for node in masters if node is not source)
    loop = asyncio.get_running_loop()
    let_in, failed = [], []

    async with store_at(cluster.url, prefix) as store:
        await store.put_scores([*map(with_bytes, [score(account, risk=0.1)])])
        await store.put_override("another", override(allow=True))

        async def one_more() -> None:
            (result,) = await store.take_many([check(account, f"u{len(let_in) + len(failed)}")])
            (let_in if isinstance(result, TakeResult) else failed).append(result)

        await one_more()
        await asyncio.to_thread(
            cluster.move_slot, slot, source, target,
            lambda: asyncio.run_coroutine_threadsafe(one_more(), loop).result(),
        )  # fmt: skip
        for _ in range(BURST + 1):
            await one_more()

    assert say(target.port, "CLUSTER", "COUNTKEYSINSLOT", slot) >= 2
    assert all(isinstance(each, StoreUnavailable) for each in failed)
    assert sum(each.charged for each in let_in) == BURST
    assert not let_in[-1].charged


def holds(port: int, slot: int) -> bool:
    """Whether the node serves the slot."""
    for start, end, (_, at, *_), *_ in say(port, "CLUSTER", "SLOTS"):
        if start <= slot <= end:
            return bool(at == port)
    return False


async def test_what_other_slots_refuse_is_given_back_and_moves_no_token(cluster: Cluster, unique: Callable[[], str]) -> None:
    of = ClassLimits(
        an_hour("account", 100), an_hour("network", 3), None, (EntityBuckets("platform", an_hour("platform", 50)),),
        None, 0, HOUR_US, name="new",
    )  # fmt: skip
    async with store_at(cluster.url, unique()) as store:
        results = await store.take_many([check(f"a{n}", "u", of, ip="1f") for n in range(40)])
        peeks = [await store.peek(check(f"a{n}", "v", of, ip="1f")) for n in range(40)]

    answers = [each for each in results if isinstance(each, TakeResult)]
    assert len(answers) == 40
    assert sum(each.charged for each in answers) == 3
    assert {each.refusal.limit for each in answers if each.refusal is not None} == {"network"}
    left = Counter(
        (room.limit.name, room.left(peek.result.now_us)) for peek in peeks for room in peek.rooms
    )  # fmt: skip
    assert left == {("account", 99): 3, ("account", 100): 37, ("network", 0): 40, ("platform", 47): 40}


async def test_the_board_survives_the_failover_of_its_node(cluster: Cluster, unique: Callable[[], str]) -> None:
    store = RedisBoardStore(cluster.url, f"{unique()}:", deadline_s=2.0)
    written = await store.replace(0, Board(rev=1))
    replica = next(
        node for node in cluster.replicas
        if say(node.port, "INFO", "replication") and serves_board(cluster, node.port, store)
    )  # fmt: skip
    durable = await store.durable()

    await asyncio.to_thread(say, replica.port, "CLUSTER", "FAILOVER")
    await eventually(lambda: replica not in cluster.replicas)

    assert (written, durable) == (True, True)
    assert (await store.read()).rev == 1
    assert await store.replace(1, Board(rev=2))
    await store.close()
    await asyncio.to_thread(cluster.settle)


def serves_board(cluster: Cluster, port: int, store: RedisBoardStore) -> bool:
    """Whether the node on that port is the replica of the master that has the board."""
    slot = slot_of(store._board_key)
    for start, end, _, *replicas in say(cluster.nodes[1].port, "CLUSTER", "SLOTS"):
        if start <= slot <= end:
            return any(at == port for _, at, *_ in replicas)
    return False


@pytest.mark.parametrize("planned", [True, False])
async def test_takes_follow_the_master_that_sentinels_name(
    watched: Watched, unique: Callable[[], str], planned: bool
) -> None:
    """First a failover that an operator orders, which loses nothing, then the death of the new master."""
    accounts = [f"a{n}" for n in range(20)]
    failed_over = False

    def fail_over(answered: int) -> None:
        nonlocal failed_over
        if answered >= 40 and not failed_over:
            failed_over = True
            if planned:
                say(watched.sentinels[0].port, "SENTINEL", "FAILOVER", "uploads")
            else:
                watched.now().kill()

    async with store_at(watched.url, unique()) as store:
        load = Load(store, accounts)
        await load.run(fail_over)

    assert failed_over
    assert load.longest_s < LATE_S
    assert sum(load.let_in.values()) + sum(load.refused.values()) == len(accounts) * (BURST + 1)
    assert sum(load.let_in.values()) >= len(accounts) * BURST
    assert all(load.let_in[account] <= BURST + 1 for account in accounts)
