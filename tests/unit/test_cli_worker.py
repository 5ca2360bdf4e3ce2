"""What `upload-gate worker` hands to the worker's process: the addresses that somebody named, and no guess beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.cli import main
from gate.settings import DEFAULT_PORTS, DEFAULT_SALT
from streams.cli.worker import worker


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment of the process, filled when the command replaces itself by it."""
    environment: dict[str, str] = {}
    for name in ("REDIS", "KAFKA", "STATE"):
        monkeypatch.delenv(f"UPLOAD_GATE_{name}", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("os.execve", lambda path, line, given: environment.update(given))
    return environment


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_where_only_kafka_is_named_scores_go_to_kafka_alone(
    how: str, started: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if how == "variable":
        monkeypatch.setenv("UPLOAD_GATE_KAFKA", "127.0.0.1:19092")

    worker(kafka="127.0.0.1:19092" if how == "flag" else None)

    assert started["UPLOAD_GATE_KAFKA"] == "127.0.0.1:19092"
    assert "UPLOAD_GATE_REDIS" not in started
    assert "scores go to Kafka alone" in capsys.readouterr().err


def test_a_redis_that_a_variable_names_gets_the_scores(
    started: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UPLOAD_GATE_KAFKA", "127.0.0.1:19092")
    monkeypatch.setenv("UPLOAD_GATE_REDIS", "redis://127.0.0.1:16379/0")

    worker()

    assert started["UPLOAD_GATE_REDIS"] == "redis://127.0.0.1:16379/0"
    assert not capsys.readouterr().err


def up_runs_with(state: Path) -> None:
    """The files of a system that `up` runs, as far as a process beside it reads them."""
    state.mkdir(exist_ok=True)
    (state / "up.json").write_text('{"redis": "redis://127.0.0.1:16379/0", "kafka": "127.0.0.1:19092"}')
    (state / "salt").write_text("s3cret\n")


@pytest.mark.parametrize(("kafka", "variable", "salt"), [
    (None, None, "s3cret"), ("127.0.0.1:29092", None, None), (None, "given", "given"),
])  # fmt: skip
def test_a_worker_beside_up_hashes_under_its_salt(
    kafka: str | None, variable: str | None, salt: str | None, started: dict[str, str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("UPLOAD_GATE_SALT", raising=False)
    if variable is not None:
        monkeypatch.setenv("UPLOAD_GATE_SALT", variable)
    up_runs_with(tmp_path / "state")

    worker(state=tmp_path / "state", kafka=kafka)

    assert started.get("UPLOAD_GATE_SALT") == salt


def test_a_gate_beside_up_hashes_under_its_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UPLOAD_GATE_SALT", raising=False)
    salts: list[bytes] = []
    monkeypatch.setattr("gate.serve.wiring.run", lambda settings: salts.append(settings.salt))
    up_runs_with(tmp_path / "state")

    for redis in ("redis://127.0.0.1:16379/0", "redis://127.0.0.1:26379/0"):
        assert main.run(["serve", "--state", str(tmp_path / "state"), "--redis", redis]) == 0

    assert salts == [b"s3cret", DEFAULT_SALT.encode()]


def test_where_nothing_is_named_both_are_at_their_default_ports(started: dict[str, str]) -> None:
    worker()

    assert started["UPLOAD_GATE_KAFKA"].endswith(f":{DEFAULT_PORTS['kafka']}")
    assert f":{DEFAULT_PORTS['redis']}" in started["UPLOAD_GATE_REDIS"]
