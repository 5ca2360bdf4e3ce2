"""throttlecrab-server beside ours over HTTP, by CPU of the server: it keeps its limits in memory, and has one limit a check.

Ours has three limits and stands twice: with Redis, which is another process, and without one, where it decides by buckets of its
own as it does in an outage (`on_store_error = "local"`).
"""

from __future__ import annotations

from gate.local.free_port import LOOPBACK, free_port
from tests.bench.gates import Gate, gate, gate_environment
from tests.bench.report import Absent, Spec
from tests.bench.rivals.calls import calls, flush
from tests.bench.rivals.own_loop import POLICY
from tests.bench.rivals.servers import throttlecrab
from tests.bench.stage import Stage

CHECKS = 20_000
WARM_UP = 2_048

_NAME = "throttlecrab-server (in memory, one limit) / ours"
_ON_REDIS = Spec(f"{_NAME} on Redis, CPU per HTTP check", "×", 0.4, 0.6, True)
_LOCAL = Spec(f"{_NAME} without a store, CPU per HTTP check", "×", 0.5, 1, True)
_THEIRS = Spec("throttlecrab-server, CPU per HTTP check", "µs")
_OURS = Spec("ours on Redis with three limits, CPU per HTTP check", "µs")
_OURS_LOCAL = Spec("ours without a store with three limits, CPU per HTTP check", "µs")
SPECS = (_ON_REDIS, _LOCAL, _THEIRS, _OURS, _OURS_LOCAL)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate the three. Raises BenchError; where the contender cannot be had, ours is measured alone."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    start = None
    try:
        start = throttlecrab(stage)
    except Absent as error:
        stage.say(f"rivals: {error}")
        stage.absent.update(dict.fromkeys((_ON_REDIS, _LOCAL, _THEIRS), str(error)))
    given = {**gate_environment(stage, stage.fresh("rivals")), "UPLOAD_GATE_POLICY": str(POLICY)}
    nowhere = {**given, "UPLOAD_GATE_REDIS": f"redis://{LOOPBACK}:{free_port()}/0"}
    for turn in range(rounds):
        stage.say(f"rivals: in memory, round {turn + 1} of {rounds}")
        flush(stage)
        with gate(stage, given) as one:
            ours = _gate_cost(stage, one, turn)
        with gate(stage, nowhere) as one:
            local = _gate_cost(stage, one, turn)
        found[_OURS].append(ours)
        found[_OURS_LOCAL].append(local)
        if start is not None:
            with start() as server:
                theirs = _cost(stage, "throttlecrab", server.port, server.pid, turn)
            found[_THEIRS].append(theirs)
            found[_ON_REDIS].append(theirs / ours)
            found[_LOCAL].append(theirs / local)
    return found


def _gate_cost(stage: Stage, one: Gate, seed: int) -> float:
    return _cost(stage, "gate", one.port, one.pid, seed)


def _cost(stage: Stage, kind: str, port: int, pid: int, seed: int) -> float:
    """CPU µs of the server for a check."""
    with calls(stage, kind, port, pid, seed) as caller:
        caller.load(WARM_UP)
        return caller.load(CHECKS).server_us
