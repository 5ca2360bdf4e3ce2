"""How long it takes from an event to a score that a gate can read, at 1,000 events a second: Kafka, worker and Redis.

`probe` says how one delay is taken: from just before the event is handed to the producer until the gate's own account
store returns the score of an account that had no event before, asked every 2 ms.
"""

from __future__ import annotations

import json

from gate.local.free_port import LOOPBACK, free_port
from gate.records.topics import Topics
from tests.bench.report import BenchError, Spec
from tests.bench.stage import Stage, Talker, await_, metric
from tests.bench.streams import worker_environment

RATE = 1_000
SECONDS = 20.0
WARM_UP_S = 3.0
LEAST_SHARE = 0.9  # of the wanted rate; below it, something else is measured

_HALF = Spec("event produced to score readable, 1,000 events/s, p50", "ms", 30, 10)
_WORST = Spec("event produced to score readable, 1,000 events/s, p99", "ms", 100, 50)
SPECS = (_HALF, _WORST)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """One worker, one probe a round. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    for turn in range(rounds):
        stage.say(f"latency: round {turn + 1} of {rounds}")
        delays = _delays(stage)
        found[_HALF].append(quantile(delays, 0.5))
        found[_WORST].append(quantile(delays, 0.99))
    return found


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed; `ordered` is not empty."""
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def _delays(stage: Stage) -> list[float]:
    """All delays of one round in ms, in order."""
    name = stage.fresh("latency")
    topics = Topics(f"{name}.")
    stage.declare(topics.all())
    port = free_port()
    url = f"http://{LOOPBACK}:{port}/metrics"
    given = {
        "bootstrap": stage.kafka().bootstrap,
        "topic": topics.events.name,
        "redis": stage.redis().url,
        "prefix": f"{name}.",
        "rate": RATE,
        "warm-up": WARM_UP_S,
        "seconds": SECONDS,
    }
    with stage.process("worker", ["-m", "streams.worker"], worker_environment(stage, name, port)) as child:
        await_(
            child, lambda: metric(url, "upload_gate_worker_partitions") >= topics.events.partitions, "its partitions"
        )
        with Talker("tests.bench.probe", *(f"--{key}={value}" for key, value in given.items())) as probe:
            probe.go()
            said = json.loads(probe.go())
        if said["lost"] or said["sent"] < RATE * SECONDS * LEAST_SHARE:
            raise BenchError(
                f"{said['lost']} scores never came, {said['sent']} events of {RATE * SECONDS:.0f} were sent; "
                f"the end of the worker's log:\n{child.tail()}"
            )
    return list(said["ms"])
