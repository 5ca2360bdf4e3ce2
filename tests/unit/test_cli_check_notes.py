"""What `check` and `peek` say about fields that the gate does not use, kinds that no policy lists, and a gate that is away."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gate.cli import http_json
from gate.cli import main as cli
from gate.cli.addresses import Addresses, resolve_addresses
from gate.cli.check_notes import check_notes
from gate.cli.upload_flags import document
from gate.policyfile import load_policy

ALLOWED: dict[str, object] = {"decision": "allow"}


def _addresses(state: Path) -> Addresses:
    """A system whose admin port nobody names, so that the shipped policy says which names there are."""
    return resolve_addresses(state, gate="http://127.0.0.1:1", environ={})


def _upload(
    kind: str = "image", class_: str | None = None, surface: str | None = None, ip: str | None = None
) -> dict[str, object]:
    given = {
        "upload_id": "u-1",
        "account.id": "a-17",
        "account.class": class_,
        "media.kind": kind,
        "surface": surface,
        "ip": ip,
    }
    return document({name: value for name, value in given.items() if value is not None})


def test_a_misspelt_kind_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    (note,) = check_notes(_upload("imgae"), ALLOWED, _addresses(tmp_path))

    assert "lists no kind imgae" in note
    assert "Did you mean image?" in note


def test_a_kind_and_a_surface_that_the_policy_lists_need_no_word(tmp_path: Path) -> None:
    assert check_notes(_upload("IMAGE", surface="post"), ALLOWED, _addresses(tmp_path)) == []


def test_each_field_that_the_gate_ignored_is_named_with_its_reason(tmp_path: Path) -> None:
    upload = _upload(class_="establishd", surface="null", ip="999.1.1.1")
    decision = ALLOWED | {"ignored": ["account.class", "surface", "ip"]}

    notes = check_notes(upload, decision, _addresses(tmp_path))

    assert len(notes) == 3
    assert "no class establishd. It has: new, " in notes[0]
    assert notes[1].endswith("ignores surface: it is empty or a word for unknown; that is no mistake")
    assert notes[2].endswith(
        "ignores ip: it is not one of the values that the field may hold: "
        "an IPv4 or IPv6 address as a proxy writes it; the first of several"
    )


def test_names_are_compared_with_the_policy_of_the_decision_alone(tmp_path: Path) -> None:
    """Where the admin port is not at hand, the shipped policy need not be the one that decided."""
    packaged, another = load_policy(None).hash, "904483c43632"
    upload = _upload("clip", class_="rookie", surface="wall")
    notes = {
        hash_: check_notes(upload, ALLOWED | {"policy": hash_, "ignored": ["account.class"]}, _addresses(tmp_path))
        for hash_ in (packaged, another)
    }

    assert [note.partition(";")[0] for note in notes[packaged][1:]] == [
        "note: the shipped policy lists no kind clip", "note: the shipped policy lists no surface wall",
    ]  # fmt: skip
    assert notes[another] == ["note: the gate ignores account.class: its policy has no class rookie"]


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        ((), "If that `upload-gate up` has ended, start it again: `upload-gate up --state {state}`"),
        (("--gate", "http://127.0.0.1:9"), "Name a gate that runs with --gate"),
    ],
)
def test_a_gate_that_does_not_answer_is_started_again_or_named_by_where_its_address_comes_from(
    typed: tuple[str, ...], remedy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "up.json").write_text('{"gate": "http://127.0.0.1:9"}')

    for command in ("check", "peek"):
        ended = cli.run([command, "--account", "a-1", "--state", str(tmp_path), *typed])

        err = " ".join(capsys.readouterr().err.split())
        assert ended == 1
        assert "does not answer: connection refused. " in err
        assert remedy.format(state=tmp_path) in err


def test_a_gate_that_accepts_and_says_nothing_is_not_taken_for_one_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        url = f"http://127.0.0.1:{frozen.getsockname()[1]}"
        (tmp_path / "up.json").write_text(f'{{"gate": "{url}"}}')
        monkeypatch.setattr(http_json, "post_json", lambda to, *_: http_json.get_json(to, 0.05))

        ended = cli.run(["check", "--account", "a-1", "--state", str(tmp_path)])

    err = " ".join(capsys.readouterr().err.split())
    assert ended == 1
    assert f"{url}/v1/check gave no answer within 0.05 s. Its process may be stopped or overloaded" in err
    assert "start it again" not in err


def test_without_any_system_a_check_names_the_command_that_starts_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("UPLOAD_GATE_STATE", "UPLOAD_GATE_GATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("gate.cli.addresses._DEFAULTS", {"gate": "http://127.0.0.1:9"})

    ended = cli.run(["check", "--account", "a-1"])

    assert ended == 1
    assert "Start a system with `upload-gate up`, or name a gate with --gate" in capsys.readouterr().err
