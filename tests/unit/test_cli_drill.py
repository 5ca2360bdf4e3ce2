"""`drill`: what counts as its proof, with a store in memory and a gate that answers what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gate.app.operate import Operate, last_drill_us
from gate.cli import drill, http_json
from gate.cli import main as cli
from gate.cli.addresses import Addresses, resolve_addresses
from gate.cli.output import Output
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Scope
from gate.errors import RequestRejected, StoreUnavailable
from gate.stores.memory.boards import MemoryBoardStore

NOON_US = 1_800_000_000_000_000
HELD = {"decision": "paused", "pause": "p-1"}
LET_IN = {"decision": "allow", "pause": None}


class Noon:
    def now_us(self) -> int:
        return NOON_US


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryBoardStore:
    """A store whose gates all obey at once."""
    found = MemoryBoardStore(Noon())

    @asynccontextmanager
    async def operating(*_: object, **__: object) -> AsyncIterator[Operate]:
        yield Operate(found, lambda: "p-1")

    async def obeyed(what: str, change: Pause, operate: Operate, addresses: Addresses) -> tuple[int, float]:
        return 2, 0.01

    monkeypatch.setattr(drill, "operating", operating)
    monkeypatch.setattr(drill, "_obeyed", obeyed)
    monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
    monkeypatch.setenv("UPLOAD_GATE_REDIS", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("UPLOAD_GATE_GATE", "http://127.0.0.1:9")
    return found


@pytest.fixture
def gate_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def one_after_the_other(*answers: object) -> None:
        left = iter(answers)
        monkeypatch.setattr(http_json, "post_json", lambda *_, **__: next(left))

    return one_after_the_other


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (HELD, LET_IN, 0),
        (HELD, HELD, 3),
        (HELD, {"decision": "challenge", "pause": "p-2"}, 3),
        ({"decision": "paused", "pause": "p-other"}, LET_IN, 3),
        (LET_IN, LET_IN, 3),
    ],
)
async def test_a_drill_has_passed_only_once_its_own_pause_held_an_upload_and_nothing_pauses_the_next(
    store: MemoryBoardStore, gate_answers: Callable[..., None], first: object, second: object, code: int
) -> None:
    gate_answers(LET_IN, first, second)

    # the command runs a loop of its own
    found = await asyncio.to_thread(cli.run, ["drill", "--owner", "ann"])

    board = await store.read()
    assert found == code
    assert board.active(NOON_US) == []
    assert last_drill_us(board.pauses.values()) == (NOON_US if code == 0 else 0)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            RequestRejected("token.missing", "refused by http://127.0.0.1:9: send the service's token"),
            "send the service's token",
        ),
        (StoreUnavailable("http://127.0.0.1:9 does not answer"), "does not answer"),
        (HELD, "paused by pause p-1; expected: no pause"),
    ],
)
def test_a_drill_that_cannot_prove_anything_pauses_nothing(
    store: MemoryBoardStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: object,
    why: str,
) -> None:
    def told(*_: object, **__: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(http_json, "post_json", told)

    code = cli.run(["drill", "--owner", "ann"])

    assert code != 0
    err = capsys.readouterr().err
    assert err.startswith("asking the gate at http://")
    assert why in err
    assert asyncio.run(store.read()).pauses == {}


async def test_ctrl_c_while_the_gate_is_queried_leaves_no_pause_behind(
    store: MemoryBoardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    drilling: list[asyncio.Task[object]] = []

    def interrupted(*_: object, **__: object) -> object:
        drilling[0].cancel()  # what the loop does at Ctrl-C, while the drill blocks it
        return HELD

    monkeypatch.setattr(http_json, "post_json", interrupted)
    scope = Scope(frozenset(("canary",)))
    drilling.append(asyncio.create_task(drill._drill(resolve_addresses(environ={}), scope, "ann", None, Output.TEXT)))

    await asyncio.gather(*drilling, return_exceptions=True)

    (pause,) = (await store.read()).pauses.values()
    assert drilling[0].cancelled()
    assert pause.released_by == "ann"


@pytest.mark.parametrize(
    ("way", "other"), [((), "kafka"), (("--direct", "redis"), "kafka"), (("--direct", "kafka"), "redis")]
)
def test_a_drill_that_cannot_be_written_names_the_other_way(
    store: MemoryBoardStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    gate_answers: Callable[..., None], way: tuple[str, ...], other: str,
) -> None:  # fmt: skip
    gate_answers(LET_IN)

    async def away(*_: object, **__: object) -> Pause:
        raise StoreUnavailable("it does not answer")

    monkeypatch.setattr(Operate, "pause", away)

    code = cli.run(["drill", "--owner", "ann", *way])

    assert code == 1
    assert capsys.readouterr().err.rstrip().endswith(f"or with --direct {other}")
