"""Servers that are named on the command line: `up` refuses those that do not answer, a worker does without a Redis."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from gate.cli import main as cli
from gate.local.free_port import free_port


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable names a system, and none runs from the home directory."""
    for name in ("STATE", "REDIS", "KAFKA", "GATE", "ADMIN"):
        monkeypatch.delenv(f"UPLOAD_GATE_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize("flag", ["redis", "kafka"])
def test_up_does_not_start_around_a_given_server_that_does_not_answer(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gate.cli.given_servers.WITHIN_S", 0.0)
    place = f"127.0.0.1:{free_port()}"

    ended = cli.run(
        ["up", f"--{flag}", place if flag == "kafka" else f"redis://{place}", "--state", str(tmp_path / "s")]
    )

    err = capsys.readouterr().err
    assert ended == 1
    assert f"nothing was started, as the {flag.capitalize()} of --{flag} does not answer" in err
    assert place in err
    assert f"leave --{flag} out" in err
    assert not (tmp_path / "s").exists()


def test_up_does_not_start_around_a_kafka_that_accepts_connections_and_answers_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gate.cli.given_servers.WITHIN_S", 0.2)

    with socket.create_server(("127.0.0.1", 0)) as frozen:
        place = f"127.0.0.1:{frozen.getsockname()[1]}"
        ended = cli.run(["up", "--kafka", place, "--state", str(tmp_path / "s")])

    err = " ".join(capsys.readouterr().err.split())
    assert ended == 1
    assert (
        f"Kafka at {place} gave no answer within 0.2 s, though it accepts connections: its process may be stopped"
        in err
    )
    assert "leave --kafka out" in err
    assert not (tmp_path / "s").exists()


def test_a_kafka_that_answers_and_refuses_is_left_to_the_worker_which_names_the_reason(tmp_path: Path) -> None:
    from gate.cli.given_servers import require_servers

    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Thread(target=_accept_and_close, args=(server,), daemon=True)
        closing.start()
        require_servers(None, f"127.0.0.1:{server.getsockname()[1]}")
        server.shutdown(socket.SHUT_RDWR)
        closing.join()


def _accept_and_close(server: socket.socket) -> None:
    with suppress(OSError):
        while True:
            server.accept()[0].close()


@pytest.mark.parametrize(
    ("flags", "redis"),
    [
        (("--kafka", "k:1", "--state", "STATE"), None),
        (("--kafka", "k:1"), None),
        (("--kafka", "k:1", "--redis", "redis://r:1/0"), "redis://r:1/0"),
        ((), "redis://127.0.0.1:6390/0"),
    ],
)
def test_a_worker_does_without_a_redis_that_nothing_names(
    flags: tuple[str, ...], redis: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    started: list[Mapping[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda _program, _arguments, environment: started.append(environment))

    ended = cli.run(["worker", *(str(tmp_path) if flag == "STATE" else flag for flag in flags)])

    assert ended == 0
    assert started[0].get("UPLOAD_GATE_REDIS") == redis
    assert ("scores go to Kafka alone" in capsys.readouterr().err) is (redis is None)
