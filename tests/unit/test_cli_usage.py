"""Command lines and their exit codes, as far as no server is needed; and what happens where none answers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from gate.cli import main as cli
from gate.cli.output import confirmed
from gate.errors import UploadGateError
from gate.local.free_port import free_port

RAID = ("--reason", "raid", "--yes")


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that is nowhere, so that no test meets one that happens to run on this machine."""
    port = free_port()
    for name in ("GATE", "ADMIN"):
        monkeypatch.setenv(f"UPLOAD_GATE_{name}", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("UPLOAD_GATE_REDIS", f"redis://:s3cret@127.0.0.1:{port}/0")
    monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
    for name in ("UPLOAD_GATE_POLICY", "UPLOAD_GATE_DEBUG", "UPLOAD_GATE_OWNER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--reason", "raid", "--yes"), 2, "--all"),
        (("--all", "--class", "new", *RAID), 2, "--all does not go with class new"),
        (("--class", "nw", *RAID), 2, "new, unverified, regular"),
        (("--all", "--reason", "rade", "--yes"), 2, "raid, scam-wave"),
        (("--all", "--yes"), 2, "needs a reason"),
        (("--all", "--for", "soon", *RAID), 2, "10m"),
        (("--all", "--for", "25h", *RAID), 3, "second person"),
        (("--all", "--action", "explode", *RAID), 2, "explode"),
        (("--all", "--owner", "a\x07b", *RAID), 2, "--owner"),
        (("--class", "", *RAID), 2, "scope"),
        (("--nonsense",), 2, "--nonsense"),
        (("--all", *RAID), 1, "break-glass"),
    ],
)
def test_a_pause_that_cannot_be_set_says_why(
    arguments: tuple[str, ...], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(["pause", *arguments])

    out, err = capsys.readouterr()
    assert ended == code
    assert says in err
    assert out == ""
    assert "s3cret" not in err


@pytest.mark.parametrize(("typed", "code"), [("", 2), ("no\n", 2), ("\n", 2), ("yes\n", 1), ("Y\n", 1)])
def test_a_pause_is_set_only_after_a_yes(
    typed: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))

    ended = cli.run(["pause", "--class", "new", "--for", "10m", "--reason", "raid"])

    out, err = capsys.readouterr()
    assert ended == code  # 1: it went on to Redis, which is not there
    assert "stop uploads of class new for 10m" in err
    assert "in the last 15 minutes is unknown" in err
    assert out == ""


def test_a_dry_run_writes_nothing_and_prints_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["pause", "--country", "de", "--kind", "image", *RAID, "--dry-run", "-o", "json"])

    out, err = capsys.readouterr()
    assert ended == 0
    assert json.loads(out)["scope"] == {"kinds": ["image"], "countries": ["DE"]}
    assert "nothing was changed" in err


@pytest.mark.parametrize("command", [("status",), ("status", "-o", "json"), ("release", "p-1"), ("explain", "a-1")])
def test_with_everything_down_it_names_where_it_looked_without_passwords(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run(command)

    out, err = capsys.readouterr()
    assert ended == 1
    assert "redis://:***@127.0.0.1" in err
    assert "s3cret" not in err
    assert out == ""


def test_a_check_without_a_gate_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["check", "--account", "a-1"])

    assert ended == 1
    assert "does not answer" in capsys.readouterr().err


def test_a_sound_policy_file_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["policy", "show", "-o", "json"])
    shown = json.loads(capsys.readouterr().out)
    from gate.policyfile import default_policy

    file = tmp_path / "policy.toml"
    file.write_text(default_policy()[0])

    ended = cli.run(["policy", "check", str(file), "-o", "json"])

    said = json.loads(capsys.readouterr().out)
    assert ended == 0
    assert (said["valid"], said["hash"], said["complaints"]) == (True, shown["hash"], [])


def test_a_broken_policy_file_is_refused_with_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('version = 1\ndefault_class = "nobody"\n')

    ended = cli.run(["policy", "check", str(file)])

    out, err = capsys.readouterr()
    assert ended == 2
    assert f"{file}:2" in err
    assert out == ""


@pytest.mark.parametrize("command", ["pause", "release", "status", "check", "explain", "serve", "worker", "up"])
def test_every_command_explains_itself_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run([command, "--help"])

    out = capsys.readouterr().out
    assert ended == 0
    assert f"Example: upload-gate {command}" in " ".join(out.split())


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["--help"])

    out = capsys.readouterr().out
    assert ended == 0
    assert [name for name in cli.COMMANDS if f"  {name} " not in out] == []


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["pawse"]) == 2
    assert "pawse" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (UploadGateError("it broke", "mend it"), 1, "error: it broke. mend it"),
        (ValueError("odd"), 1, "UPLOAD_GATE_DEBUG=1"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_no_traceback_reaches_the_terminal(
    raised: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("gate.cli.status.resolve_addresses", broken)

    ended = cli.run(["status"])

    err = capsys.readouterr().err
    assert ended == code
    assert says in err
    assert "Traceback" not in err


def test_only_a_typed_yes_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    for typed in ("y\n", "YES\n", "yep\n", "n\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        answers.append(confirmed("Sure?"))

    assert answers == [True, True, False, False, False]
