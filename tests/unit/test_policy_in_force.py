"""The policy of a running gate: a file that changes is judged beside the checks, and a wrong one changes nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from gate.app.check import Check
from gate.core.pseudonym import Pseudonyms
from gate.metrics import Counts
from gate.policyfile import PolicyFile, load_policy_file, parse_policy_file
from gate.serve import policy_in_force
from gate.serve.clock import SystemClock
from gate.serve.policy_in_force import PolicyInForce
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from tests.waiting import eventually

LEAST = 'version = 1\ndefault_class = "regular"\n[classes.regular]\n'
MORE = LEAST + "[classes.new]\n"


def running(path: Path, said: list[str]) -> tuple[PolicyInForce, Check]:
    loaded, clock = load_policy_file(path), SystemClock()
    check = Check(
        loaded.policy, MemoryAccountStore(clock), clock, Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets
    )  # fmt: skip
    return PolicyInForce(path, loaded, check, said.append), check


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(LEAST)
    return path


async def test_checks_go_on_while_a_changed_file_is_judged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_force, check = running(path, [])
    begun, may_end, judged = threading.Event(), threading.Event(), parse_policy_file

    def slow(text: str, name: str) -> PolicyFile:
        begun.set()
        assert may_end.wait(10)
        return judged(text, name)

    monkeypatch.setattr(policy_in_force, "parse_policy_file", slow)
    path.write_text(MORE)
    reading = asyncio.create_task(in_force.read())
    await eventually(begun.is_set)
    before = check.policy.classes

    may_end.set()
    await reading

    assert before == ("regular",)
    assert set(check.policy.classes) == {"regular", "new"}


async def test_a_reload_is_heard_at_once_and_judges_an_unchanged_file_again(path: Path) -> None:
    said: list[str] = []
    in_force, check = running(path, said)
    path.write_text("version = 3")
    watching = asyncio.create_task(in_force.watch(every_s=3_600))
    try:
        await eventually(lambda: check.counts.policy_rejected == 1)
        in_force.reload()
        await eventually(lambda: check.counts.policy_rejected == 2)
        path.write_text(LEAST)
        in_force.reload()
        await eventually(lambda: in_force.problem is None)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    assert said[-1].startswith("the policy file is valid again")


async def test_the_same_text_is_judged_once(path: Path) -> None:
    in_force, check = running(path, [])
    path.write_text("version = 3")

    for _ in range(3):
        await in_force.read()

    assert check.counts.policy_rejected == 1
    assert in_force.problem is not None
