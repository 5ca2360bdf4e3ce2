"""The fault run in small: about a minute of kills, freezes and a broker that dies, with exact results afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.chaos import Plan, Run, servers

SHORT = Plan(
    events=40_000,
    rate=1_000.0,
    faults=((5.0, "kill"), (11.0, "freeze long"), (15.0, "broker"), (26.0, "redis"), (30.0, "term"), (34.0, "freeze")),
    seed=11,
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
