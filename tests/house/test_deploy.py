"""What operators read is true: alerts name metrics and runbooks that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
METRIC = re.compile(r"\bupload_gate_[a-z_]+")


def declared() -> str:
    return (ROOT / "gate" / "metrics.py").read_text() + (ROOT / "streams" / "worker" / "metrics.py").read_text()


def test_every_metric_in_alerts_runbooks_and_readme_is_one_of_ours() -> None:
    source = declared()
    places = [*ROOT.glob("deploy/**/*.yml"), *ROOT.glob("deploy/**/*.md"), ROOT / "README.md"]
    named = {name for place in places for name in METRIC.findall(place.read_text())}

    unknown = {n for n in named if n not in source and n.removesuffix("_total") not in source}

    assert named
    assert unknown == set()


def test_every_alert_has_a_runbook_that_exists() -> None:
    alerts = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    runbooks = re.findall(r"runbook: (\S+)", alerts)

    assert len(runbooks) == alerts.count("alert:")
    assert all((ROOT / runbook).is_file() for runbook in runbooks)
