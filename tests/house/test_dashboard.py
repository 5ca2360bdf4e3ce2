"""The dashboard for Grafana shows what gates and workers export, and turns red where an alert fires."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec.yaml
import pytest
from prometheus_client import CollectorRegistry

from gate.metrics import PROCESS_TABLE, TABLE
from streams.worker.metrics import WorkerMetrics
from tests.promtool import promtool_or_skip

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "upload-gate.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    (target["expr"].replace("$__rate_interval", "5m"), target["legendFormat"])
    for panel in PANELS
    for target in panel["targets"]
]
RULES = (DEPLOY / "prometheus" / "alerts.yml").read_text()
ALERTS = [(part.split("\n", 1)[0], part) for part in re.split(r"- alert: ", RULES)[1:]]
OF_TARGETS = {"job", "instance", "part"}
EXAMPLES = {"decision": "throttle", "stage": "bucket", "met": "repeated"}
"""Values of labels that a query selects."""


def exported() -> dict[str, tuple[set[str], str]]:
    """Labels and kind of every series that a gate, a supervisor and a worker export."""
    families = {named.name: (set(named.labels), named.kind) for named in (*TABLE, *PROCESS_TABLE)}
    metrics = WorkerMetrics(CollectorRegistry())
    for metric in vars(metrics).values():
        for family in metric.describe() if hasattr(metric, "describe") else ():
            name = family.name + ("_total" if family.type == "counter" else "")
            families[name] = (set(metric._labelnames), family.type)
    histograms = {name for name, (_, kind) in families.items() if kind == "histogram"}
    series = {name: of for name, of in families.items() if name not in histograms}
    return series | {f"{name}_bucket": (families[name][0] | {"le"}, "histogram") for name in histograms}


def promtool(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool_or_skip(), *command], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("expression", "legend"), QUERIES)
def test_a_query_names_metrics_and_labels_that_are_exported(expression: str, legend: str) -> None:
    known = {**exported(), "up": (set[str](), "gauge")}
    names = set(re.findall(r"\b(?:upload_gate_\w+|up)\b(?![\"-])", expression))

    assert names
    assert names - known.keys() == set()
    labels = set().union(*(known[name][0] for name in names)) | OF_TARGETS
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")}
    selected = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression))
    assert (grouped | selected) - labels == set()
    assert set(re.findall(r"{{(\w+)}}", legend)) <= grouped | ({"instance"} if " by (" not in expression else set())


def test_every_query_gives_data_where_every_metric_has_some(tmp_path: Path) -> None:
    series = [f'up{{job="upload-gate",part="{part}",instance="{part}"}}' for part in ("gate", "worker")]
    values = ["1x60"] * 2
    for name, (labels, kind) in exported().items():
        for bound in ("0.1", "+Inf") if kind == "histogram" else ("",):
            shown = {**{label: EXAMPLES.get(label, "x") for label in labels}, "instance": "gate"}
            shown |= {"le": bound} if bound else {}
            series.append(f"{name}{{{','.join(f'{key}={json.dumps(value)}' for key, value in shown.items())}}}")
            values.append("100+60x60")
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": each, "values": its} for each, its in zip(series, values, strict=True)],
            "promql_expr_test": [
                {
                    "expr": f"count({expression}) > bool 0",
                    "eval_time": "50m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
                for expression, _ in QUERIES
            ],
        }
    ]
    (tmp_path / "test.json").write_text(json.dumps({"evaluation_interval": "1m", "rule_files": [], "tests": tests}))

    done = promtool(tmp_path, "test", "rules", "test.json")

    assert len(QUERIES) > 60
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "rule"), ALERTS, ids=[name for name, _ in ALERTS])
def test_a_panel_shows_what_an_alert_waits_for_and_turns_red_where_it_fires(name: str, rule: str) -> None:
    """A threshold of a panel belongs to its colour from there on, so that a number that is more than 1 is 2."""
    link = re.search(r"dashboard: /d/(\S+)\?viewPanel=(\d+)\n", rule)
    assert link
    (panel,) = [panel for panel in PANELS if panel["id"] == int(link[2])]
    threshold = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"]
    limit = re.search(r"expr: .*?(?:>=|>|<|==) ([\d.]+)( \* 86400)?(?=\n| or| \* sum)", rule)
    assert limit
    number = float(limit[1]) * (86_400 if limit[2] else 1)

    assert link[1] == DASHBOARD["uid"]
    assert re.search(rf"\b{name}\b", panel["description"])
    assert threshold == number or (panel["type"] == "stat" and threshold == number + 1)


def test_grafana_imports_the_dashboard_for_any_prometheus_and_without_plugins() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    identities = [panel["id"] for panel in DASHBOARD["panels"]]

    assert DASHBOARD["schemaVersion"] == 39
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    assert {panel["type"] for panel in DASHBOARD["panels"]} == {"row", "stat", "timeseries"}
    assert len(identities) == len(set(identities))
    for panel in PANELS:
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
        assert panel["description"].endswith(".")
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(column, line) for column in columns for line in range(place["y"], place["y"] + place["h"])}

        assert not cells & taken, panel["title"]
        assert columns[-1] < 24
        taken |= cells


def test_compose_gives_grafana_the_dashboard_and_the_prometheus_beside_it() -> None:
    services = msgspec.yaml.decode((DEPLOY / "compose.yaml").read_text())["services"]
    mounted = dict(volume.split(":")[:2][::-1] for volume in services["grafana"]["volumes"])
    provisioning = DEPLOY / mounted["/etc/grafana/provisioning"]
    (provider,) = msgspec.yaml.decode((provisioning / "dashboards" / "upload-gate.yaml").read_text())["providers"]
    (source,) = msgspec.yaml.decode((provisioning / "datasources" / "upload-gate.yaml").read_text())["datasources"]

    assert (DEPLOY / mounted[provider["options"]["path"]] / "upload-gate.json").is_file()
    assert source["url"] == "http://prometheus:9090"
    assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    assert services["grafana"]["profiles"] == services["prometheus"]["profiles"]


def test_a_drill_that_never_passed_is_shown_as_never_and_not_as_decades_ago() -> None:
    (panel,) = (panel for panel in PANELS if panel["title"] == "Since the last drill")
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]

    assert mapping["options"]["result"]["text"] == "never"
    assert mapping["options"]["from"] < 1_700_000_000
