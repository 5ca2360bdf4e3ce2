"""What a gate answers after the fault run: the decision of the replayed score, for a sample of accounts."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gate.core.account import Account
from gate.core.decide import LivePauses, decide
from gate.core.decision import Decision
from gate.core.limits.take import TakeResult
from gate.core.media import Media
from gate.core.policy import Policy
from gate.core.request import CheckRequest
from gate.core.score import Score
from gate.core.standing import Standing
from gate.local.free_port import LOOPBACK, free_port
from gate.policyfile import default_policy, load_policy
from gate.records.score import rounded

SAMPLE = 200
TRIES = 5
READY_WITHIN_S = 30.0
START = "import os; from gate.settings import read_settings; from gate.serve.wiring import run; run(read_settings(os.environ))"

Answer = tuple[str, str, str]
"""Decision, stage and reason."""


async def answers(
    redis: str, salt: str, home: Path, scores: Mapping[str, Score]
) -> list[tuple[str, Answer, tuple[Answer, Answer]]]:
    """For each account of a sample: its id, what a gate answers, and what follows from its score.

    A score decays while the gate is asked, so that follows twice: when the request left, and when the answer came.
    """
    now_us = time.time_ns() // 1_000
    by_risk = sorted(scores.values(), key=lambda score: (_risk(score, now_us), score.account))
    sample = by_risk[:: max(1, len(by_risk) // SAMPLE)]
    policy = load_policy(_policy_file(home / "policy.toml", [_risk(score, now_us) for score in by_risk]))
    with _gate(redis, salt, home) as port:
        told = await asyncio.to_thread(_ask_all, port, [score.account for score in sample])
    return [
        (score.account, answer, (expected(score, policy, asked_us), expected(score, policy, told_us)))
        for score, (answer, asked_us, told_us) in zip(sample, told, strict=True)
    ]


def expected(score: Score, policy: Policy, now_us: int) -> Answer:
    """What `decide` says of an upload of the account, whose buckets are full."""
    request = _request(score.account)
    class_ = policy.class_of(request.account, now_us)
    taken = TakeResult(_standing(score), True, False, None, (), now_us)
    decision: Decision = decide(request, class_, LivePauses(), policy, now_us, taken)
    return decision.verdict.value, decision.stage.value, decision.reason


def _standing(score: Score) -> Standing:
    return Standing(
        rounded(score.risk), score.at_us, half_life_us=score.half_life_us, base=rounded(score.base), acts=score.acts
    )


def _risk(score: Score, now_us: int) -> float:
    """The risk that a gate judges at `now_us`."""
    return _standing(score).risk_now(now_us) or 0.0


def _request(account: str) -> CheckRequest:
    return CheckRequest(upload_id=f"after-{account}", account=Account(id=account), media=Media(kind="image"))


def _policy_file(path: Path, risks: Sequence[float]) -> Path:
    """The shipped policy with thresholds that part the accounts into four kinds, and time for a slow machine."""
    review, challenge, deny = (_between(risks, len(risks) * part // 100) for part in (40, 60, 80))
    text, _ = default_policy()
    limits = f"score = {{ review = {review}, challenge = {challenge}, deny = {deny} }}"
    text, changed = re.subn(r"(?<=\[classes\.regular\]\n)score = .*", limits, text)
    text, given_time = re.subn(r'(?m)^deadline = "100ms"', 'deadline = "1s"', text)
    assert changed == given_time == 1
    path.write_text(text)
    return path


def _between(risks: Sequence[float], place: int) -> float:
    """A threshold near that place in the widest of the next gaps: risks decay while the gate is asked."""
    after = max(range(place, min(place + len(risks) // 10, len(risks) - 1)), key=lambda i: risks[i] - risks[i - 1])
    return (risks[after - 1] + risks[after]) / 2


@contextmanager
def _gate(redis: str, salt: str, home: Path) -> Iterator[int]:
    """A gate process; gives its port."""
    port = free_port()
    env = {
        **os.environ,
        "UPLOAD_GATE_STATE": str(home / "gate"),
        "UPLOAD_GATE_REDIS": redis,
        "UPLOAD_GATE_SALT": salt,
        "UPLOAD_GATE_POLICY": str(home / "policy.toml"),
        "UPLOAD_GATE_PORT": str(port),
        "UPLOAD_GATE_ADMIN_PORT": str(free_port()),
    }
    with (home / "gate.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-c", START], env=env, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _ask_all(port: int, accounts: Sequence[str]) -> list[tuple[Answer, int, int]]:
    """Each answer, with the times in µs between which the gate gave it."""
    until = time.monotonic() + READY_WITHIN_S
    while (connection := _connected(port)) is None:
        if time.monotonic() > until:
            raise TimeoutError("the gate did not come up")
        time.sleep(0.05)
    try:
        return [_ask(connection, account) for account in accounts]
    finally:
        connection.close()


def _connected(port: int) -> http.client.HTTPConnection | None:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _ask(connection: http.client.HTTPConnection, account: str) -> tuple[Answer, int, int]:
    body = json.dumps({"upload_id": f"after-{account}", "account": {"id": account}, "media": {"kind": "image"}})
    for _ in range(TRIES):
        asked_us = time.time_ns() // 1_000
        connection.request("POST", "/v1/check", body, {"content-type": "application/json"})
        told = json.loads(connection.getresponse().read())
        if not told["degraded"]:
            break
    return (told["decision"], told["stage"], told["reason"]), asked_us, time.time_ns() // 1_000
