"""What every BoardStore promises, over the one in memory and the one in Redis; then what only a server can lose."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from gate.app.operate import Operate
from gate.core.pause.board import Board, merge
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StateUnreadable, StoreUnavailable
from gate.ports.boards import LIVE_WITHIN_US, Acknowledgement, BoardStore
from gate.stores.memory.boards import MemoryBoardStore
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.connections.line import Line
from tests.servers import running_redis
from tests.take_requests import NOW_US, WallClock
from tests.waiting import eventually

HOUR_US = 3_600_000_000
SECOND_US = 1_000_000


def pause(rev: int, id_: str | None = None, text: str = "") -> Pause:
    scope = Scope(classes=frozenset({"new", "unverified"}), countries=frozenset({"DE"}))
    return Pause(
        id_ or f"p-{rev}", rev, scope, Action.STOP, "raid", text, "ada", None, NOW_US + HOUR_US, set_at_us=NOW_US
    )


def board(*pauses: Pause) -> Board:
    return Board({each.id: each for each in pauses})


@pytest.fixture
async def redis_board(redis_url: str, unique: Callable[[], str]) -> AsyncIterator[RedisBoardStore]:
    store = RedisBoardStore(redis_url, prefix=f"{unique()}:", deadline_s=5.0, heartbeat_s=0.05)
    await store.open()
    yield store
    await store.close()


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, redis_board: RedisBoardStore) -> BoardStore:
    return MemoryBoardStore(WallClock()) if request.param == "memory" else redis_board


async def listening(store: BoardStore, heard: list[Board]) -> asyncio.Task[None]:
    """A task that collects what is pushed, once it surely listens; pushes are sent until the first one is heard."""

    async def listen() -> None:
        changes = store.changes()
        async with aclosing(changes):  # type: ignore[type-var]
            async for each in changes:
                heard.append(each)

    task = asyncio.create_task(listen())

    async def one_is_heard() -> bool:
        if task.done():
            task.result()
        known = await store.read()
        await store.replace(known.rev, known)
        return bool(heard)

    await eventually(one_is_heard)
    return task


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_new_store_holds_the_empty_board(store: BoardStore) -> None:
    assert await store.read() == Board()


async def test_what_was_written_is_read_back(store: BoardStore) -> None:
    released = Pause(
        "p-2", 7, Scope(), Action.REVIEW, "legal", "über µ", "ada", NOW_US, NOW_US + HOUR_US, NOW_US + 1, "bob"
    )
    wanted = board(pause(1), released)

    assert await store.replace(0, wanted)
    assert await store.read() == wanted


async def test_a_write_that_expected_another_revision_changes_nothing(store: BoardStore) -> None:
    await store.replace(0, board(pause(5)))

    for expected in (0, 4, 6):
        assert not await store.replace(expected, board(pause(9)))

    assert await store.read() == board(pause(5))


async def test_of_many_writers_with_the_same_view_exactly_one_wins(store: BoardStore) -> None:
    written = await asyncio.gather(*(store.replace(0, board(pause(1, f"p-{i}"))) for i in range(20)))

    assert sum(written) == 1


async def test_writers_who_read_again_all_land(store: BoardStore) -> None:
    async def write(id_: str) -> None:
        while True:
            known = await store.read()
            if await store.replace(known.rev, merge(known, board(pause(known.rev + 1, id_)))):
                return

    await asyncio.gather(*(write(f"p-{i}") for i in range(10)))

    assert sorted((await store.read()).pauses) == sorted(f"p-{i}" for i in range(10))
    assert (await store.read()).rev == 10


async def test_a_board_that_nobody_could_read_is_not_written(store: BoardStore) -> None:
    with pytest.raises(StateUnreadable):
        await store.replace(0, board(pause(1, text="x" * 10_000)))

    assert await store.read() == Board()


async def test_every_listener_hears_the_whole_board_in_order(store: BoardStore) -> None:
    first: list[Board] = []
    second: list[Board] = []
    tasks = [await listening(store, first), await listening(store, second)]
    first.clear()
    second.clear()

    for rev in (1, 2, 3):
        assert await store.replace(rev - 1, board(*(pause(i) for i in range(1, rev + 1))))
    await eventually(lambda: first and first[-1].rev == 3 and second and second[-1].rev == 3)

    for task in tasks:
        await stopped(task)
    assert [each.rev for each in first if each.rev] == [1, 2, 3]
    assert first[-1] == second[-1] == await store.read()


async def test_gates_are_known_by_what_they_last_said_and_when(store: BoardStore) -> None:
    await store.acknowledge(Acknowledgement("gate-b", "http://b", 1, 0))
    await store.acknowledge(Acknowledgement("gate-a", "http://a", 2, 0))
    await store.acknowledge(Acknowledgement("gate-b", "http://b:2", 3, 0))

    gates = await store.gates(60 * SECOND_US)

    assert [(said.gate, said.url, said.rev) for said in gates.acknowledgements] == [
        ("gate-a", "http://a", 2),
        ("gate-b", "http://b:2", 3),
    ]
    assert all(abs(said.acknowledged_at_us - WallClock().now_us()) < 60 * SECOND_US for said in gates.acknowledgements)


async def test_two_processes_of_one_name_are_kept_apart(store: BoardStore) -> None:
    await store.acknowledge(Acknowledgement("gate", "http://a", 1, 0, boot="b-1"))
    await store.acknowledge(Acknowledgement("gate", "http://b", 2, 0, boot="b-2"))
    await store.acknowledge(Acknowledgement("gate", "http://b", 3, 0, boot="b-2"))

    gates = await store.gates(60 * SECOND_US)

    assert [(said.boot, said.rev) for said in gates.acknowledgements] == [("b-1", 1), ("b-2", 3)]


async def test_gates_are_counted_by_process_and_one_alone_can_be_read(store: BoardStore) -> None:
    twins = [Acknowledgement("gate a", "http://a", 1, 0, boot=boot) for boot in ("b-1", "b-2")]
    for said in (*twins, Acknowledgement("gate-b", "http://b", 1, 0)):
        await store.acknowledge(said)

    assert await store.count_gates(60 * SECOND_US) == 3
    assert [said.boot for said in (await store.gates(60 * SECOND_US, "gate a b-2")).acknowledgements] == ["b-2"]


async def test_after_the_clock_of_the_store_was_set_back_what_was_said_before_expires_and_proves_nothing(
    redis_board: RedisBoardStore, redis_url: str
) -> None:
    """A gate that was killed meanwhile would otherwise count until the clock is there again, and every change wait."""
    now_us = await redis_board.now_us()
    ahead_us = now_us + 40 * 24 * HOUR_US
    at, _, since = redis_board._gate_keys
    await redis_board.acknowledge(Acknowledgement("killed", "http://a", 1, 0, boot="b"))
    line = Line(redis_url)
    await line.execute(b"ZADD", at, b"%d" % ahead_us, b"killed b", within_s=5.0)
    await line.execute(b"SET", since, b"%d" % ahead_us, within_s=5.0)
    await line.close()

    await redis_board.acknowledge(Acknowledgement("here", "http://b", 1, 0, boot="b"))
    gates = await redis_board.gates(60 * SECOND_US)

    assert [said.gate for said in gates.live(LIVE_WITHIN_US)] == ["here"]
    assert [said.gate for said in gates.acknowledgements if said.acknowledged_at_us <= gates.now_us] == [
        "here",
        "killed",
    ]
    assert gates.known_since_us <= gates.now_us


async def test_gates_that_stopped_ended_or_lie_in_the_future_are_not_counted(
    redis_board: RedisBoardStore, redis_url: str
) -> None:
    seconds_ago = {"here b": 0, "late b": 4, "left b": 4, "again b-1": 4, "again b-2": 0, "gone b": 90, "ahead b": -90}
    now_us = await redis_board.now_us()
    line = Line(redis_url)
    for process, ago in seconds_ago.items():
        name, _, boot = process.partition(" ")
        said = Acknowledgement(name, "http://a", 1, 0, boot=boot, left=name == "left")
        await redis_board.acknowledge(said)
        at = b"%d" % (now_us - ago * SECOND_US)
        await line.execute(b"ZADD", redis_board._gate_keys[0], at, process.encode(), within_s=5.0)
    await line.close()

    live = (await redis_board.gates(60 * SECOND_US)).live(60 * SECOND_US)
    assert [said.process for said in live] == ["again b-2", "here b", "late b"]
    assert await redis_board.count_gates(60 * SECOND_US) == 3


async def test_a_gate_process_is_forgotten_alone_and_comes_back_with_its_next_acknowledgement(
    store: BoardStore,
) -> None:
    gone, kept = (Acknowledgement("gate", "http://a", 1, 0, boot=boot) for boot in ("b-1", "b-2"))
    await store.acknowledge(gone)
    await store.acknowledge(kept)

    await store.forget(gone.process)
    left = (await store.gates(60 * SECOND_US)).acknowledgements
    await store.acknowledge(gone)
    back = (await store.gates(60 * SECOND_US)).acknowledgements

    assert [said.boot for said in left] == ["b-2"]
    assert [said.boot for said in back] == ["b-1", "b-2"]


async def test_an_acknowledgement_is_kept_in_full_and_stamped_by_the_store(store: BoardStore) -> None:
    wanted = Acknowledgement(
        "gate", "http://a", 7, 0, "boot", "digest", ("p-1@7#0",), 5, "policy", on_disk=False, left=True, unreadable=2
    )

    taken_us = await store.acknowledge(wanted)

    (said,) = (await store.gates(60 * SECOND_US)).acknowledgements
    assert said == replace(wanted, acknowledged_at_us=taken_us)


async def test_every_way_to_read_the_stores_clock_gives_the_same_time(store: BoardStore) -> None:
    before_us = await store.now_us()
    taken_us = await store.acknowledge(Acknowledgement("gate", "http://a", 1, 0))
    gates = await store.gates(60 * SECOND_US)
    after_us = await store.now_us()

    assert before_us <= taken_us <= gates.now_us <= after_us
    assert gates.known_since_us <= taken_us


async def test_a_board_that_can_be_read_is_not_repaired(store: BoardStore) -> None:
    await store.replace(0, board(pause(1)))

    assert not await store.repair(board(pause(2)))
    assert await store.read() == board(pause(1))


async def test_fields_of_a_newer_release_survive_the_store(store: BoardStore) -> None:
    newer = replace(pause(1), extra={"quota": b"10"})
    wanted = replace(board(newer), extra={"epoch": b"7"}, version=2)

    await store.replace(0, wanted)

    assert await store.read() == wanted


async def test_a_gate_not_heard_of_lately_is_not_live(store: BoardStore) -> None:
    await store.acknowledge(Acknowledgement("gate", "http://a", 1, 0))

    async def gone() -> bool:
        return not (await store.gates(1_000)).acknowledgements

    await eventually(gone)
    assert len((await store.gates(60 * SECOND_US)).acknowledgements) == 1


async def test_what_gates_said_expires_but_the_board_never_does(redis_board: RedisBoardStore, redis_url: str) -> None:
    await redis_board.replace(0, board(pause(1)))
    await redis_board.acknowledge(Acknowledgement("gate", "http://a", 1, 0))
    line = Line(redis_url)

    left = [await line.execute(b"PTTL", key, within_s=5.0) for key in (redis_board._board_key, *redis_board._gate_keys)]

    await line.close()
    assert left[0] == -1
    assert all(0 < ms <= 3_600_000 for ms in left[1:])


@pytest.mark.parametrize(
    "command",
    [
        (b"HSET", b"rev", b"5", b"document", b'{"pauses":"all"}'),
        (b"HSET", b"rev", b"5", b"document", b""),
        (b"HSET", b"rev", b"5", b"document", b"x" * 3_000_000),
        (b"HSET", b"rev", b"5", b"document", b'{"version":1,"pauses":[]}'),
        (b"HSET", b"rev", b"many", b"document", b'{"version":1,"pauses":[]}'),
        (b"SADD", b"x"),
        (b"SET", b"x"),
    ],
)
async def test_a_board_that_nobody_can_read_is_repaired_once_pushed_and_kept_aside(
    redis_board: RedisBoardStore, redis_url: str, command: tuple[bytes, ...]
) -> None:
    heard: list[Board] = []
    task = await listening(redis_board, heard)
    line = Line(redis_url)
    await line.execute(b"DEL", redis_board._board_key, within_s=5.0)
    await line.execute(command[0], redis_board._board_key, *command[1:], within_s=5.0)
    with pytest.raises(StateUnreadable):
        await redis_board.read()

    repaired = await asyncio.gather(*(redis_board.repair(board(pause(7))) for _ in range(5)))

    await eventually(lambda: heard[-1].rev == 7)
    kind = await line.execute(b"TYPE", redis_board._aside_key, within_s=5.0)
    aside = await line.execute(b"GET", redis_board._aside_key, within_s=5.0) if kind == b"string" else None
    await line.close()
    await stopped(task)
    assert sum(repaired) == 1
    assert (await redis_board.read()).rev == 7
    assert await redis_board.replace(7, board(pause(8)))
    assert aside == {b"HSET": command[-1], b"SET": b"x", b"SADD": None}[command[0]]


async def test_a_document_of_a_newer_release_is_left_to_gates_that_can_read_it(
    redis_board: RedisBoardStore, redis_url: str
) -> None:
    line = Line(redis_url)
    document = b'{"version":2,"pauses":{"p-1":{}}}'
    await line.execute(b"HSET", redis_board._board_key, b"rev", b"1", b"document", document, within_s=5.0)

    repaired = await redis_board.repair(board(pause(7)))

    kept = await line.execute(b"HGET", redis_board._board_key, b"document", within_s=5.0)
    await line.close()
    assert not repaired
    assert kept == document


async def test_where_only_the_revision_beside_the_document_is_wrong_its_pauses_are_kept(
    redis_board: RedisBoardStore, redis_url: str
) -> None:
    await redis_board.replace(0, board(pause(1), pause(2)))
    line = Line(redis_url)
    await line.execute(b"HSET", redis_board._board_key, b"rev", b"9", within_s=5.0)
    await line.close()

    await redis_board.repair(board(pause(1), pause(3)))

    assert await redis_board.read() == board(pause(1), pause(2), pause(3))


async def test_an_acknowledgement_that_cannot_be_read_is_skipped_and_reported(
    redis_board: RedisBoardStore, redis_url: str
) -> None:
    await redis_board.acknowledge(Acknowledgement("gate", "http://a", 1, 0))
    line = Line(redis_url)
    for name, entry in ((b"old", b'{"url":"u","rev":1}'), (b"\xff\n", b"garbage")):
        await line.execute(b"ZADD", redis_board._gate_keys[0], b"%d" % (NOW_US * 2), name, within_s=5.0)
        await line.execute(b"HSET", redis_board._gate_keys[1], name, entry, within_s=5.0)
    await line.close()

    gates = await redis_board.gates(60 * SECOND_US)

    assert [said.gate for said in gates.acknowledgements] == ["gate"]
    assert len(gates.unreadable) == 2
    assert all(str(entry).isprintable() for entry in gates.unreadable)
    operate = Operate(redis_board, lambda: "p-new")
    set_ = await operate.pause(Scope(), Action.STOP, "raid", "", "ada", HOUR_US)
    released = await operate.release(set_.id, "ada")
    assert (set_.rev, released.rev) == (2, 3)


async def test_a_stored_board_that_no_gate_or_command_wrote_is_refused(
    redis_board: RedisBoardStore, redis_url: str
) -> None:
    line = Line(redis_url)
    await line.execute(b"HSET", redis_board._board_key, b"rev", b"1", b"document", b'{"pauses":"all"}', within_s=5.0)
    await line.close()

    with pytest.raises(StateUnreadable, match="pauses"):
        await redis_board.read()


async def test_an_unreadable_push_is_skipped_and_counted_and_the_next_is_heard(
    redis_board: RedisBoardStore, redis_url: str
) -> None:
    heard: list[Board] = []
    task = await listening(redis_board, heard)
    line = Line(redis_url)

    await line.execute(b"PUBLISH", redis_board._channel, b"nonsense", within_s=5.0)
    await redis_board.replace(0, board(pause(1)))
    await eventually(lambda: heard[-1].rev == 1)

    await line.close()
    await stopped(task)
    assert redis_board.unreadable == 1


async def test_a_listener_outlives_silence_because_it_asks_for_a_sign_of_life(
    redis_url: str, unique: Callable[[], str]
) -> None:
    store = RedisBoardStore(redis_url, prefix=f"{unique()}:", heartbeat_s=0.02, dead_after_s=0.2)
    heard: list[Board] = []
    task = await listening(store, heard)
    loop = asyncio.get_running_loop()
    until_s = loop.time() + 0.6

    await eventually(lambda: loop.time() > until_s)
    await store.replace(0, board(pause(1)))
    await eventually(lambda: heard[-1].rev == 1)

    assert not task.done()
    await stopped(task)
    await store.close()


async def test_a_listener_notices_a_server_that_froze_and_one_that_died(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        store = RedisBoardStore(server.url, deadline_s=0.5, heartbeat_s=0.05, dead_after_s=0.3)
        await store.replace(0, board(pause(1)))
        heard: list[Board] = []
        frozen = await listening(store, heard)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable, match="silent"):
                await asyncio.wait_for(frozen, 10.0)
            with pytest.raises(StoreUnavailable):
                await store.read()
        finally:
            os.kill(server.pid, signal.SIGCONT)

        dead = await listening(store, [])
        server.kill()
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(dead, 10.0)
        with pytest.raises(StoreUnavailable):
            await store.read()

        server.start()

        async def back() -> bool:
            try:
                return (await store.read()).rev == 1
            except StoreUnavailable:
                return False

        await eventually(back)
        assert await store.replace(1, board(pause(1), pause(2)))
        await store.close()
