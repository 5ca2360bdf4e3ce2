"""Tokens beside a running `up`: what making the first one and revoking one means for its simulated traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.cli import main as cli


def test_the_first_token_warns_that_the_traffic_of_up_needs_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("UPLOAD_GATE_TOKENS", raising=False)
    state = ("--state", str(tmp_path))
    cli.run(["token", "new", "elsewhere", "--state", str(tmp_path / "other")])
    elsewhere = capsys.readouterr().err
    (tmp_path / "up.json").write_text("{}")

    cli.run(["token", "new", "media", *state])
    first = capsys.readouterr().err
    cli.run(["token", "new", "media", *state])
    second = capsys.readouterr().err

    assert f"it takes a token from {tmp_path / 'traffic.token'}" in first
    assert "simulated traffic" not in elsewhere + second


def test_revoking_the_token_of_the_traffic_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("UPLOAD_GATE_TOKENS", raising=False)
    state = ("--state", str(tmp_path))
    for name in ("media", "traffic"):
        cli.run(["token", "new", name, *state])
    (tmp_path / "traffic.token").write_text(capsys.readouterr().out.splitlines()[-1] + "\n")

    cli.run(["token", "revoke", "media", *state])
    other = capsys.readouterr().err
    cli.run(["token", "revoke", "traffic", *state])
    own = capsys.readouterr().err

    assert "simulated traffic" not in other
    assert "the simulated traffic of `upload-gate up` carries this token" in own
