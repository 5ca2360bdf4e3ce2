"""What each program may do in Redis under the users of the deployment: its own work, and no pause by a gate or a worker."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from gate.app.keep_board import KeepBoard
from gate.cli.addresses import resolve_addresses
from gate.cli.board_access import not_written
from gate.core.limits.limit import EntityBuckets, EntityLimits, Limit, Rate
from gate.core.limits.reservation import Report, Settlement, UploadOutcome
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import AccessRefused, StoreUnavailable
from gate.ports.boards import Acknowledgement
from gate.records.score import with_bytes
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.connections.line import Line
from gate.stores.redis.hot_facts import RedisHotFacts
from gate.stores.redis.scores import RedisScoreStore
from tests.redis_nodes import say
from tests.servers import running_redis
from tests.take_requests import DAY_US, MINUTE_US, NOW_US, override, score
from tests.waiting import eventually

USERS = Path(__file__).parents[2] / "deploy" / "redis" / "users.acl"
AsUser = Callable[[str], str]

LIMITS = EntityLimits((Limit("count", Rate(3, MINUTE_US, 3)), Limit("open", Rate(0, 1, 9), in_flight=True)))
OF = ClassLimits(LIMITS, LIMITS, None, (EntityBuckets("platform", LIMITS),), 0.9, DAY_US, MINUTE_US, True, "new")


@pytest.fixture(params=["redis", pytest.param("cluster", marks=pytest.mark.slow)])
def as_user(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AsUser]:
    """The URL of a server with the users of the deployment, as one of them reaches it."""
    if request.param == "cluster":
        url: str = request.getfixturevalue("cluster_url")
        hosts = url.partition("://")[2]
        add_users(*(int(host.partition(":")[2]) for host in hosts.split(",")))
        yield lambda name: f"redis+cluster://{name}:{name.upper()}_PASSWORD@{hosts}"
        return
    with running_redis(tmp_path) as server:
        add_users(server.port)
        yield lambda name: f"redis://{name}:{name.upper()}_PASSWORD@127.0.0.1:{server.port}/0"


def add_users(*ports: int) -> None:
    for line in USERS.read_text().splitlines():
        _, name, *rules = line.split()
        for port in ports:
            say(port, "ACL", "SETUSER", name, "reset", *rules)


def board(rev: int) -> Board:
    pause = Pause(f"p-{rev}", rev, Scope(), Action.STOP, "raid", "", "ada", None, NOW_US + DAY_US, set_at_us=NOW_US)
    return Board({pause.id: pause})


def check(upload: str) -> TakeRequest:
    return TakeRequest("a", upload, OF, "1f", class_="new", attempt=1)


async def test_a_gates_user_decides_settles_listens_and_acknowledges(as_user: AsUser) -> None:
    store = RedisAccountStore(as_user("gate"), deadline_s=5.0)
    boards, oncall = (RedisBoardStore(as_user(name), deadline_s=5.0) for name in ("gate", "oncall"))
    hot = RedisHotFacts(as_user("gate"))
    await store.open()
    store.expect([OF])
    before = await boards.read()

    let_in = [(await store.take(check(f"u{n}"))).charged for n in range(4)]
    settled = await store.settle([Report("a", f"u{n}", UploadOutcome.FAILED) for n in range(2)])
    peeked = await store.peek(check("v"))
    await store.due(10)
    async with aclosing(boards.changes()) as changes:
        listening = asyncio.ensure_future(anext(changes))
        await boards.acknowledge(Acknowledgement("gate", "http://gate", 0, 0))

        async def heard() -> bool:
            await oncall.replace((await oncall.read()).rev, board((await oncall.read()).rev + 1))
            return listening.done()

        await eventually(heard)
    gates = await boards.gates(MINUTE_US)
    await hot.read(lambda key, value: None)

    assert let_in == [True, True, True, False]
    assert all(isinstance(each, Settlement) for each in settled)
    assert {room.left(peeked.result.now_us) for room in peeked.rooms if room.limit.name == "count"} == {2}
    assert (await boards.read()).rev > before.rev
    assert [each.gate for each in gates.acknowledgements] == ["gate"]
    assert await boards.now_us() > 0
    for each in (store, boards, oncall, hot):
        await each.close()


@pytest.mark.parametrize("name", ["gate", "worker"])
async def test_neither_a_gate_nor_a_worker_may_write_a_pause_or_push_one(as_user: AsUser, name: str) -> None:
    boards, oncall = (RedisBoardStore(as_user(user), deadline_s=5.0) for user in (name, "oncall"))
    before = await oncall.read()

    with pytest.raises(StoreUnavailable, match=r"(?i)no.?perm|permission"):
        await boards.replace(before.rev, board(before.rev + 1))
    line = Line(as_user(name)) if not boards._line.is_clustered else await boards._line.line_at(boards._board_key, 5.0)
    for command in (
        ("HSET", boards._board_key, "rev", "9"),
        ("DEL", boards._board_key),
        ("SET", boards._board_key, "x"),
        ("PUBLISH", boards._channel, "{}"),
        ("EVAL", "return redis.call('DEL', KEYS[1])", "1", boards._board_key),
        ("EVAL", f"return redis.call('DEL', '{boards._board_key}')", "0"),
        ("FLUSHALL",),
        ("ACL", "LIST"),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
    ):
        with pytest.raises(StoreUnavailable, match=r"(?i)no.?perm|permission|denied|can't access|cannot access"):
            await line.execute(*command, within_s=5.0)

    with pytest.raises(AccessRefused) as caught:
        await boards.replace(before.rev, board(before.rev + 1))
    told = str(not_written(caught.value, resolve_addresses(None, environ={}), "Repeat it with --direct kafka"))

    assert "staff have the user `oncall`. Look with `upload-gate status` whether the change was written." in told
    assert told.endswith("Repeat it with --direct kafka")
    assert await oncall.read() == before
    for each in (boards, oncall, line):
        await each.close()


async def test_the_keepers_user_writes_back_what_a_failover_lost_and_repairs_what_cannot_be_read(
    as_user: AsUser,
) -> None:
    keeper, oncall = (RedisBoardStore(as_user(user), deadline_s=5.0) for user in ("keeper", "oncall"))
    said: list[str] = []
    keeping = KeepBoard(keeper, None, said.append)
    before = (await oncall.read()).rev
    await oncall.replace(before, board(before + 1))
    await keeping.step()
    key = oncall._board_key

    await oncall._command(b"DEL", key, at=key)
    lost = await oncall.read()
    await keeping.step()
    back = await oncall.read()
    await oncall._command(b"HSET", key, b"document", b"garbage", at=key)
    await keeping.step()

    assert lost.rev == 0
    assert back == await oncall.read()
    assert f"p-{before + 1}" in back.pauses
    assert said[0].startswith("Redis had lost pauses")
    assert "could not be read" in said[1]
    for each in (keeper, oncall):
        await each.close()


async def test_a_workers_user_writes_scores_marks_and_hot_facts(as_user: AsUser) -> None:
    scores, hot = RedisScoreStore(as_user("worker")), RedisHotFacts(as_user("worker"))

    stored = await scores.put_scores([with_bytes(score(f"w{n}")) for n in range(200)])
    await scores.mark_filled({"0": ("", "x")})
    claims = [await scores.claim("filled-by", "", "ours") for _ in range(2)]
    await hot.send([(b"k", b"v")])
    await scores.ping()

    assert (stored, claims) == (200, ["", "ours"])
    assert await scores.forget_scores([f"w{n}" for n in range(200)], NOW_US + 1) == 200
    await scores.close()
    await hot.close()


async def test_the_users_of_on_call_staff_set_overrides_and_read_scores(as_user: AsUser) -> None:
    store, scores = RedisAccountStore(as_user("oncall")), RedisScoreStore(as_user("oncall"))

    await store.put_override("a", override(allow=False))
    listed = await store.all_overrides(10)
    removed = await store.remove_override("a")

    assert (list(listed), removed) == (["a"], override(allow=False))
    assert await scores.scores(["a"]) == [None]
    assert await scores.some_accounts(5) == []
    await store.close()
    await scores.close()
