"""The gate over real HTTP: a decision is always a 200, whatever it decides."""

import asyncio
from math import ceil
from pathlib import Path

from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.score import Score, Stamp
from gate.records.score import with_bytes
from gate.serve.clock import SystemClock
from tests.edges.running_gate import CHECK, running_gate


def a_pause(lasts_us: int = 60_000_000, rev: int = 4) -> Pause:
    now_us = SystemClock().now_us()
    scope = Scope(classes=frozenset({"new"}))
    return Pause("p-1", rev, scope, Action.STOP, "raid", "text", "ann", now_us - 1, now_us + lasts_us)


async def test_a_check_is_answered_with_the_whole_decision(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        reply = await gate.post("/v1/check", CHECK)

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json == {
        "upload_id": "u-1", "decision": "allow", "stage": "default", "reason": "allow", "retry_after": None,
        "reservation": None, "pause": None, "policy": gate.check.policy.hash, "board_rev": 0, "appeal": None, "degraded": [],
    }  # fmt: skip


async def test_a_new_account_is_throttled_after_a_handful_and_gets_a_retry_after(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        replies = [await gate.post("/v1/check", {**CHECK, "upload_id": f"u-{n}"}) for n in range(7)]

    decisions = [reply.json["decision"] for reply in replies]
    last = replies[-1]
    assert decisions == ["allow"] * 5 + ["throttle"] * 2
    assert last.status == 200
    assert (last.json["stage"], last.json["reason"]) == ("bucket", "account.uploads.minute")
    assert 15 < last.json["retry_after"] <= 20
    assert len(last.json["appeal"]) == 16


async def test_head_and_body_of_a_refusal_tell_the_same_time_which_spreads_callers(tmp_path: Path) -> None:
    async with running_gate(tmp_path, jitter=0.9) as gate:
        replies = [await gate.post("/v1/check", {**CHECK, "upload_id": f"u-{n}"}) for n in range(6)]
        batch = await gate.post("/v1/checks", {"checks": [{**CHECK, "upload_id": "u-6"}]})

    seconds, last = replies[-1].json["retry_after"], replies[-1]
    assert 20 * 1.05 < seconds <= 20 * 1.09
    assert last.headers["retry-after"] == str(ceil(seconds))
    assert last.headers["ratelimit"].endswith(f";r=0;t={ceil(seconds)}")
    assert 20 * 1.05 < batch.json["decisions"][0]["retry_after"] <= 20 * 1.09


async def test_the_same_upload_is_charged_once(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        replies = [await gate.post("/v1/check", CHECK) for _ in range(20)]

    assert {reply.json["decision"] for reply in replies} == {"allow"}


async def test_a_score_above_the_threshold_refuses_without_address_or_device(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        now_us = SystemClock().now_us()
        await gate.accounts.put_scores(
            [*map(with_bytes, [Score("a-1", 0.9, 0.9, 0.95, (), now_us, now_us, Stamp("e", 1), "s")])]
        )
        reply = await gate.post("/v1/check", CHECK)

    assert (reply.json["decision"], reply.json["stage"], reply.json["reason"]) == ("deny", "score", "score.deny")
    assert "0.95" not in reply.body.decode()


async def test_a_pause_is_a_200_that_says_paused(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        gate.check.board = Board({"p-1": a_pause()})
        paused = await gate.post("/v1/check", CHECK)
        other = await gate.post("/v1/check", {**CHECK, "account": {"id": "a-2", "class": "trusted"}})

    assert (paused.status, paused.json["decision"], paused.json["reason"]) == (200, "paused", "pause.raid")
    assert (paused.json["pause"], paused.json["board_rev"]) == ("p-1", 4)
    assert other.json["decision"] == "allow"


async def test_a_batch_is_answered_in_its_order(tmp_path: Path) -> None:
    checks = [{**CHECK, "upload_id": f"u-{n}", "account": {"id": f"a-{n}"}} for n in range(256)]

    async with running_gate(tmp_path) as gate:
        reply = await gate.post("/v1/checks", {"checks": checks})

    assert [decision["upload_id"] for decision in reply.json["decisions"]] == [f"u-{n}" for n in range(256)]


async def test_of_a_hundred_checks_at_once_exactly_the_burst_is_let_in(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        replies = await asyncio.gather(*(gate.post("/v1/check", {**CHECK, "upload_id": f"u-{n}"}) for n in range(100)))

    decisions = [reply.json["decision"] for reply in replies]
    assert (decisions.count("allow"), decisions.count("throttle")) == (5, 95)


async def test_metrics_health_and_readiness_answer(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        await gate.post("/v1/check", CHECK)
        metrics, alive, ready, head = [
            await gate.get("/metrics"), await gate.get("/healthz"), await gate.get("/readyz"),
            await gate.get("/readyz", method="HEAD"),
        ]  # fmt: skip

    line = 'upload_gate_decisions_total{class="new",decision="allow",reason="allow",stage="default"} 1.0'
    assert line in metrics.body.decode()
    assert (alive.status, head.status) == (200, 200)
    assert ready.json["policy"] == gate.check.policy.hash


async def test_the_admin_port_shows_board_policy_and_counters(tmp_path: Path) -> None:
    async with running_gate(tmp_path) as gate:
        await gate.boards.replace(0, Board({"p-1": a_pause()}))
        watching = asyncio.create_task(gate.watch.run())
        async with asyncio.timeout(5):
            while not gate.watch.board.pauses:
                await asyncio.sleep(0.01)
        await gate.post("/v1/check", CHECK)
        board, policy, stats = [await gate.get(f"/v1/{page}", admin=True) for page in ("board", "policy", "stats")]
        foreign = await gate.get("/v1/nothing", admin=True)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    (pause,) = board.json["pauses"]
    assert (pause["id"], pause["covers"], pause["owner"]) == ("p-1", "class new", "ann")
    assert 0 < pause["seconds_left"] <= 60
    assert policy.json["hash"] == gate.check.policy.hash
    assert {tuple(each) for each in policy.json["thresholds"].values()} == {("challenge", "deny", "review")}
    assert stats.json["decisions"] == {"paused": 1}
    assert foreign.status == 404


async def test_a_page_lured_to_the_admin_port_under_a_foreign_name_is_refused(tmp_path: Path) -> None:
    from tests.edges.running_gate import ask

    async with running_gate(tmp_path) as gate:
        reply = await ask(gate.admin_port, "GET", "/v1/board", b"", {"host": "evil.example"})

    assert reply.status == 403
