"""envoyproxy/ratelimit beside ours over HTTP: CPU of the server and of Redis, and latency by a schedule.

Both have three limits of an account on the same Redis, one core, and 64 connections. Latency is taken at 1,000 checks a
second and at 60 % of what the contender answers flat out; our own p99 at 60 % of ours stands over a bare PING of Redis at the
same rate, by the same caller. Loads alternate.
"""

from __future__ import annotations

from pathlib import Path

from tests.bench.gates import Gate, gate, gate_environment
from tests.bench.report import Absent, Spec
from tests.bench.rivals.caller import PING
from tests.bench.rivals.calls import Load, calls, flush
from tests.bench.rivals.servers import Server, ratelimit
from tests.bench.stage import Stage

POLICY = Path(__file__).with_name("three_limits.toml")
WARM_UP = 2_048
CHECKS = 20_000
BATCHED = 51_200
BATCH_CONNECTIONS = 4
STEADY = 1_000.0
STEADY_S = 5.0
SHARE = 0.6

_NAME = "envoyproxy/ratelimit / ours"
_SERVER = Spec(f"{_NAME}, server CPU per check", "×", 3, 4.5, True)
_REDIS = Spec(f"{_NAME}, Redis CPU per check", "×", 1.2, 2, True)
_BATCH = Spec(f"{_NAME} in a batch of 32, server CPU per check", "×", 15, 25, True)
_STEADY_HALF = Spec(f"{_NAME}, 1,000 checks/s, p50", "×", 1, 1.5, True)
_STEADY_WORST = Spec(f"{_NAME}, 1,000 checks/s, p99", "×", 1.5, 3, True)
_SHARE_HALF = Spec(f"{_NAME}, at 60 % of its saturation, p50", "×", 1, 1.5, True)
_SHARE_WORST = Spec(f"{_NAME}, at 60 % of its saturation, p99", "×", 1.5, 3, True)
_RATIOS = (_SERVER, _REDIS, _BATCH, _STEADY_HALF, _STEADY_WORST, _SHARE_HALF, _SHARE_WORST)
_THEIRS = Spec("envoyproxy/ratelimit, server CPU per check", "µs")
_THEIRS_REDIS = Spec("envoyproxy/ratelimit, Redis CPU per check", "µs")
_THEIRS_STEADY = Spec("envoyproxy/ratelimit, 1,000 checks/s, p99", "ms")
_THEIRS_SHARE = Spec("envoyproxy/ratelimit, at 60 % of its saturation, p99", "ms")
_THEIR_RATE = Spec("envoyproxy/ratelimit, checks a second flat out", "1/s")
_OURS = Spec("ours with three limits, server CPU per check", "µs")
_OURS_BATCH = Spec("ours with three limits in a batch of 32, server CPU per check", "µs")
_OURS_REDIS = Spec("ours with three limits, Redis CPU per check", "µs")
_OURS_STEADY = Spec("ours with three limits, 1,000 checks/s, p99", "ms")
_OURS_SHARE = Spec("ours with three limits, at 60 % of our saturation, p99", "ms")
_OUR_RATE = Spec("ours with three limits, checks a second flat out", "1/s")
_PING = Spec("PING of Redis at the rate of 60 % of our saturation, p99", "ms")
_PER_PING = Spec("our p99 at 60 % of our saturation / PING of Redis", "×", 6, 2)
_AT_SHARE = "ours with three limits, at 60 % of our saturation"
_SENT_LATE = Spec(f"{_AT_SHARE}, how late the caller sent, p99", "ms")
_SHARE_CPU = Spec(f"{_AT_SHARE}, server CPU per check", "µs")
_GATE_WAITED = Spec(f"{_AT_SHARE}, the gate waited for a core, per check", "µs")
_REDIS_WAITED = Spec(f"{_AT_SHARE}, Redis waited for a core, per check", "µs")
_CALLER_WAITED = Spec(f"{_AT_SHARE}, the caller waited for a core, per check", "µs")
_ABSENT = (*_RATIOS, _THEIRS, _THEIRS_REDIS, _THEIRS_STEADY, _THEIRS_SHARE, _THEIR_RATE)
SPECS = (
    *_RATIOS, _PER_PING, _THEIRS, _OURS, _OURS_BATCH, _THEIRS_REDIS, _OURS_REDIS, _THEIRS_STEADY, _OURS_STEADY,
    _THEIRS_SHARE, _OURS_SHARE, _SENT_LATE, _GATE_WAITED, _REDIS_WAITED, _CALLER_WAITED, _SHARE_CPU, _PING, _THEIR_RATE,
    _OUR_RATE,
)  # fmt: skip


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate the two. Raises BenchError; where the contender cannot be had, ours is measured alone."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    try:
        start = ratelimit(stage)
    except Absent as error:
        stage.say(f"rivals: {error}")
        stage.absent.update(dict.fromkeys(_ABSENT, str(error)))
        start = None
    environment = {**gate_environment(stage, stage.fresh("rivals")), "UPLOAD_GATE_POLICY": str(POLICY)}
    with gate(stage, environment) as ours:
        for turn in range(rounds):
            stage.say(f"rivals: over HTTP, round {turn + 1} of {rounds}")
            costs = _ours(stage, ours, turn, found)
            if start is not None:
                with start() as theirs:
                    _theirs(stage, theirs, ours, turn, costs, found)
    return found


def _ours(stage: Stage, ours: Gate, turn: int, found: dict[Spec, list[float]]) -> tuple[Load, Load]:
    """Our single checks and batches flat out, and the tail beside a bare PING."""
    flush(stage)
    with calls(stage, "gate", ours.port, ours.pid, 2 * turn) as caller:
        caller.load(WARM_UP)
        single = caller.load(CHECKS)
        rate = SHARE * single.per_s
        steady = caller.load(int(rate * STEADY_S), rate)
    with calls(stage, PING, stage.redis().port, ours.pid, turn) as caller:
        ping = caller.load(int(rate * STEADY_S), rate)
    flush(stage)
    with calls(stage, "gate-batch", ours.port, ours.pid, turn + 1_000, BATCH_CONNECTIONS) as caller:
        caller.load(WARM_UP)
        batched = caller.load(BATCHED)
    found[_OURS].append(single.server_us)
    found[_OURS_REDIS].append(single.redis_us)
    found[_OURS_BATCH].append(batched.server_us)
    found[_OUR_RATE].append(single.per_s)
    found[_OURS_SHARE].append(steady.phase.p99)
    found[_SENT_LATE].append(steady.phase.late_p99)
    found[_SHARE_CPU].append(steady.server_us)
    found[_GATE_WAITED].append(steady.server_waited_us)
    found[_REDIS_WAITED].append(steady.redis_waited_us)
    found[_CALLER_WAITED].append(steady.caller_waited_us)
    found[_PING].append(ping.phase.p99)
    found[_PER_PING].append(steady.phase.p99 / ping.phase.p99)
    return single, batched


def _theirs(
    stage: Stage, theirs: Server, ours: Gate, turn: int, costs: tuple[Load, Load], found: dict[Spec, list[float]]
) -> None:
    """The contender flat out, then both by the same schedules."""
    single, batched = costs
    flush(stage)
    with (
        calls(stage, "ratelimit", theirs.port, theirs.pid, turn) as they,
        calls(stage, "gate", ours.port, ours.pid, 2 * turn + 1) as we,
    ):
        they.load(WARM_UP)
        flat_out = they.load(CHECKS)
        rate = SHARE * flat_out.per_s
        latency = {}
        for name, of in (("theirs", they), ("ours", we)) if turn % 2 else (("ours", we), ("theirs", they)):
            flush(stage)
            latency[name] = (of.load(int(STEADY * STEADY_S), STEADY), of.load(int(rate * STEADY_S), rate))
    found[_THEIRS].append(flat_out.server_us)
    found[_THEIRS_REDIS].append(flat_out.redis_us)
    found[_THEIR_RATE].append(flat_out.per_s)
    found[_SERVER].append(flat_out.server_us / single.server_us)
    found[_REDIS].append(flat_out.redis_us / single.redis_us)
    found[_BATCH].append(flat_out.server_us / batched.server_us)
    their_steady, their_share = latency["theirs"]
    our_steady, our_share = latency["ours"]
    found[_THEIRS_STEADY].append(their_steady.phase.p99)
    found[_OURS_STEADY].append(our_steady.phase.p99)
    found[_THEIRS_SHARE].append(their_share.phase.p99)
    found[_STEADY_HALF].append(their_steady.phase.p50 / our_steady.phase.p50)
    found[_STEADY_WORST].append(their_steady.phase.p99 / our_steady.phase.p99)
    found[_SHARE_HALF].append(their_share.phase.p50 / our_share.phase.p50)
    found[_SHARE_WORST].append(their_share.phase.p99 / our_share.phase.p99)
