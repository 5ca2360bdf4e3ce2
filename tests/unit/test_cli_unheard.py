"""Gates that Redis no longer hears are asked over HTTP, against real servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from pages import page

from gate.app.converge import Convergence, GateResult, GateState
from gate.cli.obedience import query_unheard
from gate.core.pause.board import Pause
from gate.core.pause.scope import Action, Scope
from gate.local.free_port import free_port
from gate.ports.boards import Acknowledgement

CHANGE = Pause("p-1", 7, Scope(), Action.STOP, "raid", "", "ann", None, 2_000_000_000_000_000)


@contextmanager
def answering(body: object) -> Iterator[str]:
    with page(lambda _: (200, json.dumps(body).encode())) as url:
        yield url


LIVE = GateResult(Acknowledgement("g-live", "http://g-live", 7, 0), GateState.OBEYS, 0.01)


def unheard(name: str, url: str) -> GateResult:
    return GateResult(Acknowledgement(name, url, 6, 0), GateState.UNHEARD)


def waited(*quiet: GateResult) -> Convergence:
    return Convergence(CHANGE, (LIVE,), unheard=quiet, seconds=0.02, accepted=frozenset(("d-7", "p-1@7")))


async def test_a_gate_that_decides_by_an_old_board_does_not_obey() -> None:
    old_page: dict[str, object] = {"board_digest": "d-6", "board_latest": ["p-0@6"]}
    new_page: dict[str, object] = {"board_digest": "d-8", "board_latest": ["p-1@7"]}
    with answering(old_page) as old, answering(new_page) as new:
        result, quiet = await query_unheard(waited(unheard("g-old", old), unheard("g-new", new)))

    assert [(gate.said.gate, gate.obeys) for gate in result.gates] == [
        ("g-live", True),
        ("g-new", True),
        ("g-old", False),
    ]
    assert not result.complete
    assert quiet == []


async def test_a_gate_that_does_not_answer_is_told_of() -> None:
    with answering({"hello": "world"}) as other:
        result, quiet = await query_unheard(
            waited(unheard("g-gone", f"http://127.0.0.1:{free_port()}"), unheard("g-other", other))
        )

    assert result.complete
    assert [gate.gate for gate in quiet] == ["g-gone", "g-other"]
