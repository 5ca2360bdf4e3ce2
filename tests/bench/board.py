"""What the board costs a check: the time that pauses add to a decision which none of them holds, in one process.

The pauses name classes, surfaces, kinds, countries and ages as they come in an incident; the upload matches some sets of
each. With no pause in force the cost is that of seeing so. The store's answer is at hand, so nothing is awaited.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import cycle, islice

from gate.core.account import Account
from gate.core.decide import LivePauses, decide, live_pauses
from gate.core.duration import DAY_US, HOUR_US
from gate.core.limits.take import TakeResult
from gate.core.media import Media
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.request import CheckRequest
from gate.core.standing import Standing
from gate.policyfile import load_policy
from tests.bench.report import Spec
from tests.bench.stage import Stage

LOOPS = 50_000
TURNS = 7
NOW_US = 1_800_000_000_000_000
REQUEST = CheckRequest(
    "u-1", Account("a-17", "regular", datetime(2020, 1, 1, tzinfo=UTC)), Media("image"), surface="post", country="DE"
)
ANSWER = TakeResult(Standing(), True, False, None, (), NOW_US)
SCOPES = (
    Scope(frozenset({"new"})),
    Scope(frozenset({"regular"}), surfaces=frozenset({"story"})),
    Scope(kinds=frozenset({"video"}), countries=frozenset({"DE"})),
    Scope(countries=frozenset({"FR", "IT"})),
    Scope(accounts=frozenset({"a-1", "a-2"})),
    Scope(frozenset({"unverified"}), kinds=frozenset({"image"}), younger_than_us=DAY_US),
)
_COSTS = {
    0: Spec("board per check, no pause in force", "µs", 0.3, 0.2),
    50: Spec("board per check, 50 pauses in force", "µs", 1, 0.4),
    256: Spec("board per check, 256 pauses in force", "µs", 2, 0.6),
}
SPECS = tuple(_COSTS.values())


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """The cost for each number of pauses; the best of several turns a round, with and without pauses in turn."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    policy = load_policy(None)
    boards = {count: live_pauses(board_of(count), NOW_US) for count in _COSTS}

    def deciding(pauses: LivePauses) -> Callable[[], object]:
        return lambda: decide(REQUEST, "regular", pauses, policy, NOW_US, ANSWER)

    def seeing_none() -> bool:
        pauses = boards[0]
        return bool(pauses.shared.entries or pauses.break_glass.entries or pauses.by_risk.entries)

    for turn in range(rounds):
        stage.say(f"board: {turn + 1} of {rounds}")
        best: dict[str | int, float] = {}
        for _ in range(TURNS):
            timed = {"nothing": _timed(lambda: None), "none": _timed(seeing_none)}
            spent = {**timed, **{count: _timed(deciding(boards[count])) for count in boards}}
            best = {name: min(best.get(name, us), us) for name, us in spent.items()}
        found[_COSTS[0]].append(max(0.0, best["none"] - best["nothing"]))
        for count in (50, 256):
            found[_COSTS[count]].append(max(0.0, best[count] - best[0]) + found[_COSTS[0]][-1])
    return found


def board_of(count: int) -> Board:
    """So many pauses in force, none of which holds the upload."""
    scopes = islice(cycle(SCOPES), count)
    actions = cycle((Action.STOP, Action.CHALLENGE, Action.REVIEW))
    pauses = [
        Pause(f"p-{n}", n + 1, scope, action, "raid", "", "ann", None, NOW_US + HOUR_US, set_at_us=NOW_US)
        for n, (scope, action) in enumerate(zip(scopes, actions, strict=False))
    ]
    return Board({pause.id: pause for pause in pauses})


def _timed(call: Callable[[], object]) -> float:
    """µs of CPU for each of `LOOPS` calls."""
    began = time.process_time_ns()
    for _ in range(LOOPS):
        call()
    return (time.process_time_ns() - began) / LOOPS / 1_000
