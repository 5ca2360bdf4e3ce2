"""The fault run in small: half a minute of kills, freezes and a broker that dies, with exact results afterwards.

Some of its events are hostile, late, or delivered twice.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.proc import tree
from tests.system.chaos import Plan, Run, servers
from tests.system.chaos_load import Shares
from tests.waiting import wait_until

pytestmark = pytest.mark.long

SHORT = Plan(
    events=15_000,
    rate=1_000.0,
    faults=((2.5, "kill"), (5.5, "freeze long"), (7.0, "broker"), (12.0, "redis"), (13.5, "term"), (15.0, "freeze")),
    seed=11,
    shares=Shares(late=0.1, hostile=0.03, duplicates=0.1),
)


@pytest.mark.slow
@pytest.mark.timeout(280)
async def test_no_event_is_lost_or_counted_twice_whatever_dies(kafka_jars: None, tmp_path: Path) -> None:
    with servers(tmp_path) as (kafka, redis):
        run = Run(SHORT, kafka, redis, tmp_path)

        verdict = await run.play()

    assert verdict.is_clean, f"seed {SHORT.seed}, faults {run.done}: {verdict.text()}"
    assert verdict.faults == len(SHORT.faults)
    assert verdict.events >= SHORT.events
    assert verdict.dead_letters_expected > 100
    assert verdict.crowd_counts > 500
    assert verdict.backfilled_scores > 0
    assert verdict.gate_answers >= 200


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists processes below /proc")
def test_a_run_that_is_told_to_end_leaves_no_process_behind(kafka_jars: None, tmp_path: Path) -> None:
    logs = [tmp_path / f"worker-{name}.log" for name in "ab"]
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.system.chaos", "--events", "100000", "--keep", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: all(log.exists() and "starts" in log.read_text() for log in logs), timeout_s=120.0)
        below = tree(run.pid)[1:]

        run.send_signal(signal.SIGTERM)
        status = run.wait(60.0)
    finally:
        run.kill()

    assert status == 128 + signal.SIGTERM
    assert len(below) >= 4
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
