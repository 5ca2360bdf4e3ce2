"""Our own check in this process, on Redis, as a service would embed it: three buckets of an account.

`python -m tests.bench.rivals.own_loop REDIS PREFIX COUNT CALLERS BATCH` prints one JSON object, `{"us","redis_us"}`, like
`library_loop`. Each of the callers checks one upload after the other, or `BATCH` of them in a call.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop
from redis import Redis

from gate.app.check import Check
from gate.core.account import Account
from gate.core.media import Media
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.serve.clock import SystemClock
from gate.stores.local_buckets import LocalBuckets
from gate.stores.redis.takes import RedisTakeStore
from tests.bench.rivals.library_loop import WARM_UP, redis_cpu_s

POLICY = Path(__file__).with_name("three_limits.toml")
DEADLINE_S = 5.0
"""Long, so that a machine that does other things as well cannot make a figure of refusals."""


def uploads(prefix: str, count: int) -> list[CheckRequest]:
    """One upload of each of `count` accounts."""
    return [
        CheckRequest(f"{prefix}-{n:06d}", Account(f"{prefix}-{n:06d}", "regular"), Media("image", 100_000))
        for n in range(count)
    ]


async def caller(check: Check, requests: Iterator[CheckRequest]) -> int:
    """Check one upload after the other; how many were let in by the store."""
    let_in = 0
    for request in requests:
        decision = await check.check(request)
        let_in += decision.verdict.lets_in and not decision.degraded
    return let_in


async def batch_caller(check: Check, batches: Iterator[list[CheckRequest]]) -> int:
    """The same, many uploads in a call."""
    let_in = 0
    for batch in batches:
        decisions = await check.check_many(batch)
        let_in += sum(each.verdict.lets_in and not each.degraded for each in decisions)
    return let_in


async def drive(check: Check, requests: list[CheckRequest], callers: int, batch: int) -> int:
    """Let all callers work until no request is left."""
    if batch == 1:
        shared = iter(requests)
        return sum(await asyncio.gather(*(caller(check, shared) for _ in range(callers))))
    batches = iter([requests[at : at + batch] for at in range(0, len(requests), batch)])
    return sum(await asyncio.gather(*(batch_caller(check, batches) for _ in range(callers))))


async def main() -> None:
    """The command."""
    url, prefix = sys.argv[1:3]
    count, callers, batch = (int(each) for each in sys.argv[3:6])
    clock, takes, info = SystemClock(), RedisTakeStore(url, prefix, DEADLINE_S), Redis.from_url(url)
    await takes.open()
    check = Check(load_policy(POLICY), takes, clock, Pseudonyms(b"bench"), Counts(), time.perf_counter_ns, LocalBuckets)
    await drive(check, uploads("w", WARM_UP), callers, batch)
    requests = uploads("a", count)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as in the gate
    redis_s, own_s = redis_cpu_s(info), time.process_time()
    let_in = await drive(check, requests, callers, batch)
    own_s, redis_s = time.process_time() - own_s, redis_cpu_s(info) - redis_s
    await takes.close()
    if let_in != count:
        sys.exit(f"ours let in only {let_in} of {count} checks by the store")
    print(json.dumps({"us": own_s / count * 1e6, "redis_us": redis_s / count * 1e6}))


if __name__ == "__main__":
    uvloop.run(main())
