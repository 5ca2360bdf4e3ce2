"""The alerts' own tests, run by Prometheus' checker; and that no alert's test would pass without its alert."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.promtool import promtool_or_skip

RULES = Path(__file__).parents[2] / "deploy" / "prometheus"
ALERTS = re.findall(r"alert: (\w+)", (RULES / "alerts.yml").read_text())


@pytest.fixture(scope="module")
def promtool() -> str:
    return promtool_or_skip()


def run(promtool: str, *arguments: str, folder: Path = RULES) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("configuration", ["prometheus.yml", "hosts.yml", "compose.yml"])
def test_prometheus_takes_the_configuration_and_the_rules(configuration: str, promtool: str) -> None:
    done = run(promtool, "check", "config", configuration)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(ALERTS)} rules found" in done.stdout + done.stderr


def test_every_alert_fires_when_it_should_and_not_before(promtool: str) -> None:
    done = run(promtool, "test", "rules", "alerts_test.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_that_never_fires_fails_its_own_test(alert: str, promtool: str, tmp_path: Path) -> None:
    head, *cases = re.split(r"(?m)^(?=  - name: )", (RULES / "alerts_test.yml").read_text())
    (tmp_path / "alerts_test.yml").write_text(head + "".join(case for case in cases if alert in case))
    rules = (RULES / "alerts.yml").read_text()
    never, count = re.subn(rf"(alert: {alert}\n\s+expr: ).*", r"\1vector(0) == 1", rules)
    (tmp_path / "alerts.yml").write_text(never)

    done = run(promtool, "test", "rules", "alerts_test.yml", folder=tmp_path)

    assert count == 1
    assert done.returncode == 1
    assert alert in done.stdout + done.stderr
