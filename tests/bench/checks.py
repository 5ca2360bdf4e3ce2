"""What a check costs the gate: over HTTP one by one, and 32 in a request, each with the bucket script in a real Redis.

The load comes from a process of its own over connections that stay open; every check has an upload and an account of
its own, with network and device, so all limits of the default policy are taken. CPU is the gate's process alone, Redis
in rows beside it. For comparison two servers answer a constant: uvicorn, which served the checks at first, and the server
of the hot port. Decisions are published to Kafka
only in the row that says so. Kinds of load alternate.
"""

from __future__ import annotations

import json

from redis import Redis

from gate.local.free_port import free_port
from gate.records.topics import Topics
from tests.bench import proc
from tests.bench.gates import Gate, gate, gate_environment
from tests.bench.report import BenchError, Spec
from tests.bench.stage import Stage, Talker, await_

CONNECTIONS = 64
"""As many callers as fill two calls of 32 to Redis, which is what the gate is made for."""
BATCH = 32
SINGLE_CHECKS = 20_000
BATCHED_CHECKS = 51_200
WARM_UP = 2_048
BATCH_CONNECTIONS = 4
ALLOWED_AT_LEAST = 0.95
ANSWER_BYTES = 250

_SINGLE = Spec("gate CPU per HTTP check", "µs", 50, 30)
_BATCHED = Spec("gate CPU per check in a batch of 32", "µs", 12, 8)
_CONSTANT = Spec("CPU per HTTP request of uvicorn, answering a constant", "µs")
_OWN_CONSTANT = Spec("CPU per HTTP request of our own server, answering a constant", "µs")
_SINGLE_RATIO = Spec("gate CPU per HTTP check / uvicorn answering a constant", "×", 1.6, 1.4)
_OWN_RATIO = Spec("gate CPU per HTTP check / our own server answering a constant", "×")
_BATCHED_RATIO = Spec("gate CPU per check in a batch of 32 / one request of uvicorn, answering a constant", "×")
_SINGLE_KAFKA = Spec("gate CPU per HTTP check, decisions published to Kafka", "µs")
_BATCHED_KAFKA = Spec("gate CPU per check in a batch of 32, decisions published to Kafka", "µs")
_CROWDED = Spec("checks answered without the store, of 64 connections with 32 checks each in closed loop", "%", 0, 0)
_SINGLE_REDIS = Spec("Redis CPU per HTTP check", "µs")
_BATCHED_REDIS = Spec("Redis CPU per check in a batch of 32", "µs")
SPECS = (
    _SINGLE,
    _BATCHED,
    _CONSTANT,
    _OWN_CONSTANT,
    _SINGLE_RATIO,
    _OWN_RATIO,
    _BATCHED_RATIO,
    _SINGLE_KAFKA,
    _BATCHED_KAFKA,
    _SINGLE_REDIS,
    _BATCHED_REDIS,
    _CROWDED,
)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate single checks and batches, `rounds` times, with and without Kafka. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    for turn in range(rounds):
        stage.say(f"checks: round {turn + 1} of {rounds}")
        with gate(stage, gate_environment(stage, stage.fresh("checks"))) as plain:
            single, single_redis = _load(stage, plain, SINGLE_CHECKS, 1, CONNECTIONS, turn)
            batched, batched_redis = _load(stage, plain, BATCHED_CHECKS, BATCH, BATCH_CONNECTIONS, turn)
            found[_CROWDED].append(_crowded(stage, plain, turn))
        floor, own_floor = _constant(stage, "uvicorn", turn), _constant(stage, "own", turn)
        found[_SINGLE].append(single)
        found[_CONSTANT].append(floor)
        found[_OWN_CONSTANT].append(own_floor)
        found[_SINGLE_RATIO].append(single / floor)
        found[_OWN_RATIO].append(single / own_floor)
        found[_BATCHED].append(batched)
        found[_BATCHED_RATIO].append(batched / floor)
        found[_SINGLE_REDIS].append(single_redis)
        found[_BATCHED_REDIS].append(batched_redis)
        name = stage.fresh("checks")
        stage.declare(Topics(f"{name}.").all())
        with gate(stage, gate_environment(stage, name, kafka=True)) as publishing:
            found[_SINGLE_KAFKA].append(_load(stage, publishing, SINGLE_CHECKS, 1, CONNECTIONS, turn)[0])
            found[_BATCHED_KAFKA].append(_load(stage, publishing, BATCHED_CHECKS, BATCH, BATCH_CONNECTIONS, turn)[0])
    return found


def _crowded(stage: Stage, under: Gate, seed: int) -> float:
    """The share of checks, in %, that Redis had no part in while as many batches come as a large service sends at once."""
    with Redis.from_url(stage.redis().url) as client:
        client.flushall()
    with _client(under.port, BATCHED_CHECKS, BATCH, CONNECTIONS, seed) as client:
        client.go()
        answer = json.loads(client.go())
    return float(100 * answer["without_store"] / answer["checks"])


def _constant(stage: Stage, server: str, seed: int) -> float:
    """CPU µs a request of a server that has nothing to decide."""
    port = free_port()
    with stage.process("constant", ["-m", "tests.bench.constant", str(port), str(ANSWER_BYTES), server], {}) as child:
        await_(child, lambda: "ready" in child.tail(), "its first word")
        with _client(port, SINGLE_CHECKS, 1, CONNECTIONS, seed) as client:
            client.go()
            before = proc.cpu_s(child.pid or 0)
            client.go()
            return (proc.cpu_s(child.pid or 0) - before) / SINGLE_CHECKS * 1e6


def _client(port: int, count: int, batch: int, connections: int, seed: int) -> Talker:
    numbers = {"port": port, "count": count, "warm-up": WARM_UP, "batch": batch, "connections": connections}
    first = (WARM_UP + SINGLE_CHECKS) if batch > 1 else 0
    arguments = [f"--{key}={value}" for key, value in {**numbers, "seed": seed, "first": first}.items()]
    return Talker("tests.bench.client", *arguments)


def _load(stage: Stage, under: Gate, count: int, batch: int, connections: int, seed: int) -> tuple[float, float]:
    """CPU µs a check of the gate and of Redis."""
    with Redis.from_url(stage.redis().url) as client:
        client.flushall()  # a million keys of earlier rounds would slow down this one
    redis = stage.redis().pid or 0
    with _client(under.port, count, batch, connections, seed) as client:
        client.go()
        before, redis_before = proc.cpu_s(under.pid), proc.cpu_s(redis)
        answer = json.loads(client.go())
        used, redis_used = proc.cpu_s(under.pid) - before, proc.cpu_s(redis) - redis_before
    if answer["checks"] != count or answer["allowed"] < ALLOWED_AT_LEAST * count:
        raise BenchError(f"the gate allowed only {answer['allowed']} of {count} checks, so refusals would be measured")
    return used / count * 1e6, redis_used / count * 1e6
