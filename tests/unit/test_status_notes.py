"""What `status` says of the gate at hand beside the board that Redis holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.cli import main as cli
from gate.core.pause.board import Board
from gate.errors import NotConverged
from gate.records.board_page import board_page
from tests.pages import page

NOON_US = 1_800_000_000_000_000


@pytest.mark.parametrize(("acknowledges", "told"), [(False, True), (True, False), (None, False)])
def test_a_gate_at_hand_that_cannot_acknowledge_is_told_though_redis_knows_nothing_of_it(
    redis_url: str, unique: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], acknowledges: bool | None, told: bool,
) -> None:  # fmt: skip
    monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
    monkeypatch.setenv("UPLOAD_GATE_REDIS", redis_url)
    monkeypatch.setenv("UPLOAD_GATE_PREFIX", f"{unique()}:")
    said = {} if acknowledges is None else {"acknowledges": acknowledges}

    with page(lambda headers: (200, board_page(Board(), NOON_US, said, NOON_US))) as gate:
        code = cli.run(["status", "--admin", gate, "-o", "json"])
    shown = json.loads(capsys.readouterr().out)

    assert (code, shown["source"], shown["gates"]) == (NotConverged.exit_code, "redis", [])
    assert any("cannot acknowledge the pauses in Redis" in note for note in shown["warnings"]) is told
