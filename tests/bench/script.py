"""What the take script costs Redis beside an earlier one, the baseline: in batches of 32, and what an account keeps there.

Each runs on a server of its own with the same checks, a few calls of the one and then a few of the other, so that whatever else
the machine does meets both; on one server each would collect the garbage of the other. A ratio is the median of the ratios of
such neighbours. The servers keep nothing on disk, because the log of commands is written anew now and then. How full the
buckets are is set by earlier uploads of the same accounts: at 95 % most checks are refused. CPU is that of the server, by its
own account; `instructions` counts its instructions, which the load of the machine does not change.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import hiredis
from msgspec.structs import replace
from redis import Redis

from gate.core.account import Account
from gate.core.limits.leased_class import leased_class
from gate.core.limits.limit import EntityLimits, Limit, Rate
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.limits.token_lease import TokenLease
from gate.core.media import Media
from gate.core.policy import Policy
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp
from gate.local.free_port import free_port
from gate.local.redis import LocalRedis
from gate.policyfile import load_policy
from gate.records.score import stored_score, with_bytes
from gate.settings import DEFAULT_PREFIX
from gate.stores.redis.layout import NARROW
from gate.stores.redis.take_batch import Batch
from gate.stores.redis.unrolled import Unrolled
from tests.bench.instructions import counted_server
from tests.bench.report import Absent, Spec
from tests.bench.stage import Stage
from tests.bench.take_baseline import BaselineBatch, baseline_script

BATCH = 32
ACCOUNTS = 1_600
COUNTED_ACCOUNTS = 320
CHECKS_EACH = 3
CALLS_IN_TURN = 5
PREFIX = "script:"
CLASSES = ("regular", "trusted", "unverified")
FULLNESS = (5, 50, 95)
EXPIRY_BYTES = 24 + 8
"""An entry of the server's table of expiries, with its part of the table."""

_RATIO = {
    full: Spec(f"script: baseline / now, Redis CPU per check, {full} % full", "×", 1.7, 2.3, True) for full in FULLNESS
}
_NOW = {full: Spec(f"script: Redis CPU per check in batches of 32, {full} % full", "µs") for full in FULLNESS}
_LEASED = {
    full: Spec(f"script: the same where class and platform are leased, {full} % full", "µs") for full in FULLNESS
}
_WAS = {full: Spec(f"script: the same with the baseline, {full} % full", "µs") for full in FULLNESS}
_COUNTED = {
    full: Spec(f"script: baseline / now, instructions per check, {full} % full", "×", 1.7, 2.3, True)
    for full in FULLNESS
}
_INSTRUCTIONS = {
    full: Spec(f"script: instructions per check in batches of 32, {full} % full", "1,000") for full in FULLNESS
}
_ACCOUNT = Spec("memory per account in Redis: three limits, a score, no open reservation", "B", 260, 200)
_OPEN = Spec("memory per open reservation more", "B", 150, 100)
SPECS = (
    *_RATIO.values(), *_NOW.values(), *_LEASED.values(), *_WAS.values(), *_COUNTED.values(), *_INSTRUCTIONS.values(),
    _ACCOUNT, _OPEN,
)  # fmt: skip

Call = Callable[[Sequence[TakeRequest], str], list[object]]


class Way(NamedTuple):
    """A script on a server of its own, and how it is called."""

    client: Redis
    call: Call


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """Alternate the scripts at each fullness, `rounds` times."""
    policy = load_policy(None)
    scripts = _scripts(policy)
    found: dict[Spec, list[float]] = {spec: [] for spec in SPECS}
    with ExitStack() as servers:
        clients = [servers.enter_context(_server(stage.home / f"script-{n}")) for n in range(len(scripts))]
        ways = [_way(client, *each) for client, each in zip(clients, scripts, strict=True)]
        for turn in range(rounds):
            for full in FULLNESS:
                stage.say(f"script: round {turn + 1} of {rounds}, {full} % full")
                now, leased, was = _costs(ways, policy, full, turn)
                for spec, each in ((_NOW, now), (_LEASED, leased), (_WAS, was)):
                    found[spec[full]].append(sum(each) / len(each))
                found[_RATIO[full]].append(median(old / new for old, new in zip(was, now, strict=True)))
            account, more = _memory(clients[0], DEFAULT_PREFIX.removesuffix(":"))  # a longer name is a larger key
            found[_ACCOUNT].append(account)
            found[_OPEN].append(more)
    try:
        now, was = (_counts(stage, name, scripts[n], policy) for n, name in ((0, "now"), (2, "baseline")))
    except Absent as error:
        stage.absent.update(dict.fromkeys((*_COUNTED.values(), *_INSTRUCTIONS.values()), str(error)))
    else:
        for full, new, old in zip(FULLNESS, now, was, strict=True):
            found[_INSTRUCTIONS[full]].append(new / 1000)
            found[_COUNTED[full]].append(old / new)
    return found


def _scripts(policy: Policy) -> list[tuple[bytes, Call]]:
    """The source of each script and how it is called: the one of now, the same where leases give, and the baseline."""
    unrolled, old = Unrolled(policy.class_limits), baseline_script()
    remaining = {each: _remaining(each) for each in policy.class_limits}
    lean = Unrolled(tuple(remaining.values()))

    def now(requests: Sequence[TakeRequest], prefix: str) -> list[object]:
        return _command(Batch(requests, unrolled, prefix))

    def leased(requests: Sequence[TakeRequest], prefix: str) -> list[object]:
        some = [replace(request, class_limits=remaining[request.class_limits]) for request in requests]
        return _command(Batch(some, lean, prefix))

    def was(requests: Sequence[TakeRequest], prefix: str) -> list[object]:
        return [b"EVALSHA", old.sha, 0, *BaselineBatch(requests, prefix.encode()).arguments]

    return [(unrolled.script.source, now), (lean.script.source, leased), (old.source, was)]


def _way(client: Redis, source: bytes, call: Call) -> Way:
    client.script_load(source)
    return Way(client, call)


@contextmanager
def _server(home: Path) -> Iterator[Redis]:
    """A client of a server that keeps nothing on disk."""
    server = LocalRedis(home, free_port())
    server.start()
    try:
        with Redis.from_url(server.url) as client:
            client.config_set("appendonly", "no")
            yield client
    finally:
        server.stop()


def _counts(stage: Stage, name: str, script: tuple[bytes, Call], policy: Policy) -> list[float]:
    """Instructions of Redis per check, at each fullness. Raises Absent."""
    found: list[float] = []
    with counted_server(stage.home / f"counted-{name}") as counted:
        _, call = _way(counted.client, *script)
        for full in FULLNESS:
            stage.say(f"script: instructions of {name}, {full} % full")
            before, measured = _filling_and_measured(policy, full, 0, COUNTED_ACCOUNTS)
            for batch in before:
                counted.client.execute_command(*call(batch, PREFIX))
            commands = [call(batch, PREFIX) for batch in measured]
            with counted.counting():
                for command in commands:
                    counted.client.execute_command(*command)
            found.append(counted.instructions / (len(commands) * BATCH))
            counted.client.flushdb()
    return found


def _remaining(limits: ClassLimits) -> ClassLimits:
    """The limits that remain for the script where all leases have tokens."""
    leased = leased_class(limits, lambda entity, limit: TokenLease(entity, limit, 0))
    return limits if leased is None else leased.ways[0].remaining


def _costs(ways: Sequence[Way], policy: Policy, full: int, seed: int) -> list[list[float]]:
    """For each way CPU µs of Redis per check, of a few calls at a time; those of the same place in the lists are neighbours."""
    before, measured = _filling_and_measured(policy, full, seed, ACCOUNTS)
    for client, call in ways:
        for batch in before:
            client.execute_command(*call(batch, PREFIX))
    commands = [[call(batch, PREFIX) for batch in measured] for _, call in ways]
    used: list[list[float]] = [[] for _ in ways]
    turns = list(range(len(ways)))
    for start in range(0, len(measured) - CALLS_IN_TURN + 1, CALLS_IN_TURN):
        turns.append(turns.pop(0))
        for n in turns:
            client = ways[n].client
            began = _cpu_s(client)
            for command in commands[n][start : start + CALLS_IN_TURN]:
                client.execute_command(*command)
            used[n].append((_cpu_s(client) - began) / (CALLS_IN_TURN * BATCH) * 1e6)
    for client, _ in ways:
        client.flushdb()
    return used


def _filling_and_measured(
    policy: Policy, full: int, seed: int, accounts: int
) -> tuple[list[list[TakeRequest]], list[list[TakeRequest]]]:
    """Batches that fill the buckets, and those that are measured."""
    rng = random.Random(seed)
    filling, measured = (list(_batches(_requests(policy, rng, full, accounts, before=each))) for each in (True, False))
    return filling, measured


def _requests(policy: Policy, rng: random.Random, full: int, accounts: int, before: bool) -> list[TakeRequest]:
    """The uploads that fill the buckets beforehand, or those that are measured."""
    names = Pseudonyms(b"bench")
    requests = []
    for n in range(accounts):
        class_ = CLASSES[n % len(CLASSES)]
        burst = next(limit.rates[class_].burst for limit in policy.limits if class_ in limit.rates)
        uploads = round(burst * full / 100) if before else CHECKS_EACH
        for upload in range(uploads):
            request = CheckRequest(
                f"u-{before:d}{n:06d}{upload:02d}", Account(f"a-{n:06d}", class_), Media("image", rng.randrange(4_000_000)),
                ip=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", device=f"d-{n}",
            )  # fmt: skip
            requests.append(policy.take_request(request, class_, names))
    rng.shuffle(requests)
    return requests


def _batches(requests: list[TakeRequest]) -> Iterator[list[TakeRequest]]:
    for start in range(0, len(requests) - BATCH + 1, BATCH):
        yield requests[start : start + BATCH]


def _command(batch: Batch) -> list[object]:
    reader = hiredis.Reader()
    reader.feed(batch.packed(known=True))
    command: list[object] = reader.gets()
    return command


def _cpu_s(client: Redis) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _memory(client: Redis, prefix: str) -> tuple[float, float]:
    """Bytes of an account that has three limits and a score, and of one open reservation more."""
    rate = Rate(100, 3_600_000_000, 100)
    limits = EntityLimits(
        (Limit("one", rate), Limit("two", rate), Limit("bytes", Rate(1 << 30, rate.per_us, 1 << 30), by_bytes=True))
    )
    of = ClassLimits(limits, None, None, (), 0.9, 86_400_000_000, 3_600_000_000, name="regular")
    unrolled = Unrolled((of,))
    client.script_load(unrolled.script.source)
    requests = [
        TakeRequest(f"a-{n:06d}", f"u-{n:08d}", of, f"{n:016x}", f"{n:016x}", 204_800, class_="regular", kind="image")
        for n in range(BATCH)
    ]

    def take(some: list[TakeRequest]) -> None:
        for batch in _batches(some):
            client.execute_command(*_command(Batch(batch, unrolled, f"{prefix}:")))

    key, scored = f"{prefix}:2a:{{{requests[0].account}}}", f"{prefix}:score:{{{requests[0].account}}}"
    # what is kept of a score is the same with and without the reasons, which staff alone read
    score = Score(
        requests[0].account, 0.5, 0.25, 0.5, (), 1, 1, Stamp("e", 1, 1, 4, 1), "s", half_life_us=1 << 40, base=0.02
    )  # fmt: skip
    value = stored_score(with_bytes(score))
    client.set(scored, value[: value.index(b"{")], px=86_400_000)
    take(requests[:BATCH])
    one = _bytes_of(client, key)
    take([_another_upload(request) for request in requests[:BATCH]])
    two = _bytes_of(client, key)
    value = client.get(key)
    client.set(key, value[: 1 + 12 * (value[0] - NARROW)] + bytes(6), px=3_600_000)
    without = _bytes_of(client, key) + _bytes_of(client, scored)
    client.flushdb()
    return without, two - one


def _bytes_of(client: Redis, key: str) -> float:
    """Bytes of a key with its value, and of its place in the table of expiries."""
    return float(client.memory_usage(key, samples=0) or 0) + EXPIRY_BYTES


def _another_upload(request: TakeRequest) -> TakeRequest:
    """The same account with another upload."""
    return replace(request, upload_id=f"v-{request.upload_id[2:]}")
