"""The deployment page and its files are true: the snippet runs, the variables exist, the commands and ports are ours."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec.yaml
import pytest

from gate.cli import main as cli
from gate.cli.main import COMMANDS
from gate.errors import SettingInvalid
from gate.local.free_port import free_port
from gate.records.check import MAX_BODY_BYTES
from gate.settings import DEFAULT_PORTS, DOCUMENTED, PREFIX, read_settings, worker_settings
from tests.edges.test_serving import a_gate, answer
from tests.unreliable_gates import (
    HUGE,
    Behaviour,
    an_unreliable_gate,
    drips,
    nests_deeply,
    never_answers,
    sends_another_json,
    sends_garbage,
    sends_too_much,
)
from tests.waiting import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
PAGE = (DEPLOY / "README.md").read_text()
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
FILES = [
    DEPLOY / "README.md",
    DEPLOY / "Dockerfile",
    DEPLOY / "compose.yaml",
    *UNITS,
    *sorted((DEPLOY / "k8s").glob("*.yaml")),
]
OF_COMMANDS = {f"{PREFIX}TOKEN", f"{PREFIX}ADMIN_TOKEN"}
CONFIG_PAGE = (DEPLOY.parent / "config" / "README.md").read_text()


def fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_variable_of_the_deployment_is_documented() -> None:
    known = {f"{PREFIX}{name}" for name in DOCUMENTED} | OF_COMMANDS
    of_workers = set(re.findall(rf"`({PREFIX}[A-Z_]+)`", CONFIG_PAGE))

    named = {name for file in FILES for name in re.findall(rf"\b{PREFIX}[A-Z_]+\b", file.read_text())}

    assert named - known - of_workers == set()
    assert f"{PREFIX}SALT" in named


def test_every_command_of_the_deployment_exists() -> None:
    text = "\n".join(file.read_text() for file in FILES if file.name != "Dockerfile")
    typed = set(re.findall(r"upload-gate ((?:token|policy|serve|status|worker|pause)\b(?: [a-z]+)?)", text))

    assert {command.split()[0] for command in typed} <= {*COMMANDS, "worker"}
    for command in sorted(typed):
        words = [word for word in command.split() if word not in ("media", "the", "waits", "shows")]
        assert cli.run([*words, "--help"]) == 0, command


def test_the_ports_are_the_defaults_of_the_gate() -> None:
    configurations = (DEPLOY / "prometheus").glob("*.yml")
    texts = "\n".join(file.read_text() for file in (*FILES, *configurations))
    ports = {int(port) for port in re.findall(r"\b(8[34]\d\d)\b", texts)}

    processes = {DEFAULT_PORTS["metrics"] + worker for worker in (1, 2)}  # of serve --workers 2
    assert ports == {DEFAULT_PORTS[name] for name in ("gate", "admin", "worker", "metrics")} | processes


@pytest.fixture
def token(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A token, which the snippet finds in the environment as the page says."""
    assert cli.run(["token", "new", "media-api", "--file", str(tmp_path / "tokens.json")]) == 0
    made = capsys.readouterr().out.strip()
    monkeypatch.setenv("UPLOAD_GATE_TOKEN", made)
    return made


@pytest.fixture(scope="module")
def client() -> Any:
    """The class of the page's Python snippet."""
    (snippet,) = fenced("python")
    names: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    return names["UploadGate"]


@pytest.fixture
def gate_port(tmp_path: Path, token: str) -> Iterator[int]:
    """The port of a gate that asks for the token."""
    with a_gate(tmp_path, f"redis://127.0.0.1:{free_port()}/0") as (_, port, _):
        wait_until(lambda: answer(port, "GET", "/healthz"))
        yield port


def upload(number: int) -> dict[str, Any]:
    return {"upload_id": f"u-{number}", "account": {"id": "a-1", "class": "new"}, "media": {"kind": "image"}}


def test_the_snippet_of_the_page_asks_a_gate_and_lets_in_as_told_where_the_gate_decides_nothing(
    client: Any, gate_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    asking = client(port=gate_port, timeout_s=30)

    answers = [asking.check(upload(number)) for number in range(7)]
    asking._connection.sock.close()  # the gate, or something on the way, has closed the kept connection
    again = asking.check(upload(0))
    with pytest.raises(ValueError) as no_account:
        asking.check({"upload_id": "u-9", "media": {"kind": "image"}})
    with pytest.raises(ValueError, match=f"at most {MAX_BODY_BYTES} bytes"):  # the gate would not read it to its end
        asking.check({**upload(9), "caption": "x" * 5_000_000})
    asking._headers["authorization"] = "Bearer wrong"
    asking._when_away = False
    refused = asking.check(upload(9))
    asking._connection.close()

    assert [let_in for let_in, _ in answers] == [True] * 5 + [False] * 2
    assert answers[6][1]["decision"] == "throttle"
    assert "decision" in again[1]
    assert str(no_account.value) == "the gate cannot check the upload: account.id is required"
    assert refused == (False, {})
    assert caplog.messages == ["the gate answers 401: this token is not valid, or no longer"]


@pytest.mark.parametrize("let_in", [True, False])
def test_the_snippet_lets_in_as_told_where_nothing_listens(client: Any, let_in: bool) -> None:
    asking = client(port=free_port(), when_away=let_in)

    assert asking.check(upload(0)) == (let_in, {})


@pytest.mark.parametrize(
    "behaviour",
    [never_answers, drips, sends_garbage, sends_another_json, nests_deeply, sends_too_much],
    ids=lambda behaviour: behaviour.__name__,
)
def test_the_snippet_does_not_wait_for_what_is_no_answer_and_reads_no_more_of_it_than_an_answer_has(
    behaviour: Behaviour, client: Any
) -> None:
    """A call that waits on is ended with the server, and found by its result or by how long the server could send."""
    results: list[tuple[bool, dict[str, Any]]] = []
    with an_unreliable_gate(behaviour) as gate:
        asking = client(port=gate.port, timeout_s=0.5)
        calling = threading.Thread(target=lambda: results.append(asking.check(upload(0))))
        calling.start()
        calling.join(timeout=60)
        returned = not calling.is_alive()
    calling.join()
    asking._connection.close()

    assert returned
    assert results == [(True, {})]
    assert gate.connections == 1
    assert gate.sent < HUGE


def test_the_curl_of_the_page_gets_a_decision(gate_port: int, token: str) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl")
    command = fenced("sh")[0].replace("8390", str(gate_port))

    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)

    assert '"decision":"allow"' in done.stdout, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_never_gives_up_to_start_a_unit(unit: Path) -> None:
    of_unit, of_service = unit.read_text().split("[Service]")

    assert "\nStartLimitIntervalSec=0\n" in of_unit
    assert "\nRestart=always\n" in of_service


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze")
    there = tmp_path / unit.name
    there.write_text(unit.read_text().replace("/opt/upload-gate/bin/upload-gate", sys.executable))

    done = subprocess.run([analyze, "verify", str(there)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr


def test_kubectl_renders_the_kustomization_with_probes_on_the_metrics_port() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl")

    done = subprocess.run([kubectl, "kustomize", str(DEPLOY / "k8s")], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^kind: ", done.stdout, re.MULTILINE)) == 5
    assert re.search(r"path: /readyz\n\s+port: metrics", done.stdout)
    assert "image: upload-gate:latest" in done.stdout


@pytest.mark.parametrize("file", sorted((DEPLOY / "k8s").glob("[gw]*.yaml")), ids=lambda file: file.stem)
def test_a_pod_reads_its_settings_beside_what_kubernetes_sets_for_services(file: Path) -> None:
    """A kubelet sets NAME_PORT and the like for each Service with an address, unless the pod says otherwise."""
    documents = [
        msgspec.yaml.decode(text)
        for each in sorted((DEPLOY / "k8s").glob("[gw]*.yaml"))
        for text in each.read_text().split("\n---\n")
    ]
    (pod,) = [
        one["spec"]["template"]["spec"]
        for one in map(msgspec.yaml.decode, file.read_text().split("\n---\n"))
        if "template" in one["spec"]
    ]
    names = [
        one["metadata"]["name"].upper().replace("-", "_")
        for one in documents
        if one["kind"] == "Service" and one["spec"].get("clusterIP") != "None"
    ]
    links = {f"{name}_PORT": "tcp://10.96.0.7:8390" for name in names if pod.get("enableServiceLinks", True)}
    variables = [each for each in pod["containers"][0]["env"] if "value" in each]
    own = {each["name"]: each["value"].replace("$(POD_IP)", "10.0.0.4") for each in variables}

    settings = read_settings({**links, **own})

    assert names == ["UPLOAD_GATE"]
    assert settings.port == DEFAULT_PORTS["gate"]
    with pytest.raises(SettingInvalid, match="enableServiceLinks: false"):
        read_settings({f"{PREFIX}PORT": "tcp://10.96.0.7:8390"})


def test_prometheus_beside_the_gates_reaches_every_target_that_compose_names() -> None:
    services = msgspec.yaml.decode((DEPLOY / "compose.yaml").read_text())["services"]
    gate, environment = services["gate"], services["gate"]["environment"]
    settings = worker_settings(read_settings(environment, machine=lambda: gate["hostname"]), 1)
    (job,) = msgspec.yaml.decode((DEPLOY / "prometheus" / "compose.yml").read_text())["scrape_configs"]
    hosts = re.findall(r"[a-z]+(?=:8\d\d\d)", str(job))

    assert settings.metrics == "http://gate:8394"
    assert gate["hostname"] == "gate"
    assert set(hosts) == {"gate", "worker"} <= set(services)
    assert services["prometheus"]["volumes"][0] == "./prometheus:/etc/prometheus:ro"
    assert services["prometheus"]["command"][0] == "--config.file=/etc/prometheus/compose.yml"
    assert services["worker"]["environment"]["UPLOAD_GATE_WORKER_METRICS_HOST"] == "0.0.0.0"


def test_what_compose_runs_writes_its_data_into_its_volume() -> None:
    services = msgspec.yaml.decode((DEPLOY / "compose.yaml").read_text())["services"]
    mounted = {name: [each.split(":")[1] for each in service.get("volumes", ())] for name, service in services.items()}
    dockerfile = (DEPLOY / "Dockerfile").read_text()

    assert services["kafka"]["environment"]["KAFKA_LOG_DIRS"] in mounted["kafka"]
    assert "--storage.tsdb.path=/prometheus" in services["prometheus"]["command"]
    assert "/prometheus" in mounted["prometheus"]
    for name in ("gate", "worker"):
        assert f"UPLOAD_GATE_STATE={mounted[name][0]}\n" in dockerfile


def test_the_page_names_every_file_beside_it() -> None:
    for name in (
        "prometheus/hosts.yml",
        "prometheus/compose.yml",
        "prometheus/kubernetes.yml",
        "prometheus/prometheus.yml",
        "systemd/upload-gate.service",
        "systemd/upload-gate-worker.service",
        "systemd/upload-gate-keeper.service",
        "grafana/upload-gate.json",
        "grafana/provisioning/dashboards/upload-gate.yaml",
        "compose.yaml",
        "k8s/",
        "runbooks/",
    ):
        assert f"`{name}`" in PAGE
        assert (DEPLOY / name).exists()
