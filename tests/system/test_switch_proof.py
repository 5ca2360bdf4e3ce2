"""What an acknowledgement proves, with real gates and a real Redis that is killed, emptied and filled with garbage."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from gate.app.converge import GateState
from gate.app.operate import Operate
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.ports.boards import LIVE_WITHIN_US
from gate.stores.redis.boards import RedisBoardStore
from gate.stores.redis.connections.line import Line
from tests.gate_process import gate
from tests.servers import running_redis
from tests.waiting import eventually

HOUR_US = 3_600_000_000


@pytest.fixture
async def store(redis_url: str, unique: Callable[[], str]) -> AsyncIterator[RedisBoardStore]:
    store = RedisBoardStore(redis_url, prefix=f"{unique()}:", deadline_s=5.0)
    await store.open()
    yield store
    await store.close()


def operate(store: RedisBoardStore, *ids: str) -> Operate:
    left = iter(ids)
    return Operate(store, lambda: next(left))


async def pause(acts: Operate) -> Pause:
    return await acts.pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US)


async def live(store: RedisBoardStore) -> list[str]:
    said = (await store.gates(LIVE_WITHIN_US)).acknowledgements
    return [one.gate for one in said if not one.left]


async def test_a_rolling_restart_leaves_nobody_to_wait_for(
    tmp_path: Path, redis_url: str, store: RedisBoardStore
) -> None:
    prefix = store._board_key.removesuffix("board")
    acts = operate(store, "p-1", "p-2")
    with ExitStack() as stack:
        before = stack.enter_context(gate(tmp_path / "g", redis_url, prefix, "g-1"))
        await eventually(lambda: live(store))
        before.end(signal.SIGTERM)
        left = await acts.converged(await pause(acts), 5.0)
        after = stack.enter_context(gate(tmp_path / "g", redis_url, prefix, "g-1"))
        await eventually(lambda: live(store))

        result = await acts.converged(await pause(acts), 5.0)

        assert [(one.said.gate, one.state) for one in left.left] == [("g-1", GateState.LEFT)]
        assert result.complete
        assert [one.state for one in result.gates] == [GateState.OBEYS]
        assert sorted(after.paused()) == ["p-1", "p-2"]


async def test_a_store_emptied_under_running_gates_gets_its_pauses_back_and_a_new_one_is_heard(
    tmp_path: Path, redis_url: str, store: RedisBoardStore
) -> None:
    """A restore from an empty backup: the gates are at revision 3, and the store begins at 0 again."""
    prefix = store._board_key.removesuffix("board")
    acts = operate(store, "p-1", "p-2", "p-3", "p-new")
    with gate(tmp_path / "a", redis_url, prefix, "g-a") as a, gate(tmp_path / "b", redis_url, prefix, "g-b") as b:
        await eventually(lambda: _both(store))
        for _ in range(3):
            last = await pause(acts)
        assert (await acts.converged(last, 5.0)).complete
        line = Line(redis_url)
        await line.execute(b"DEL", store._board_key, within_s=5.0)
        await line.close()

        new = await pause(acts)
        result = await acts.converged(new, 5.0)

        assert new.rev == 4
        assert result.complete
        assert "p-new" in a.paused()
        assert "p-new" in b.paused()

        async def whole() -> bool:
            return sorted((await store.read()).pauses) == ["p-1", "p-2", "p-3", "p-new"]

        await eventually(whole)


async def _both(store: RedisBoardStore) -> bool:
    return await live(store) == ["g-a", "g-b"]


async def test_garbage_in_the_store_is_repaired_by_a_gate_and_a_pause_gets_through(
    tmp_path: Path, redis_url: str, store: RedisBoardStore
) -> None:
    prefix = store._board_key.removesuffix("board")
    acts = operate(store, "p-1", "p-2")
    with gate(tmp_path / "g", redis_url, prefix, "g-1") as running:
        await eventually(lambda: live(store))
        assert (await acts.converged(await pause(acts), 5.0)).complete
        line = Line(redis_url)
        await line.execute(b"HSET", store._board_key, b"document", b'{"pauses":', within_s=5.0)

        result = await acts.converged(await pause(acts), 5.0)

        aside = await line.execute(b"GET", store._aside_key, within_s=5.0)
        await line.close()
        assert result.complete
        assert sorted(running.paused()) == ["p-1", "p-2"]
        assert aside == b'{"pauses":'
        assert "are replaced by revision 1" in running.log.read_text()


async def test_what_was_acknowledged_outlives_a_kill_of_gate_and_redis(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as redis:
        store = RedisBoardStore(redis.url, deadline_s=5.0)
        acts = operate(store, "p-1")
        with gate(tmp_path / "g", redis.url, "ug:", "g-1") as running:
            await eventually(lambda: live(store))
            assert (await acts.converged(await pause(acts), 5.0)).complete
            running.end(signal.SIGKILL)
        redis.kill()
        await store.close()

        with gate(tmp_path / "g", redis.url, "ug:", "g-1") as again:
            paused = again.paused()

    kept = json.loads((tmp_path / "g" / "board.json").read_bytes())
    assert paused == ["p-1"]
    assert [entry["id"] for entry in kept["board"]["pauses"]] == ["p-1"]


async def test_one_pause_of_a_newer_release_stops_no_gate_from_obeying_the_others(
    tmp_path: Path, redis_url: str, store: RedisBoardStore
) -> None:
    prefix = store._board_key.removesuffix("board")
    acts = operate(store, "p-1", "p-2")
    with gate(tmp_path / "g", redis_url, prefix, "g-1") as running:
        await eventually(lambda: live(store))
        await pause(acts)
        line = Line(redis_url)
        document = json.loads(await line.execute(b"HGET", store._board_key, b"document", within_s=5.0))
        newer = {"id": "p-newer", "rev": 2, "scope": {"ages": ["1d"]}, "action": "shrink"}
        document = {**document, "version": 2, "pauses": [*document["pauses"], newer]}
        await line.execute(
            b"HSET", store._board_key, b"rev", b"2", b"document", json.dumps(document).encode(), within_s=5.0
        )

        result = await acts.converged(await pause(acts), 5.0)

        board: Board = await store.read()
        await line.close()
        assert result.complete
        assert sorted(running.paused()) == ["p-1", "p-2"]
        assert (board.version, [entry.id for entry in board.unreadable]) == (2, ["p-newer"])
        said = (await store.gates(LIVE_WITHIN_US)).acknowledgements
        assert [one.unreadable for one in said] == [1]
