"""The embedded Kafka before its server runs: how its storage is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gate.errors import LocalServerError
from gate.local import kafka
from gate.local.free_port import free_port
from gate.local.kafka import LocalKafka


def test_ctrl_c_at_the_terminal_does_not_reach_the_program_that_makes_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, java = tmp_path / "sessions", tmp_path / "java"
    java.write_text(f"#!/bin/sh\ncut -d' ' -f6 /proc/$$/stat >> {sessions}\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setattr(kafka, "java_runtime", lambda: java)

    with pytest.raises(LocalServerError, match="cannot prepare Apache Kafka's storage"):
        LocalKafka(tmp_path / "kafka", free_port(), tmp_path, lambda _: None).start()

    (session,) = sessions.read_text().split()
    assert int(session) != os.getsid(0)
