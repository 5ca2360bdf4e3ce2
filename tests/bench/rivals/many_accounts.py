"""What a check costs while Redis keeps five million accounts, over the same with ten thousand: gate and Redis together.

Two servers, a gate for each; the accounts are copies of one that a real check has written, with one open reservation each.
Checks draw an account evenly. Where free memory does not suffice, the rows say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from gate.local.free_port import free_port
from gate.local.redis import LocalRedis
from gate.stores.redis.layout import account_key
from tests.bench import proc
from tests.bench.gates import Gate, decide_at, gate, gate_environment
from tests.bench.report import BenchError, Spec
from tests.bench.rivals.calls import calls
from tests.bench.rivals.own_loop import POLICY
from tests.bench.stage import Stage

FEW = 10_000
MANY = 5_000_000
BYTES_EACH = 420
"""Of memory for an account with its reservation, with what the server needs while its table grows."""
CHECKS = 10_000
WARM_UP = 1_024
A_CALL = 20_000

_RATIO = Spec("CPU per check with 5 million accounts / with 10 thousand", "×", 1.3, 1.1)
_FEW = Spec("gate and Redis CPU per check with 10 thousand accounts", "µs")
_MANY = Spec("gate and Redis CPU per check with 5 million accounts", "µs")
_GATE = Spec("of it the gate alone: with 5 million accounts / with 10 thousand", "×")
_REDIS = Spec("of it Redis alone: with 5 million accounts / with 10 thousand", "×")
SPECS = (_RATIO, _FEW, _MANY, _GATE, _REDIS)

_COPY = """
for n = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  redis.call('SET', ARGV[1] .. string.format('%06d', n) .. '}', ARGV[4], 'PX', ARGV[5])
end
"""


@dataclass(frozen=True, slots=True)
class Side:
    """A Redis with so many accounts, and its gate."""

    redis: LocalRedis
    gate: Gate
    prefix: str
    accounts: int


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate the two sides. Raises BenchError."""
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    if (free := _free_bytes()) < MANY * BYTES_EACH:
        stage.absent.update(
            dict.fromkeys(SPECS, f"{free / 1e9:.1f} GB of memory are free, too little for {MANY} accounts")
        )
        return found
    with _side(stage, FEW) as few, _side(stage, MANY) as many:
        stage.say(f"rivals: filling Redis with {MANY} accounts")
        _fill(many)
        for turn in range(rounds):
            stage.say(f"rivals: {FEW} and {MANY} accounts, round {turn + 1} of {rounds}")
            with Redis.from_url(few.redis.url) as client:
                client.flushall()  # so that its accounts have no more reservations than those of the other side
            _fill(few)
            cost = {side.accounts: _cost(stage, side, turn) for side in ((few, many) if turn % 2 else (many, few))}
            (few_gate, few_redis), (many_gate, many_redis) = cost[FEW], cost[MANY]
            found[_FEW].append(few_gate + few_redis)
            found[_MANY].append(many_gate + many_redis)
            found[_RATIO].append((many_gate + many_redis) / (few_gate + few_redis))
            found[_GATE].append(many_gate / few_gate)
            found[_REDIS].append(many_redis / few_redis)
    return found


def _free_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


@contextmanager
def _side(stage: Stage, accounts: int) -> Iterator[Side]:
    name = stage.fresh("accounts")
    redis = LocalRedis(stage.home / f"redis-{name}", free_port())
    redis.start()
    try:
        with Redis.from_url(redis.url) as client:
            client.config_set("appendonly", "no")  # the log of five million writes would be measured with the checks
        given = {**gate_environment(stage, name), "UPLOAD_GATE_REDIS": redis.url, "UPLOAD_GATE_POLICY": str(POLICY)}
        with gate(stage, given) as one:
            yield Side(redis, one, given["UPLOAD_GATE_PREFIX"], accounts)
    finally:
        redis.stop()


def _fill(side: Side) -> None:
    """Copy the account that a real check writes to all accounts."""
    if decide_at(side.gate.port, "regular") != "allow":
        raise BenchError("the account to copy was not let in")
    with Redis.from_url(side.redis.url) as client:
        sample = account_key(side.prefix, "try")
        value, ttl_ms = client.get(sample), client.pttl(sample)
        copy, head = client.register_script(_COPY), account_key(side.prefix, "a-")[:-1]
        for first in range(0, side.accounts, A_CALL):
            last = min(first + A_CALL, side.accounts) - 1
            copy(args=[head, first, last, value, ttl_ms])


def _cost(stage: Stage, side: Side, seed: int) -> tuple[float, float]:
    """CPU µs of the gate for a check, and of Redis."""
    pid = side.redis.pid or 0
    with calls(stage, "gate", side.gate.port, side.gate.pid, seed, accounts=side.accounts) as caller:
        caller.load(WARM_UP)
        before = proc.cpu_s(pid)
        load = caller.load(CHECKS)
        return load.server_us, (proc.cpu_s(pid) - before) / CHECKS * 1e6
