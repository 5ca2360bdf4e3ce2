"""The fault run in small: half a minute of kills, freezes and a broker that dies, with exact results afterwards.

Some of its events are hostile, late, or delivered twice.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.chaos import Plan, Run, servers
from tests.system.chaos_load import Shares

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
