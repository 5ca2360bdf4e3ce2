"""The act of a check over a real Redis that freezes: what the gate knows of an account goes on to count."""

import os
import signal
import time
from pathlib import Path

from gate.app.check import Check
from gate.core.account import Account
from gate.core.decision import Decision, Verdict
from gate.core.media import Media
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.records.score import with_bytes
from gate.serve.clock import SystemClock
from gate.stores.local_buckets import LocalBuckets
from gate.stores.redis.accounts import RedisAccountStore
from tests.servers import running_redis
from tests.waiting import eventually


def a_request(upload: str, account: str) -> CheckRequest:
    return CheckRequest(upload, Account(account), Media("image"))


async def test_an_account_denied_by_score_stays_denied_while_redis_is_frozen_and_when_it_is_back(
    tmp_path: Path,
) -> None:
    with running_redis(tmp_path) as server:
        store = RedisAccountStore(server.url, "g:", 0.1)
        await store.open()
        clock = SystemClock()
        names, counts = Pseudonyms(b"salt"), Counts()
        check = Check(load_policy(None), store, clock, names, counts, time.perf_counter_ns, LocalBuckets)
        now_us = clock.now_us()
        score = Score("bot", 0.99, 0.0, 0.99, (), now_us, now_us, Stamp("e", 1), "s")
        await store.put_scores([with_bytes(score)])

        async def both_known() -> list[Decision] | None:
            """The store's answer for both accounts; a busy machine may need more than the deadline for the first ones."""
            decisions = [await check.check(a_request("u-0", account)) for account in ("bot", "other")]
            return None if any(decision.degraded for decision in decisions) else decisions

        before = await eventually(both_known)
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            bot = [await check.check(a_request(f"u-{n}", "bot")) for n in range(1, 20)]
            batch = await check.check_many([a_request(f"v-{n}", "bot") for n in range(20)])
            other = await check.check(a_request("u-1", "other"))
        finally:
            os.kill(pid, signal.SIGCONT)

        async def asked_again() -> Decision | None:
            decision = await check.check(a_request("u-21", "bot"))
            return None if decision.degraded else decision

        after = await eventually(asked_again)
        await store.close()

    assert [decision.verdict for decision in before] == [Verdict.DENY, Verdict.ALLOW]
    assert {(decision.verdict, decision.degraded) for decision in (*bot, *batch)} == {(Verdict.DENY, ("store",))}
    assert (other.verdict, other.degraded) == (Verdict.ALLOW, ("store",))
    assert (after.verdict, after.degraded) == (Verdict.DENY, ())
