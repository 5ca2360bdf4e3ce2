"""The shipped alerts hold for the targets that the shipped configurations of Prometheus find."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import msgspec.yaml
import pytest

from gate.serve.server import listening, serving
from gate.serve.worker_pages import WorkerPages, WorkerState
from tests.edges.test_serving import answer
from tests.promtool import promtool_or_skip

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
STATES = [WorkerState(n, 100 + n, True, 3, f"http://127.0.0.1:2000{n}", f"http://127.0.0.1:2100{n}") for n in (1, 2)]
SUPERVISED = ["gate", "gate", "supervisor", "worker"]

Labels = dict[str, str]


async def run(*arguments: str | Path) -> str:
    """What promtool prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        promtool_or_skip(), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


def pod_targets(selector: str) -> list[dict[str, Any]]:
    """What Prometheus' discovery of pods gives for the shipped workloads: a target for each port of a container, whose
    labels begin with `__meta_kubernetes`. Debian builds promtool without that discovery.
    """
    files = [DEPLOY / "k8s" / "gate.yaml", DEPLOY / "k8s" / "worker.yaml"]
    made = [msgspec.yaml.decode(text) for file in files for text in file.read_text().split("\n---\n")]
    workloads = [(each["metadata"]["name"], each["spec"]["template"]) for each in made if "template" in each["spec"]]
    targets = []
    for number, (name, template) in enumerate(workloads, start=1):
        labels, (container,) = template["metadata"]["labels"], template["spec"]["containers"]
        assert selector in [f"{label}={value}" for label, value in labels.items()]
        meta = {f"pod_label_{re.sub('[^a-zA-Z0-9_]', '_', label)}": value for label, value in labels.items()}
        for port in container["ports"]:
            of_port = {**meta, "namespace": "default", "pod_name": f"{name}-0", "pod_container_port_name": port["name"]}
            address = f"10.0.0.{number}:{port['containerPort']}"
            targets.append(
                {"targets": [address], "labels": {f"__meta_kubernetes_{key}": value for key, value in of_port.items()}}
            )
    return targets


async def discovered(folder: Path, name: str, supervisor: str) -> list[Labels]:
    """The labels of the targets that a shipped configuration finds, by Prometheus' own code."""
    (job,) = msgspec.yaml.decode((DEPLOY / "prometheus" / name).read_text())["scrape_configs"]
    sources = {key: job.pop(key) for key in list(job) if key.endswith("_sd_configs") or key == "static_configs"}
    for place in sources.get("http_sd_configs", []):
        place["url"] = re.sub(r"//[a-z0-9-]+:8393/", f"//{supervisor}/", place["url"])
    if pods := sources.pop("kubernetes_sd_configs", None):
        sources["static_configs"] = pod_targets(pods[0]["selectors"][0]["label"])
    found: list[Labels] = []
    for key, source in sources.items():  # each by itself: promtool's static one closes the channel of all
        copy = folder / f"{key}-{name}"
        copy.write_text(json.dumps({"scrape_configs": [{**job, key: source}]}))
        for timeout in ("300ms", "3s", "30s"):  # it waits for as long in any case
            printed = await run("check", "service-discovery", f"--timeout={timeout}", copy, "upload-gate")
            if targets := [entry["labels"] for entry in json.loads(printed) or [] if entry.get("labels")]:
                break
        found.extend(targets)
    return found


def alert_test(targets: list[Labels]) -> dict[str, Any]:
    """Promtool's test: nothing fires while all targets are up; then one gate goes, then the worker too."""
    gate, worker = (next(target for target in targets if target["part"] == part) for part in ("gate", "worker"))
    goes = {gate["instance"]: "1x20 0x30", worker["instance"]: "1x30 0x20"}
    ups = []
    for target in targets:
        labels = ",".join(f"{name}={json.dumps(value)}" for name, value in target.items() if not name.startswith("__"))
        ups.append({"series": f"up{{{labels}}}", "values": goes.get(target["instance"], "1x50")})
    fires: dict[int, list[str]] = {10: [], 19: [], 25: ["GateDown"], 35: ["GateDown", "WorkerDown"]}
    expression = 'count by (alertname) (ALERTS{alertname=~"UploadGate(Gate|Worker)Down",alertstate="firing"})'
    cases = [
        {
            "expr": expression,
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": f'{{alertname="UploadGate{name}"}}', "value": 1} for name in names],
        }
        for minute, names in fires.items()
    ]
    test = {"interval": "1m", "input_series": ups, "promql_expr_test": cases}
    return {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("prometheus.yml", ["gate", "worker"]),
        ("hosts.yml", SUPERVISED),
        ("compose.yml", SUPERVISED),
        ("kubernetes.yml", ["gate", "worker"]),
    ],
)
async def test_alerts_tell_of_each_gate_and_worker_that_a_shipped_configuration_finds(
    name: str, parts: list[str], tmp_path: Path
) -> None:
    with listening("127.0.0.1", 0, "PORT") as place:
        port = place.getsockname()[1]
        async with serving(WorkerPages(lambda: STATES, f"http://127.0.0.1:{port}"), place):
            targets = await discovered(tmp_path, name, f"127.0.0.1:{port}")
            supervisor = await asyncio.to_thread(answer, port, "GET", "/metrics")
    test = tmp_path / "test.json"
    test.write_text(json.dumps(alert_test(targets)))

    await run("test", "rules", test)

    assert sorted(target["part"] for target in targets) == parts
    assert supervisor is not None
    assert "upload_gate_process_restarts_total 6.0" in supervisor[1]
    supervised = [target["__address__"] for target in targets if target["part"] == "supervisor"]
    assert supervised == ([f"127.0.0.1:{port}"] if "supervisor" in parts else [])
